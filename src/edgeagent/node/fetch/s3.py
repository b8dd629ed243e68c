"""Files of ``s3://`` references, by obstore (extra ``s3``): public buckets unsigned, others with the operator's keys.

The keys are those that the operator sets for this purpose, never what else lies in the environment of this machine: a
stranger's job reads whatever they may read.  obstore's own asynchronous calls need asyncio, so its synchronous ones run
in threads, one window of the file at a time, which bounds both memory and what a cancelled job leaves under way.
"""

from __future__ import annotations

import importlib.util
import re
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import attrs
import trio

from edgeagent.errors import UsageError
from edgeagent.node.fetch.source import Arriving, ChangedError, UnreachedError, UnusableError

#: As Hello names it.
KIND = "s3"
#: What one request asks for, in bytes, and the seconds that it has.
WINDOW_BYTES = 8 << 20
REQUEST_S = 60
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


def available() -> bool:
    """Return whether obstore is installed."""
    return importlib.util.find_spec("obstore") is not None


def read_keys(path: str | None) -> dict[str, str]:
    """Return a key's id and secret, as ``S3`` takes them, from the operator's file; nothing where he names none.

    Raises:
        UsageError: the file cannot be used; says what it must be like.
    """
    if path is None:
        return {}
    try:
        with Path(path).expanduser().open() as file:
            mode = stat.S_IMODE(Path(path).expanduser().stat().st_mode)
            lines = file.read(10_000).split()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"fetch.s3_keys: {path} cannot be read: {getattr(error, 'strerror', 'not text')}") from None
    if mode & 0o077:
        raise UsageError(f"fetch.s3_keys: {path} can be read by others; type: chmod 600 {path}")
    if len(lines) != 2:
        raise UsageError(f"fetch.s3_keys: {path} must hold two lines, the key's id and its secret")
    return {"access_key_id": lines[0], "secret_access_key": lines[1]}


@attrs.frozen(kw_only=True)
class S3:
    """How this node asks for ``s3://`` references; without keys, unsigned."""

    endpoint: str | None = None  # None: Amazon's
    region: str = "us-east-1"
    access_key_id: str | None = None
    secret_access_key: str | None = attrs.field(default=None, repr=False)

    def at(self, ref: str) -> S3Source:
        """Return the file that a reference points to.

        Raises:
            UnusableError: it points to none.
        """
        url = urlsplit(ref)
        key = unquote(url.path.removeprefix("/"))
        if url.scheme != "s3" or not _BUCKET.fullmatch(url.netloc) or not key or url.query or url.fragment:
            raise UnusableError(f"{ref[:200]} is not s3://BUCKET/KEY")
        return S3Source(self._store(url.netloc), key)

    def _store(self, bucket: str) -> Any:
        from obstore.store import S3Store

        keys: dict[str, Any] = {"skip_signature": True}
        if self.access_key_id is not None:
            keys = {"access_key_id": self.access_key_id, "secret_access_key": self.secret_access_key}
        endpoint = self.endpoint or f"https://s3.{self.region}.amazonaws.com"
        return S3Store(
            bucket,
            endpoint=endpoint,
            region=self.region,
            virtual_hosted_style_request=False,
            client_options={"timeout": timedelta(seconds=REQUEST_S), "allow_http": endpoint.startswith("http:")},
            retry_config={"max_retries": 0, "retry_timeout": timedelta(seconds=REQUEST_S)},  # ``download`` tries again
            **keys,
        )


@attrs.frozen
class S3Source:
    """A ``Source``: one object."""

    _store: Any
    _key: str

    @asynccontextmanager
    async def open(self, offset: int, validator: str | None) -> AsyncIterator[Arriving]:
        """Begin to read (see ``Source.open``)."""
        etag, size_bytes = await _in_thread(self._head)
        if offset and (validator != etag or offset > size_bytes):
            raise ChangedError("the object has changed")
        yield Arriving(
            offset=offset, size_bytes=size_bytes, validator=etag, pieces=self._pieces(offset, size_bytes, etag)
        )

    def _head(self) -> tuple[str | None, int]:
        import obstore

        meta = obstore.head(self._store, self._key)
        return meta["e_tag"], meta["size"]

    async def _pieces(self, offset: int, size_bytes: int, etag: str | None) -> AsyncIterator[bytes]:
        while offset < size_bytes:
            end = min(offset + WINDOW_BYTES, size_bytes)
            yield await _in_thread(self._window, offset, end, etag)
            offset = end

    def _window(self, start: int, end: int, etag: str | None) -> bytes:
        import obstore

        options: Any = {"range": (start, end), **({"if_match": etag} if etag else {})}
        return bytes(obstore.get(self._store, self._key, options=options).bytes())


async def _in_thread(work: Any, *arguments: Any) -> Any:
    from obstore import exceptions

    try:
        return await trio.to_thread.run_sync(work, *arguments, abandon_on_cancel=True)
    except (FileNotFoundError, exceptions.NotFoundError):
        raise UnusableError("there is no such object in the bucket, or no such bucket") from None
    except exceptions.PreconditionError:
        raise ChangedError("the object has changed") from None
    except (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError):
        # Another node may have keys for it.
        raise UnreachedError("the bucket does not let this node read the object", lasting=True) from None
    except (exceptions.BaseError, OSError) as error:
        raise UnreachedError(f"S3: {' '.join(str(error).split())[:300]}") from None
