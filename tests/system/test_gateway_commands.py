"""The owner's commands, each as a process of its own, beside a running gateway and without one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import trio
from test_commands import Said, edgeagent

import plain_http
from edgeagent.demo.network import program
from edgeagent.wire import identity

Json = dict[str, Any]
#: Real seconds for a dozen commands, each a process that imports the gateway, on a machine that is busy.
LIMIT_S = 300.0


async def owner(data: Path, *command: str) -> Json:
    """Run a command of the owner's with --json; return its document, which says of what kind it is."""
    said = await edgeagent("gateway", *command, "--data", str(data), "--json")
    assert said.code == 0, said.stderr
    document: Json = json.loads(said.stdout)
    assert document["schema"].startswith("edgeagent.")
    return document


async def test_the_owner_lets_nodes_in_and_puts_them_out(tmp_path: Path) -> None:
    """With join tokens and approval; what is decided reaches the running gateway."""
    data, home = tmp_path / "data", tmp_path / "home"
    serve = ("gateway", "run", "--data", str(data), "--port", "0", "--registration", "approval")
    with trio.fail_after(LIMIT_S):
        async with program(*serve, log=tmp_path / "g.log") as up:
            address = (await up.first_line()).strip()
            registered = await edgeagent(
                "register", "--gateway-url", address, "--name", "One", EDGEAGENT_HOME=str(home)
            )
            assert "has to approve" in registered.stderr
            assert [one["status"] for one in (await owner(data, "nodes", "list"))["nodes"]] == ["PENDING"]
            assert (await owner(data, "nodes", "approve", "one"))["changed"]
            made = await owner(
                data, "nodes", "join-token", "create", "--uses", "1", "--expires", "24h", "--operator", "farm"
            )
            assert made["token"] not in (data / "gateway.db").read_bytes().decode("latin-1")
            second = await edgeagent(
                "register", "--gateway-url", address, "--name", "Two",
                EDGEAGENT_HOME=str(tmp_path / "two"), EDGEAGENT_JOIN_TOKEN=made["token"],
            )  # fmt: skip
            assert second.code == 0
            statuses = {one["name"]: one["status"] for one in (await owner(data, "nodes", "list"))["nodes"]}
            assert statuses == {"One": "REGISTERED", "Two": "REGISTERED"}
            (token,) = (await owner(data, "nodes", "join-token", "list"))["tokens"]
            assert (token["uses_left"], token["operator"]) == (0, "farm")
            shown = await edgeagent("gateway", "nodes", "list", "--data", str(data))
            assert [line.endswith("  operator farm") for line in shown.stdout.splitlines()] == [False, True]
            await owner(data, "nodes", "join-token", "revoke", token["name"])
            assert (await owner(data, "nodes", "drain", "two", "--reason", "new disk"))["node"]["drained"]

            stored = json.loads((home / "config.json").read_text())
            assert (await owner(data, "nodes", "revoke", "One", "--reason", "spam"))["node"]["status"] == "REVOKED"
            async with plain_http.client(headers={"Authorization": f"Bearer {stored['jwt_token']}"}) as http:
                while (await http.get(f"{address}/api/v1/nodes/me")).status_code != 401:
                    await trio.sleep(0.05)
            shown = await owner(data, "nodes", "show", stored["node_id"])
            assert shown["history"][-1]["cause"] == "revoked by the owner: spam"
        assert not (await owner(data, "nodes", "revoke", "One"))["changed"]  # without a gateway


async def test_keys_rotate_on_both_sides(tmp_path: Path) -> None:
    """The node's with the old one's signature, the gateway's while its tokens live on."""
    data, home = tmp_path / "data", tmp_path / "home"
    with trio.fail_after(LIMIT_S):
        async with program("gateway", "run", "--data", str(data), "--port", "0", log=tmp_path / "g.log") as up:
            address = (await up.first_line()).strip()
            here = {"EDGEAGENT_HOME": str(home)}
            await edgeagent("register", "--gateway-url", address, "--name", "one", **here)
            before = json.loads((await edgeagent("keys", "show", "--json", **here)).stdout)
            rotated = json.loads((await edgeagent("keys", "rotate", "--json", **here)).stdout)
            after = json.loads((await edgeagent("keys", "show", "--json", **here)).stdout)
            assert (before["node_id"], before["fingerprint"]) != (after["node_id"], after["fingerprint"])
            assert (before["node_id"], rotated["fingerprint"]) == (after["node_id"], after["fingerprint"])

            token = json.loads((home / "config.json").read_text())["jwt_token"]
            new = (await owner(data, "keys", "rotate"))["kid"]
            async with plain_http.client(headers={"Authorization": f"Bearer {token}"}) as http:
                while new not in (await http.get(f"{address}/.well-known/jwks.json")).text:
                    await trio.sleep(0.05)
                assert identity.token_key_id(token) != new
                assert (await http.get(f"{address}/api/v1/nodes/me")).status_code == 200


@pytest.mark.parametrize(
    ("command", "code", "complaint"),
    [
        (("nodes", "show", "nobody"), 1, "there is no node 'nobody'"),
        (("nodes", "revoke", "nobody"), 1, "there is no node 'nobody'"),
        (("nodes", "join-token", "revoke", "abc"), 1, "there is no join token 'abc'"),
        (("nodes", "join-token", "create", "--expires", "soon"), 2, "is not a duration"),
        (("nodes", "list", "--status", "ASLEEP"), 2, "ASLEEP"),
    ],
)
async def test_what_cannot_be_done_is_one_line(
    tmp_path: Path, command: tuple[str, ...], code: int, complaint: str
) -> None:
    """With the exit code that fits."""
    said: Said = await edgeagent("gateway", *command, "--data", str(tmp_path / "data"))
    assert (said.code, complaint in said.stderr) == (code, True), said.stderr


async def test_a_machine_without_a_key_says_so(tmp_path: Path) -> None:
    """To show or to rotate it."""
    for command, code in (("show", 1), ("rotate", 2)):
        said = await edgeagent("keys", command, EDGEAGENT_HOME=str(tmp_path))
        assert (said.code, "edgeagent register" in said.stderr) == (code, True), said.stderr
