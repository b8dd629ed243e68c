"""Signs the node's results and keeps what the gateway says that it paid for them, while the node runs.

The signature is made each time a result is sent, with the key that the node has then.  The public keys that the
gateway signs with are fetched when they are first met, so that one that is put in their place later is another one.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TypeVar, TypeVarTuple, Unpack

import attrs
import structlog
import trio

from edgeagent.errors import EdgeAgentError, UsageError
from edgeagent.node import files
from edgeagent.node.receipts.book import Book, Kept
from edgeagent.wire import identity, receipts
from edgeagent.wire.identity import InvalidKeyError
from edgeagent.wire.messages import JobDispatch, JobResult, JobResultAck, JobVerdict, Outcome, Settled

log = structlog.get_logger()

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

#: Seconds between two tries to fetch the gateway's keys.
FETCH_S = 60.0

#: Stands for the reason until a held result is decided.
HELD = "it waits until the node of another operator confirms it"

#: Signs a message with the node's present key, in hex; empty where there is none at hand.
Sign = Callable[[bytes], str]


def unsigned(message: bytes) -> str:
    """Sign nothing."""
    return ""


def own_key(home: Path, node_id: str) -> Sign:
    """Return what signs as this node with the key in ``home``, as it is at that moment; nothing where it is another's.

    A node that has its token from the environment alone may have no key, or that of an earlier registration.
    """

    def sign(message: bytes) -> str:
        try:
            if (files.read_config(home) or {}).get("node_id") != node_id:
                return ""
            return identity.sign((home / files.PRIVATE_KEY).read_bytes(), message)
        except FileNotFoundError:
            return ""
        except (OSError, UsageError, InvalidKeyError) as error:
            log.warning("Result not signed", reason=str(error))
            return ""

    return sign


@attrs.frozen
class Terms:
    """What an attempt is for: its job's type and price."""

    job_type: str
    price_ucr: int


class Keeper:
    """The receipts of a running node; ``run`` fetches keys, the rest is asked by the sender."""

    def __init__(
        self,
        node_id: str,
        book: Book,
        sign: Sign,
        *,
        inline: bool = False,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._node_id, self._book, self._sign, self._inline, self._now = node_id, book, sign, inline, now
        self._terms: dict[str, Terms] = {}
        self._early: dict[str, JobVerdict] = {}  # on results whose receipts are not on disk yet
        self._alone = trio.Lock()
        self._known = set(book.keys())
        self._unknown = trio.Event()

    def expect(self, terms: Mapping[str, Terms]) -> None:
        """Know what attempts are for whose results an earlier agent has left."""
        self._terms |= terms

    def ended(self, dispatch: JobDispatch) -> None:
        """An attempt has ended, and its result is to be sent."""
        self._terms[dispatch.attempt_id] = Terms(dispatch.job_type, dispatch.price_ucr)

    def signed(self, result: JobResult) -> JobResult:
        """Return a result with the node's signature of its receipt."""
        receipt = self._receipt(result)
        return result if receipt is None else attrs.evolve(result, signature=self._sign(receipt.document()))

    async def keep(self, result: JobResult, ack: JobResultAck) -> None:
        """Store what the gateway says that it paid for a result, safely, before anything forgets the result.

        Raises:
            sqlite3.Error: the disk does not take it.
        """
        attempt_id, receipt = result.attempt_id, self._receipt(result)
        async with self._alone:
            if receipt is not None and receipt.price_ucr and result.outcome is Outcome.COMPLETED:
                await self._do(self._book.keep, self._kept(receipt, result, ack))
                self._met(ack.settled)
                if attempt_id in self._early:
                    await self._settle(self._early[attempt_id])
            self._early.pop(attempt_id, None)
            self._terms.pop(attempt_id, None)
        if ack.unpaid:
            log.warning("Completed and not paid", attempt_id=attempt_id, reason=ack.unpaid)

    async def judged(self, verdict: JobVerdict) -> bool:
        """Note what became of a result that the gateway had held; False where that is no news, or cannot be noted."""
        attempt_id = verdict.attempt_id
        async with self._alone:
            try:
                news = await self._settle(verdict)
            except (OSError, sqlite3.Error) as error:
                log.warning("Receipt not settled", attempt_id=attempt_id, reason=str(error))
                return False
            if not news and attempt_id in self._terms and attempt_id not in self._early:
                # The verdict came right behind the acknowledgement, which is still on its way to the disk.
                self._early[attempt_id] = verdict
                news = True
        return news

    async def held(self, after: int, most: int) -> list[tuple[int, str]]:
        """Return receipts of results of which the gateway has not said what it pays, as ``Book.held``.

        Raises:
            sqlite3.Error: the disk does not give it.
        """
        async with self._alone:
            return await self._do(self._book.held, after, most)

    async def run(self, fetch: Callable[[], Awaitable[dict[str, str]]], _: object = None) -> None:
        """Fetch the gateway's public keys whenever it has signed with one that is not known, until cancelled.

        Args:
            fetch: asks the gateway for them, by their ``kid``; raises ``EdgeAgentError``.
        """
        while True:
            await self._unknown.wait()
            self._unknown = trio.Event()
            try:
                keys = await fetch()
                async with self._alone:
                    await self._do(self._book.learn, keys)
                self._known |= keys.keys()
            except (EdgeAgentError, OSError, sqlite3.Error) as error:
                log.warning("The gateway's keys are not known yet", reason=str(error))
                self._unknown.set()
            await trio.sleep(FETCH_S)

    def _receipt(self, result: JobResult) -> receipts.Receipt | None:
        terms = self._terms.get(result.attempt_id)
        return None if terms is None else receipts.receipt(self._node_id, terms.job_type, terms.price_ucr, result)

    def _kept(self, receipt: receipts.Receipt, result: JobResult, ack: JobResultAck) -> Kept:
        try:
            settled = receipts.settlement(receipt, result.signature, ack)
        except ValueError as error:  # a settlement that cannot be one is none
            log.warning("The gateway's settlement makes no sense", attempt_id=result.attempt_id, reason=str(error))
            settled = None
        kept = Kept(
            attempt_id=result.attempt_id,
            month=receipts.month_of(self._now()),
            document=receipt.document().decode(),
            price_ucr=receipt.price_ucr,
            node_signature=result.signature,
            credited_ucr=ack.credited_ucr,
            unpaid=HELD if ack.held else ack.unpaid,
            held=ack.held,
        )
        if settled is None or ack.settled is None:
            return kept
        return attrs.evolve(
            kept,
            month=settled.month,
            node_signature=settled.node_signature,
            place=settled.index,
            settled_at=settled.settled_at,
            signature=ack.settled.signature,
            key_id=ack.settled.key_id,
        )

    async def _settle(self, verdict: JobVerdict) -> bool:
        try:
            news = await self._do(self._book.settle, verdict)
        except ValueError as error:  # a settlement that cannot be one is none
            log.warning("Receipt not settled", attempt_id=verdict.attempt_id, reason=str(error))
            return False
        self._met(verdict.settled)
        return news

    def _met(self, settled: Settled | None) -> None:
        """Have the gateway's keys fetched where it has signed with one that is not known."""
        if settled is not None and settled.key_id not in self._known:
            self._unknown.set()

    async def _do(self, work: Callable[[Unpack[Ts]], T], *values: *Ts) -> T:
        if self._inline:
            await trio.lowlevel.checkpoint()
            return work(*values)
        return await trio.to_thread.run_sync(work, *values)
