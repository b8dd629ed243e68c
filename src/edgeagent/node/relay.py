"""Keeps the link to the gateway: connect, hold a session, and after a loss wait and connect again.

A lost link is expected and contained here.  What waiting cannot cure ends the node: a token that the gateway does not
accept.  A node whose link was replaced by another process that runs as the same one stands by: it asks for a link again
and again, but never for the other's, so that two of them do not take it from each other for ever.  Called by
``node.service`` in the link ring.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import Protocol

import structlog
import trio

from edgeagent.errors import RefusedError, UnreachableError
from edgeagent.node.backoff import Backoff
from edgeagent.node.session import Session
from edgeagent.node.transport import ABNORMAL, Connect, LinkLost, most_telling
from edgeagent.wire.link import CloseCode

log = structlog.get_logger()

#: Seconds that the gateway's answer to Bye is waited for.
BYE_S = 3.0
#: Least seconds until a node asks again whether the process that runs as the same one is gone.
STAND_BY_S = 60.0
#: Most seconds that a gateway can send a node away for; beyond it, asking again costs nobody anything.
MOST_AWAY_S = 600.0
#: Fresh tokens in a row that may be refused: a gateway that gives them and does not take them is out of order.
MOST_PROOFS = 3


class Losable(Protocol):
    """Whoever wants to know that what was said may not have arrived."""

    def link_lost(self) -> None:
        """The link is over."""


class Relay:
    """The node's link, whichever connection carries it at the moment."""

    def __init__(
        self,
        connect: Connect,
        session: Session,
        sender: Losable,
        backoff: Backoff | None = None,
        *,
        prove: Callable[[], Awaitable[bool]] | None = None,
        clocks: Callable[[], Awaitable[str]] | None = None,
    ) -> None:
        """Hold links that ``connect`` opens.

        Args:
            prove: gets a fresh token by the node's key, if it can.
            clocks: says in words how far this machine's clock is off, where that may be why nothing works.
        """
        self._connect = connect
        self._session = session
        self._sender = sender
        self._backoff = backoff or Backoff(random.Random())  # noqa: S311 (jitter, not a secret)
        self._left = trio.Event()
        self._prove = prove
        self._clocks = clocks
        self._proofs = 0  # since the last Welcome
        self._woken = trio.Event()
        self._why: LinkLost | None = None
        self._link = trio.CancelScope()

    def is_up(self) -> bool:
        """Return whether the gateway has said Welcome on a connection that still stands."""
        return self._session.connected

    def drain(self, reason: str) -> None:
        """Tell the gateway that no new work is taken."""
        self._session.drain(reason)

    def wake(self, why: LinkLost | None = None) -> None:
        """Open the link anew at once: it is gone, or what it was begun with is not so any more.

        Args:
            why: as it is logged; unset, the machine was asleep, and what stood before is gone or soon will be.
        """
        self._why = why or LinkLost(ABNORMAL, "the machine was asleep")
        self._backoff.reset()
        self._woken.set()
        self._link.cancel()

    async def leave(self, reason: str) -> None:
        """Say Bye and wait a moment for the answer; ``run`` returns."""
        if self.is_up():
            self._session.leave(reason)
            with trio.move_on_after(BYE_S):
                await self._left.wait()

    async def run(self) -> None:
        """Hold a session with the gateway until it is left, reopening lost links.

        Raises:
            RefusedError: the gateway does not accept the token; says what to type.
        """
        while True:
            lost: LinkLost | None = None
            self._session.welcomed = False
            self._woken, self._link = trio.Event(), trio.CancelScope()
            try:
                with self._link:
                    async with self._connect() as transport:
                        await self._session.run(transport)
            except* LinkLost as group:
                lost = most_telling(group)
            finally:
                self._sender.link_lost()
            if lost is None and self._link.cancelled_caught:
                lost = self._why
            if lost is None:
                self._left.set()
                return
            if lost.dated:
                lost.reason += await self._about_clocks()
            if lost.code == CloseCode.REPLACED:
                lost = self._stand_by(lost)
            self._session.lost = lost.reason
            if self._session.welcomed:
                self._backoff.reset()
                self._proofs = 0
            if lost.code != CloseCode.AUTHENTICATION_FAILED or not await self._get_token():
                _raise_if_final(
                    lost, await self._about_clocks() if lost.code == CloseCode.AUTHENTICATION_FAILED else ""
                )
            delay_s = 0.0 if self._woken.is_set() else min(lost.back_s, MOST_AWAY_S) + self._backoff.next_s()
            event = _event(lost, self._session.welcomed)
            log.info(event, code=lost.code, reason=lost.reason, retry_s=round(delay_s, 1))
            with trio.move_on_after(delay_s):
                await self._woken.wait()

    def _stand_by(self, lost: LinkLost) -> LinkLost:
        told = LinkLost(
            lost.code,
            f"another process has connected as this node (4009: {lost.reason}), and this one stands by until that is "
            "gone; stop one of them, or register this machine as a node of its own: edgeagent register --force ...",
            back_s=STAND_BY_S,
        )
        if not self._session.yields:
            log.warning("Replaced by another process that runs as the same node", reason=told.reason)
        self._session.yields = True
        return told

    async def _about_clocks(self) -> str:
        said = await self._clocks() if self._clocks is not None else ""
        return said and f"; {said}"

    async def _get_token(self) -> bool:
        if self._prove is None or self._proofs == MOST_PROOFS:
            return False
        try:
            self._proofs += 1
            return await self._prove()
        except UnreachableError as error:
            log.warning("Gateway not reached for a fresh token", reason=str(error))
            self._proofs -= 1
            return True  # the next link will say again that one is needed


def _event(lost: LinkLost, welcomed: bool) -> str:
    if lost.code == CloseCode.REPLACED:
        return "Standing by"
    return "Connection lost, reconnecting..." if welcomed else "Gateway not reached, trying again"


def _raise_if_final(lost: LinkLost, clocks: str) -> None:
    if lost.code == CloseCode.AUTHENTICATION_FAILED:
        raise RefusedError(
            f"Authentication failed (4001): {lost.reason}{clocks}; "
            "the token may have expired or belong to another gateway, or the node was revoked, "
            "which only the gateway's owner can undo; register again with: "
            "edgeagent register --force --gateway-url URL --name NAME"
        )
