"""The plugin ``echo``: gives the payload back, to show that the whole way there and back works."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any, ClassVar

from edgeagent.plugins.base import BaseWorkerPlugin, WorkerResult


class EchoPlugin(BaseWorkerPlugin):
    """Returns its payload as the value."""

    job_type = "echo"
    benchmark: ClassVar[Mapping[str, Any] | None] = {"message": "hello"}

    async def execute(self, job_id: uuid.UUID, payload: dict[str, Any]) -> WorkerResult:
        """Give ``payload`` back."""
        return WorkerResult(success=True, value=payload)
