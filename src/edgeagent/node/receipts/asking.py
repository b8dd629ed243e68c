"""What a gateway publishes of a month, over its REST API: ``audit.Source`` of a real gateway.

Everything that comes is a stranger's word, checked for its shape here and for its truth in ``check``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import attrs

from edgeagent.errors import RefusedError, UnreachableError
from edgeagent.node.api import keys_of, verdicts
from edgeagent.node.receipts.audit import Correction
from edgeagent.node.receipts.book import Signed
from edgeagent.node.receipts.check import Proof
from edgeagent.rest import Json, Rest
from edgeagent.wire.codec import structure
from edgeagent.wire.merkle import HASH_BYTES
from edgeagent.wire.messages import JobVerdict
from edgeagent.wire.receipts import Statement

T = TypeVar("T")


@attrs.frozen
class _Proof:
    proof: tuple[str, ...]


@attrs.frozen
class _Inclusion:
    leaf: str
    index: int
    proof: tuple[str, ...]


@attrs.frozen
class _Inclusions:
    inclusions: tuple[_Inclusion, ...]


@attrs.frozen
class _Signature:
    signature: str
    key_id: str


@attrs.frozen
class _Corrections:
    corrections: tuple[Correction, ...]


@attrs.frozen
class _Total:
    earned_ucr: int


@attrs.frozen
class _Earnings:
    total: _Total


class Asking:
    """One gateway, asked with the node's token."""

    def __init__(self, rest: Rest) -> None:
        self._rest = rest

    async def keys(self) -> dict[str, str]:
        """Return its public keys by their ``kid``."""
        gateway = self._rest.gateway
        return keys_of(await self._rest.call("GET", f"{gateway}/.well-known/jwks.json"), gateway)

    async def verdicts(self, attempt_ids: Sequence[str]) -> list[JobVerdict]:
        """Return what became of results that it had held, as far as that is decided."""
        return await verdicts(self._rest, attempt_ids)

    async def statement(self, month: str) -> Signed | None:
        """Return a month's statement; None where it says that there is none."""
        async with self._rest.stream("GET", f"/statements/{month}", taken=(404,)) as answer:
            await answer.aread()
            if answer.status_code == 404:
                return None
            try:
                document = answer.json()
            except ValueError:
                document = None
        signed = self._taken(document, _Signature)
        return Signed(self._taken(document, Statement), signed.signature, signed.key_id)

    async def inclusion(self, month: str, leaves: Sequence[bytes], size: int) -> dict[bytes, Proof]:
        """Return proofs for those of these leaf hashes that the answer has one for."""
        params: dict[str, Any] = {"leaf": [one.hex() for one in leaves], "size": size}
        document = await self._rest.call("GET", f"/statements/{month}/inclusion", params=params)
        found = {one.leaf: one for one in self._taken(document, _Inclusions).inclusions}
        return {
            leaf: Proof(said.index, self._hashes(said.proof))
            for leaf in leaves
            if (said := found.get(leaf.hex())) is not None
        }

    async def consistency(self, month: str, first: int, second: int) -> list[bytes]:
        """Return the proof between two sizes."""
        params = {"first": first, "second": second}
        document = await self._rest.call("GET", f"/statements/{month}/consistency", params=params)
        return self._hashes(self._taken(document, _Proof).proof)

    async def corrections(self, month: str) -> list[Correction]:
        """Return what changed this node's earnings beside its settlements."""
        document = await self._rest.call("GET", "/nodes/me/corrections", params={"month": month})
        return list(self._taken(document, _Corrections).corrections)

    async def earned_ucr(self, month: str) -> int:
        """Return what its books say that this node has earned."""
        document = await self._rest.call("GET", "/nodes/me/earnings", params={"month": month})
        return self._taken(document, _Earnings).total.earned_ucr

    def _taken(self, document: Json | None, kind: type[T]) -> T:
        try:
            return structure(document, kind)
        except ValueError as error:
            raise UnreachableError(f"{self._rest.gateway} answers with what makes no sense: {error}") from None

    def _hashes(self, texts: Sequence[str]) -> list[bytes]:
        try:
            hashes = [bytes.fromhex(one) for one in texts]
        except ValueError:
            hashes = [b""]
        if any(len(one) != HASH_BYTES for one in hashes):  # of another length, two trees could have one root
            raise RefusedError(f"{self._rest.gateway} answers with a proof that is none")
        return hashes
