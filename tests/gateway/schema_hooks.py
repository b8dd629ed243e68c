"""What schemathesis must be told: how a body of tus' type is sent, which is as the bytes that it is."""

from __future__ import annotations

import schemathesis

from edgeagent.gateway.tus import CONTENT_TYPE

schemathesis.serializer.alias(CONTENT_TYPE, "application/octet-stream")
