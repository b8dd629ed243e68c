"""The REST API: Litestar controllers over the hub; every answer is JSON, every error ``{"detail": one line}``."""

from edgeagent.gateway.api.app import application

__all__ = ["application"]
