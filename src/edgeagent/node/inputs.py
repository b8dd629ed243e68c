"""What a job needs before it starts: its payload where that lies elsewhere, and its input files, from cache or source.

One file is downloaded once, however many attempts wait for it: whoever has its lock downloads, the others find it in
the cache afterwards, and if the first one is cancelled the next goes on where it was.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Protocol

import attrs
import orjson
import trio

from edgeagent.node.cache import Cache
from edgeagent.node.fetch.download import Wanted, download
from edgeagent.node.fetch.source import Source, UnreachedError, UnusableError, digest_of, is_file_name
from edgeagent.node.throttle import FREE, Throttle
from edgeagent.wire.messages import JobDispatch, Reference

#: Largest payload behind a reference, in bytes: what the gateway takes in a submission.
MAX_PAYLOAD_BYTES = 256 << 10
#: Files that are fetched at the same time, for all attempts together; more would share the same line.
DOWNLOADS = 4


class Sources(Protocol):
    """Knows where each reference of an attempt is to be had."""

    def find(self, dispatch: JobDispatch, name: str | None, ref: str) -> Source:
        """Return the source of an input by its name, or of the payload.

        Raises:
            UnusableError: a reference of no kind that this node fetches.
        """
        ...


@attrs.define(eq=False)
class _Lock:
    lock: trio.Lock = attrs.Factory(trio.Lock)
    users: int = 0


class Inputs:
    """Fetches for all attempts of a node."""

    def __init__(
        self,
        cache: Cache,
        sources: Sources,
        rng: random.Random,
        make_room: Callable[[int], object] = int,
        throttle: Throttle = FREE,
    ) -> None:
        """Fetch from ``sources`` into ``cache``, as fast as ``throttle`` lets all together.

        ``make_room`` keeps so many bytes free on the disk if it can.
        """
        self._throttle = throttle
        self.cache, self._sources, self._rng, self._make_room = cache, sources, rng, make_room
        self._downloads = trio.CapacityLimiter(DOWNLOADS)
        self._locks: dict[str, _Lock] = {}
        self._received: dict[str, int] = {}  # by digest, of what is just arriving

    async def payload(self, dispatch: JobDispatch) -> dict[str, Any]:
        """Return the payload that ``payload_ref`` leads to, or that came with the dispatch.

        Raises:
            UnusableError, UnreachedError: see there.
            OSError: the disk does not take it.
        """
        ref = dispatch.payload_ref
        if ref is None:
            return dispatch.payload
        wanted = Wanted(sha256=digest_of(ref), size_bytes=None, most_bytes=MAX_PAYLOAD_BYTES)
        source = self._sources.find(dispatch, None, ref)
        partial = await trio.to_thread.run_sync(self.cache.payload, dispatch.attempt_id)
        try:
            async with self._downloads:
                await download(source, partial, wanted, rng=self._rng, heard=lambda _: None, throttle=self._throttle)
            data = await trio.to_thread.run_sync(partial.read)
        except UnusableError as error:
            raise UnusableError(f"payload_ref: {error}") from None
        finally:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(partial.clear)
        return _object(data, ref)

    @contextmanager
    def held(self, dispatch: JobDispatch) -> Iterator[None]:
        """Keep in the cache whatever of an attempt's inputs is there, or arrives."""
        for reference in dispatch.inputs.values():
            self.cache.pin(reference.sha256)
        try:
            yield
        finally:
            for reference in dispatch.inputs.values():
                self.cache.unpin(reference.sha256)

    async def fetch(self, dispatch: JobDispatch) -> dict[str, str]:
        """Have every input in the cache, and return their digests by name; to be called while they are ``held``.

        Raises:
            UnusableError, UnreachedError: see there.
            OSError: the disk does not take it.
        """
        if bad := [name for name in dispatch.inputs if not is_file_name(name)]:
            raise UnusableError(f"an input's name is a file name of at most 255 bytes, not {bad[0]!r}")
        faults: list[Exception] = []
        async with trio.open_nursery() as nursery:

            async def one(name: str, reference: Reference) -> None:
                try:
                    await self._fetch(dispatch, name, reference)
                except (UnusableError, UnreachedError, OSError) as error:
                    faults.append(error)
                    nursery.cancel_scope.cancel()

            for name, reference in _distinct(dispatch).items():
                nursery.start_soon(one, name, reference)
        if faults:
            raise faults[0]
        return {name: reference.sha256 for name, reference in dispatch.inputs.items()}

    def progress(self, dispatch: JobDispatch) -> str:
        """Return how far the inputs of an attempt are, as one short line for its submitter."""
        references = _distinct(dispatch).values()
        total = sum(reference.size_bytes for reference in references)
        have = sum(
            reference.size_bytes if self.cache.holds(reference.sha256) else self._received.get(reference.sha256, 0)
            for reference in references
        )
        return f"fetching inputs {100 * have // total} %" if total else "fetching inputs"

    async def _fetch(self, dispatch: JobDispatch, name: str, reference: Reference) -> None:
        key = reference.sha256
        async with self._lock(key):
            if not await trio.to_thread.run_sync(self.cache.has, key, reference.size_bytes):
                source = self._sources.find(dispatch, name, reference.ref)
                async with self._downloads:
                    await self._download(source, name, reference)

    async def _download(self, source: Source, name: str, reference: Reference) -> None:
        key = reference.sha256

        def heard(size_bytes: int) -> None:
            self._received[key] = size_bytes

        wanted = Wanted(sha256=key, size_bytes=reference.size_bytes, most_bytes=reference.size_bytes)
        try:
            await trio.to_thread.run_sync(self._make_room, reference.size_bytes)
            await trio.to_thread.run_sync(self.cache.expect, key, reference.size_bytes)
            partial = await trio.to_thread.run_sync(self.cache.partial, key)
            await download(source, partial, wanted, rng=self._rng, heard=heard, throttle=self._throttle)
            await trio.to_thread.run_sync(self.cache.keep, partial)
        except UnusableError as error:
            raise UnusableError(f"input {name!r}: {error}") from None
        except UnreachedError as error:
            raise UnreachedError(f"input {name!r}: {error}", lasting=error.lasting) from None
        finally:
            self.cache.give_up(key)
            self._received.pop(key, None)

    @asynccontextmanager
    async def _lock(self, key: str) -> AsyncIterator[None]:
        counted = self._locks.setdefault(key, _Lock())
        counted.users += 1
        try:
            async with counted.lock:
                yield
        finally:
            counted.users -= 1
            if not counted.users:
                del self._locks[key]


def _distinct(dispatch: JobDispatch) -> dict[str, Reference]:
    """Return the inputs by name, each file once: it may have several names."""
    first: dict[str, str] = {}
    for name, reference in dispatch.inputs.items():
        first.setdefault(reference.sha256, name)
    return {name: dispatch.inputs[name] for name in first.values()}


def _object(data: bytes, ref: str) -> dict[str, Any]:
    try:
        payload = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise UnusableError(f"payload_ref: what lies at {ref} is not JSON: {error}") from None
    if not isinstance(payload, dict):
        raise UnusableError(f"payload_ref: what lies at {ref} is not a JSON object")
    return payload
