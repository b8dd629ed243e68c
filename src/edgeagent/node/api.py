"""The node's calls to the gateway's REST API: register, hand over a job's outputs, ask what was paid for it."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import attrs
import httpx2

from edgeagent.errors import UnreachableError
from edgeagent.node import uploads
from edgeagent.node.throttle import FREE, Throttle
from edgeagent.rest import Json, Rest
from edgeagent.wire import identity, payout_address
from edgeagent.wire.codec import structure
from edgeagent.wire.messages import JobVerdict, Output
from edgeagent.wire.urls import GatewayUrl

_CHALLENGE = re.compile(r"[0-9a-f]{64}")


class Api:
    """One gateway as the node sees it; use it as an async context manager."""

    def __init__(self, gateway: GatewayUrl, uploads: Throttle = FREE) -> None:
        """Speak to ``gateway``; outputs go up as fast as ``uploads`` lets all together."""
        self._throttle = uploads
        self._gateway = gateway
        self._rest = Rest(gateway)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *failure: object) -> None:
        await self._rest.__aexit__(*failure)

    async def register(self, body: Json) -> Json:
        """Register a node and return the gateway's answer, in which ``node_id`` and ``token`` are texts.

        Raises:
            RefusedError: the gateway says no (409, 403, 422 ...), in its words.
            UnreachableError: no gateway answered.
        """
        return self._named(await self._rest.call("POST", "/nodes/register", json=body))

    async def prove(self, private_pem: bytes) -> Json:
        """Prove a key by signing a challenge, and return the gateway's answer, which names the node and has a token.

        Raises:
            RefusedError: the key is no node's, or the node was revoked.
            UnreachableError: no gateway answered.
            InvalidKeyError: that is no private key.
        """
        public_pem = identity.public_key_of(private_pem)
        challenge = await self._challenge(public_pem)
        signature = identity.sign(private_pem, challenge.encode())
        body = {"public_key": public_pem, "challenge": challenge, "signature": signature}
        return self._named(await self._rest.call("POST", "/nodes/token", json=body))

    async def set_payout_address(self, private_pem: bytes, node_id: str, address: str) -> Json:
        """Set where the node's operator is paid, by the node's key, and return how the gateway has it then.

        Raises:
            RefusedError: the key is not the node's, or the gateway keeps no such addresses.
            UnreachableError: no gateway answered.
            InvalidKeyError: that is no private key.
        """
        public_pem = identity.public_key_of(private_pem)
        challenge = await self._challenge(public_pem)
        signature = identity.sign(private_pem, payout_address.proof(node_id, challenge, address))
        body = {"public_key": public_pem, "address": address, "challenge": challenge, "signature": signature}
        return await self._rest.call("POST", "/nodes/payout-address", json=body)

    async def rotate_key(self, body: Json) -> Json:
        """Replace a node's key and return the gateway's answer.

        Raises:
            RefusedError: the present key has not signed for it.
            UnreachableError: no gateway answered.
        """
        return self._named(await self._rest.call("POST", "/nodes/rotate-key", json=body))

    async def heartbeat(self, token: str, load: float) -> Json:
        """Say by REST that the node is alive, and how full it is, 0 to 1.

        Raises:
            RefusedError: the gateway does not accept the token.
            UnreachableError: no gateway answered.
        """
        headers = {"Authorization": f"Bearer {token}"}
        return await self._rest.call("POST", "/nodes/heartbeat", json={"current_load": load}, headers=headers)

    async def earnings(self, token: str) -> Json:
        """Return what the node has earned this month, as the gateway's books have it.

        Raises:
            RefusedError: the gateway does not accept the token, or keeps no such books.
            UnreachableError: no gateway answered.
        """
        return await self._rest.call("GET", "/nodes/me/earnings", headers={"Authorization": f"Bearer {token}"})

    async def _challenge(self, public_pem: str) -> str:
        answer = await self._rest.call("POST", "/nodes/challenge", json={"public_key": public_pem})
        challenge = answer.get("challenge")
        # Only what can be nothing else is signed: a gateway must not get a signature of its choice.
        if not isinstance(challenge, str) or not _CHALLENGE.fullmatch(challenge):
            raise self._odd()
        return challenge

    async def gateway_keys(self) -> dict[str, str]:
        """Return the public keys that the gateway signs with, in PEM, by their ``kid``.

        Raises:
            RefusedError: the gateway publishes none.
            UnreachableError: no gateway answered, or with something else than keys.
        """
        return keys_of(await self._rest.call("GET", f"{self._gateway}/.well-known/jwks.json"), self._gateway)

    async def verdicts(self, token: str, attempt_ids: Sequence[str]) -> list[JobVerdict]:
        """Return what became of the node's results of these attempts, as far as that is decided; 100 at most.

        Raises:
            RefusedError: the gateway does not accept the token, or does not say.
            UnreachableError: no gateway answered, or with something else than verdicts.
        """
        headers = {"Authorization": f"Bearer {token}"}
        return await verdicts(self._rest, attempt_ids, headers=headers)

    def _odd(self) -> UnreachableError:
        return UnreachableError(f"{self._gateway} does not answer as an edgeagent gateway does; check the address")

    def _named(self, answer: Json) -> Json:
        if not all(isinstance(answer.get(key), str) for key in ("node_id", "token")):
            raise self._odd()
        return answer

    @asynccontextmanager
    async def fetch(
        self, token: str, attempt_id: str, name: str | None, headers: dict[str, str]
    ) -> AsyncIterator[httpx2.Response]:
        """Ask for an input of an attempt that this node holds, by its name, or for its payload.

        The answer is 200, 206 or 416, and its body still to be read.

        Raises:
            RefusedError: the gateway will never give it.
            UnreachableError: it does not come this time; from reading the body, too.
        """
        place = "payload" if name is None else f"inputs/{quote(name, safe='')}"
        path = f"/attempts/{quote(attempt_id, safe='')}/{place}"
        headers = {"Authorization": f"Bearer {token}", **headers}
        async with self._rest.stream("GET", path, headers=headers, taken=(416,)) as answer:
            yield answer

    async def put_output(self, token: str, attempt_id: str, output: Output, path: Path) -> None:
        """Upload one output file of an attempt; going on where an earlier try was cut.

        Raises:
            RefusedError: the gateway will never take it.
            UnreachableError: it did not arrive this time.
            OSError: the file cannot be read.
        """
        await uploads.put(self._rest, token, attempt_id, output, path, self._throttle)


@attrs.frozen
class _Verdicts:
    verdicts: tuple[JobVerdict, ...]


async def verdicts(rest: Rest, attempt_ids: Sequence[str], **request: Any) -> list[JobVerdict]:
    """Ask a gateway as ``Api.verdicts``, with what else the request needs."""
    document = await rest.call("GET", "/nodes/me/verdicts", params={"attempt": list(attempt_ids)}, **request)
    try:
        return list(structure(document, _Verdicts).verdicts)
    except ValueError as error:
        raise UnreachableError(f"{rest.gateway} answers with what makes no sense: {error}") from None


def keys_of(jwks: Json, gateway: GatewayUrl) -> dict[str, str]:
    """Return the keys of a JSON Web Key Set, in PEM, by their ``kid``, which is the key's own thumbprint.

    Raises:
        UnreachableError: it holds something else.
    """
    try:
        pems = [identity.from_jwk(one) for one in jwks["keys"]]
    except (KeyError, TypeError, ValueError):
        raise UnreachableError(f"{gateway} does not publish keys as an edgeagent gateway does") from None
    return {identity.key_id(pem): pem for pem in pems}
