"""Where this machine's operator wants to be paid: asked for with the node's token, set with its key."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import trio

from edgeagent.errors import EdgeAgentError, UnreachableError, UsageError
from edgeagent.node import config, files
from edgeagent.node.api import Api
from edgeagent.node.asking import PATIENCE_S, ask
from edgeagent.rest import Json
from edgeagent.wire import identity, payout_address


def shown(home: Path, environ: Mapping[str, str]) -> Json:
    """Return where the operator is paid, as the gateway has it: of the address only its ends.

    Raises:
        UsageError: this machine is no node.
        RefusedError, UnreachableError: the gateway does not say.
    """
    (answer,) = ask(home, environ, "/payout-address")
    if isinstance(answer, EdgeAgentError):
        raise answer
    return answer


def change(home: Path, environ: Mapping[str, str], address: str) -> Json:
    """Set where the operator is paid, or with an empty address nowhere; return how the gateway has it then.

    Raises:
        UsageError: that is no address, this machine is no node, or it has no key.
        RefusedError: the gateway says no.
        UnreachableError: no gateway answered in time.
    """
    try:
        address = payout_address.check(address) if address else ""
    except ValueError as error:
        raise UsageError(str(error)) from None
    known = config.load(home, environ)
    try:
        private_pem = (home / files.PRIVATE_KEY).read_bytes()
    except OSError as error:
        raise UsageError(
            f"setting the payout address needs the node's key: {home / files.PRIVATE_KEY}: {error.strerror}"
        ) from None

    async def call() -> Json:
        async with Api(known.gateway) as api:
            with trio.fail_after(PATIENCE_S):
                return await api.set_payout_address(private_pem, known.node_id, address)

    try:
        return trio.run(call)
    except identity.InvalidKeyError as error:
        raise UsageError(f"{home / files.PRIVATE_KEY} is {error}") from None
    except trio.TooSlowError:
        raise UnreachableError(f"the gateway at {known.gateway} did not answer within {PATIENCE_S:g} s") from None
