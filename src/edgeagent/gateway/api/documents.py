"""A request whose body is JSON: what cannot be read of it is its sender's fault, and never one of the gateway's."""

from __future__ import annotations

from typing import Any

from litestar import Request

from edgeagent.gateway.api.errors import refuse


class JsonRequest(Request[Any, Any, Any]):
    """Litestar's request, which takes two faults of a body for its own: the decoder does not raise its error for them.

    The text within a string is looked at where it is needed, and Python's own limit holds how deep a document may be.
    """

    async def json(self) -> Any:
        """Return the body's document.

        Raises:
            HTTPException: it is none; 422.
        """
        try:
            return await super().json()
        except UnicodeDecodeError:
            raise refuse(422, "the body is not JSON: it is not UTF-8") from None
        except RecursionError:
            raise refuse(422, "the body is nested too deeply") from None
