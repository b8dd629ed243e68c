"""Receipts on their way through the gateway: are they signed by the node, and what the gateway signs in turn.

A signature is checked before the result goes to the store, and the settlement is signed after it is there, so neither
holds up the writer.  What the gateway signs is not kept: the same key makes the same signature again, and a result that
a node tells again gets one by the present key.
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
import structlog

from edgeagent.gateway.auth import NodeTokens
from edgeagent.gateway.network import Network
from edgeagent.gateway.store import Store, Tx, settlements
from edgeagent.gateway.store.flights import Answer, News
from edgeagent.gateway.store.prepared import Among
from edgeagent.gateway.store.tables import attempts, jobs
from edgeagent.wire import identity, receipts
from edgeagent.wire.messages import JobResult, JobResultAck, JobVerdict, Settled

log = structlog.get_logger()

#: What an attempt is for: job type and price.
_Terms = tuple[str, int]

_TERMS = Among(
    sa.select(attempts.c.attempt_id, jobs.c.job_type, jobs.c.price_ucr)
    .join_from(attempts, jobs)
    .where(attempts.c.attempt_id.in_(sa.bindparam("ids", expanding=True))),
    "ids",
)


class Notary:
    """Checks what nodes sign, and signs what they are paid."""

    def __init__(self, store: Store, network: Network, tokens: NodeTokens) -> None:
        self._store, self._network, self._tokens = store, network, tokens
        self._keys: dict[str, str] = {}  # of nodes that had a link, as of its beginning
        self._month = ""  # in which months were closed last

    def met(self, node_id: str, public_key: str) -> None:
        """A node opens a link, for which it had to have this key; a new key ends the link."""
        self._keys[node_id] = public_key

    async def forged(self, node_id: str, messages: Sequence[JobResult]) -> list[bool]:
        """Return of each result whether it is signed, but not by this node's key over the receipt that it is."""
        public_key = self._keys.get(node_id, "")
        terms = await self._terms([one.attempt_id for one in messages if one.signature])
        return [
            message.attempt_id in terms and not _signed(message, node_id, public_key, *terms[message.attempt_id])
            for message in messages
        ]

    async def close(self) -> None:
        """Close the months that are over, where the present one is not that of the last call."""
        present = receipts.month_of(self._store.clock())
        if present != self._month:
            for name in await self._store.write(settlements.close):
                log.info("Month closed", month=name)
            self._month = present

    def acknowledge(self, message: JobResult, answer: Answer | None) -> JobResultAck:
        """Return the acknowledgement of a result, with the settlement of it signed."""
        if answer is None:
            return JobResultAck(attempt_id=message.attempt_id)
        return JobResultAck(
            attempt_id=message.attempt_id,
            credited_ucr=answer.credited_ucr,
            held=answer.held,
            settled=self._settled(answer.settlement, message.signature),
            unpaid=answer.unpaid,
        )

    def tell(self, news: News) -> JobVerdict:
        """Return what a node hears of a result that was held."""
        return JobVerdict(
            attempt_id=news.attempt_id,
            credited_ucr=news.credited_ucr,
            reason=news.reason,
            settled=self._settled(news.settlement),
        )

    def _settled(self, how: receipts.Settlement | None, said: str | None = None) -> Settled | None:
        if how is None:
            return None
        signer = self._tokens.signer
        return Settled(
            month=how.month,
            index=how.index,
            settled_at=how.settled_at,
            signature=signer.sign(how.document()),
            key_id=signer.key_id,
            node_signature=None if how.node_signature == said else how.node_signature,
        )

    async def _terms(self, attempt_ids: Sequence[str]) -> dict[str, _Terms]:
        """Return what these attempts are for, as far as there are such; nearly always from memory."""
        found: dict[str, _Terms] = {}
        unknown = []
        for attempt_id in attempt_ids:
            flight = self._network.flight(attempt_id)
            if flight is not None and flight.price_ucr is not None:
                found[attempt_id] = (flight.need.job_type, flight.price_ucr)
            else:
                unknown.append(attempt_id)
        return found | (await self._store.read(_look_up, unknown) if unknown else {})


def _signed(message: JobResult, node_id: str, public_key: str, job_type: str, price_ucr: int) -> bool:
    receipt = receipts.receipt(node_id, job_type, price_ucr, message)
    return identity.verify(public_key, receipt.document(), message.signature)


def _look_up(tx: Tx, attempt_ids: Sequence[str]) -> dict[str, _Terms]:
    return {row.attempt_id: (row.job_type, row.price_ucr) for row in _TERMS.rows(tx, attempt_ids)}
