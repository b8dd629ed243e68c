"""How the API's description tells of tus: headers of requests and answers, of which Litestar sees nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from litestar.openapi.spec import (
    OpenAPIHeader,
    OpenAPIMediaType,
    OpenAPIResponse,
    OpenAPIType,
    Operation,
    Parameter,
    Reference,
    RequestBody,
    Schema,
)

from edgeagent.gateway import tus

_NUMBER = Schema(type=OpenAPIType.STRING, pattern="^[0-9]{1,19}$")
_TEXT = Schema(type=OpenAPIType.STRING)
_VERSION = Schema(type=OpenAPIType.STRING, enum=[tus.VERSION])
_CHECKSUM = Schema(type=OpenAPIType.STRING, pattern=r"^(sha256|sha1) [A-Za-z0-9+/]{27,43}=$")
_METADATA = Schema(type=OpenAPIType.STRING, pattern=r"^[a-z0-9]+ [A-Za-z0-9+/=]*(,[a-z0-9]+ [A-Za-z0-9+/=]*)*$")
#: Headers of answers.
_ANSWERED: Mapping[str, tuple[str, Schema]] = {
    "Location": ("Where the upload is", _TEXT),
    "Tus-Resumable": ("The version of tus", _VERSION),
    "Upload-Expires": ("Until when it is kept, if nothing comes; only while it is not complete", _TEXT),
    "Upload-Length": ("How long the file is, in bytes", _NUMBER),
    "Upload-Metadata": ("As it came when the upload began", _TEXT),
    "Upload-Offset": ("So many bytes are safely on disk", _NUMBER),
}
_RESUMABLE = Parameter(
    name="Tus-Resumable", param_in="header", required=True, description="The version of tus", schema=_VERSION
)
_CHECK = Parameter(
    name="Upload-Checksum",
    param_in="header",
    required=False,
    description="What this body hashes to: sha256 or sha1, and the digest in base64",
    schema=_CHECKSUM,
)


class _Tus(Operation):
    """An operation of tus."""

    def _take(self, *parameters: Parameter) -> None:
        self.parameters = [*(self.parameters or []), _RESUMABLE, *parameters]

    def _answer(self, status: str, about: str, *names: str) -> None:
        headers: dict[str, OpenAPIHeader | Reference] = {
            name: OpenAPIHeader(description=_ANSWERED[name][0], schema=_ANSWERED[name][1])
            for name in ("Tus-Resumable", *names)
        }
        self.responses = {**(self.responses or {}), status: OpenAPIResponse(description=about, headers=headers)}

    def _send(self, *, required: bool) -> None:
        schema = Schema(type=OpenAPIType.STRING, content_media_type=tus.CONTENT_TYPE)
        content = {tus.CONTENT_TYPE: OpenAPIMediaType(schema=schema)}
        self.request_body = RequestBody(content=content, required=required)


class Creates(_Tus):
    """POST: a new upload."""

    def __init__(self, **given: Any) -> None:
        """Describe it."""
        super().__init__(**given)
        self._take(
            Parameter(
                name="Upload-Length",
                param_in="header",
                required=True,
                description="How long the file is, in bytes",
                schema=_NUMBER,
            ),
            Parameter(
                name="Upload-Metadata",
                param_in="header",
                required=True,
                description="Keys, and values in base64: sha256 (the file's digest in hex) and filename; of an "
                "attempt's output sha256 and name",
                schema=_METADATA,
            ),
            _CHECK,
        )
        self._send(required=False)
        self._answer("201", "The upload has begun", "Location", "Upload-Expires", "Upload-Offset")


class Looks(_Tus):
    """HEAD: how far an upload is."""

    def __init__(self, **given: Any) -> None:
        """Describe it."""
        super().__init__(**given)
        self._take()
        told = ("Upload-Expires", "Upload-Length", "Upload-Metadata", "Upload-Offset")
        self._answer("200", "So far the upload is", *told)


class Appends(_Tus):
    """PATCH: a piece of an upload."""

    def __init__(self, **given: Any) -> None:
        """Describe it."""
        super().__init__(**given)
        self._take(
            Parameter(
                name="Upload-Offset",
                param_in="header",
                required=True,
                description="Where the piece begins: where the upload stands",
                schema=_NUMBER,
            ),
            _CHECK,
        )
        self._send(required=True)
        self._answer("204", "The piece is there", "Upload-Expires", "Upload-Offset")


class Ends(_Tus):
    """DELETE: an upload is given up."""

    def __init__(self, **given: Any) -> None:
        """Describe it."""
        super().__init__(**given)
        self._take()
        self._answer("204", "The upload is gone")
