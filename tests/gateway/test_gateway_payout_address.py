"""Where an operator is paid, node and gateway both real: only the node's present key sets it, and each time anew."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import httpx2
import pytest
import trio
from click.testing import CliRunner, Result
from scripted import PortGateway, on_both_databases, refused
from scripted_node import Operator

from edgeagent.cli import main
from edgeagent.gateway import ownership
from edgeagent.gateway.config import GatewaySettings
from edgeagent.gateway.store.orders import Kind
from edgeagent.node import enrol
from edgeagent.wire import identity, payout_address
from edgeagent.wire.urls import GatewayUrl

IBAN = "AT61 1904 3002 3457 3201"


async def command(home: Path, *words: str) -> Result:
    """Run ``edgeagent`` as the operator of the node in this home, beside the gateway."""
    invoke = partial(CliRunner().invoke, main, list(words), env={"EDGEAGENT_HOME": str(home)})
    result = await trio.to_thread.run_sync(invoke)
    assert "Traceback" not in result.output
    return result


async def body(
    http: httpx2.AsyncClient, operator: Operator, address: str, *, over: str | None = None
) -> dict[str, str]:
    """Return a request to set an address, signed ``over`` another one if given."""
    public = identity.public_key_of(operator.private_key)
    challenge = (await http.post("/nodes/challenge", json={"public_key": public})).json()["challenge"]
    proof = payout_address.proof(operator.node_id, challenge, address if over is None else over)
    signature = identity.sign(operator.private_key, proof)
    return {"public_key": public, "address": address, "challenge": challenge, "signature": signature}


@on_both_databases
async def test_an_operator_sets_and_sees_the_address(port_gateway: PortGateway, tmp_path: Path) -> None:
    """By its ends; the gateway's owner sees it whole, and that it was changed; it can be taken away."""
    home = tmp_path / "home"
    node = await enrol.register(home, GatewayUrl.parse(port_gateway.url), "n", ("echo",), force=False)
    assert "nowhere" in (await command(home, "config", "payout-address")).stdout

    assert (await command(home, "config", "payout-address", f" {IBAN} ")).stdout == "Paid to: AT61…3201\n"

    assert "Paid to: AT61…3201" in (await command(home, "earnings")).stdout
    shown = json.loads((await command(home, "config", "payout-address", "--json")).stdout)
    assert (shown["node_id"], shown["address"]) == (node.node_id, "AT61…3201")
    place = GatewaySettings(data_dir=port_gateway.data_dir, postgres=port_gateway.postgres)
    member, _ = await trio.to_thread.run_sync(ownership.show, place, "n")
    assert member.payout_address == IBAN
    assert (await command(home, "config", "payout-address", "--clear")).stdout.startswith("Paid to: nowhere")
    member, _ = await trio.to_thread.run_sync(ownership.show, place, "n")
    assert member.payout_address == ""


async def test_a_change_is_in_the_audit_log(port_gateway: PortGateway, anyone: httpx2.AsyncClient) -> None:
    """By the ends of the address, and once: the same address again is no change."""
    operator = await port_gateway.enlist()
    for _ in range(2):
        answer = await anyone.post("/nodes/payout-address", json=await body(anyone, operator, IBAN))
        assert answer.status_code == 200

    log = await command(port_gateway.data_dir, "gateway", "audit", "--data", str(port_gateway.data_dir))

    (line,) = [line for line in log.stdout.splitlines() if "node.payout-address" in line]
    assert line.endswith("AT61…3201")
    assert IBAN not in log.stdout


async def test_a_request_is_good_once(port_gateway: PortGateway, anyone: httpx2.AsyncClient) -> None:
    """Whoever has recorded one cannot set the old address again."""
    operator = await port_gateway.enlist()
    first = await body(anyone, operator, "old")
    assert (await anyone.post("/nodes/payout-address", json=first)).status_code == 200
    second = await body(anyone, operator, IBAN)
    assert (await anyone.post("/nodes/payout-address", json=second)).json()["address"] == "AT61…3201"

    refused(await anyone.post("/nodes/payout-address", json=first), 403, "used already")


async def test_another_address_than_the_signed_is_refused(
    port_gateway: PortGateway, anyone: httpx2.AsyncClient
) -> None:
    """And the challenge stays good for the right one."""
    operator = await port_gateway.enlist()

    forged = await body(anyone, operator, "thief", over=IBAN)
    refused(await anyone.post("/nodes/payout-address", json=forged), 403, "signature")

    assert (await anyone.post("/nodes/payout-address", json={**forged, "address": IBAN})).status_code == 200


async def test_a_proof_of_the_key_sets_no_address(port_gateway: PortGateway, anyone: httpx2.AsyncClient) -> None:
    """A signature over the challenge alone, which nodes give for a token, is none over an address."""
    operator = await port_gateway.enlist()
    asked = await body(anyone, operator, IBAN)
    plain = identity.sign(operator.private_key, asked["challenge"].encode())

    refused(await anyone.post("/nodes/payout-address", json={**asked, "signature": plain}), 403, "signature")


async def test_a_token_sets_no_address(port_gateway: PortGateway, anyone: httpx2.AsyncClient) -> None:
    """Only a key does, and only the node's own."""
    operator, thief = await port_gateway.enlist("one"), Operator("", "", identity.new_private_key())
    asked = await body(anyone, Operator(operator.node_id, "", thief.private_key), "thief")

    async with port_gateway.http(operator.token) as http:
        refused(await http.post("/nodes/payout-address", json=asked), 403, "no node's here")


async def test_a_revoked_node_sets_no_address(port_gateway: PortGateway, anyone: httpx2.AsyncClient) -> None:
    """Its credits are held."""
    operator = await port_gateway.enlist()
    place = GatewaySettings(data_dir=port_gateway.data_dir)
    await trio.to_thread.run_sync(ownership.order, place, Kind.REVOKE, operator.node_id)

    refused(await anyone.post("/nodes/payout-address", json=await body(anyone, operator, IBAN)), 403, "revoked")


@pytest.mark.parametrize(("address", "said"), [("a\nb", "one line"), ("   ", "at least one"), ("x" * 201, "address")])
async def test_what_is_no_address_is_refused(
    port_gateway: PortGateway, anyone: httpx2.AsyncClient, address: str, said: str
) -> None:
    """Signed or not."""
    operator = await port_gateway.enlist()

    refused(await anyone.post("/nodes/payout-address", json=await body(anyone, operator, address)), 422, said)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["two\nlines"], "one line of printable characters"),
        (["x" * 201], "at most 200 characters"),
        (["  "], "--clear takes it away"),
        (["x", "--clear"], "but not both"),
        (["x"], "register this machine"),
    ],
)
async def test_a_command_that_makes_no_sense_is_one_line(tmp_path: Path, words: list[str], said: str) -> None:
    """Exit code 2, before anybody is asked."""
    done = await command(tmp_path / "home", "config", "payout-address", *words)

    assert (done.exit_code, said in done.stderr) == (2, True), done.stderr
