"""The REST API: Litestar controllers over the hub; every answer is JSON, every error a problem document."""

from edgeagent.gateway.api.app import application

__all__ = ["application"]
