"""What requests about files and uploads are answered with; see ``api.bodies``."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct


class FileBody(Struct):
    """A file of the account, which its jobs may refer to as ``ref``; ``name`` is its uploader's, for people."""

    sha256: str
    ref: str
    name: str
    size_bytes: int
    created_at: datetime


class FilePage(Struct):
    """Files, newest first; ``next`` is the ``before`` of the page after this, null where there is none."""

    files: list[FileBody]
    next: int | None


class UploadBody(Struct):
    """An upload in progress; ``active`` where some request is sending it at this moment."""

    upload_id: str
    location: str
    sha256: str
    name: str
    size_bytes: int
    offset_bytes: int
    expires_at: datetime
    active: bool


class UploadList(Struct):
    """The account's uploads in progress, oldest first."""

    uploads: list[UploadBody]
