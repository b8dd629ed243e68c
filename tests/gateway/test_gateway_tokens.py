"""Submitters' tokens: what each may be used for, that it can be made void, and who did what."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import sqlalchemy as sa
import trio
from scripted import PortGateway, on_a_port, refused, submit
from sqlalchemy.exc import DBAPIError

from edgeagent.errors import EdgeAgentError
from edgeagent.gateway import ownership
from edgeagent.gateway.accounts import create_token, list_tokens, read_audit, revoke_token
from edgeagent.gateway.config import GatewaySettings, Registration
from edgeagent.gateway.ownership import create_join_token
from edgeagent.gateway.scopes import Scope, parse, written
from edgeagent.gateway.store import Tx, audit
from edgeagent.gateway.store.audit import Entry
from edgeagent.gateway.store.engine import Database, migrate, open_engine
from edgeagent.gateway.store.orders import Kind
from edgeagent.gateway.store.tables import audit_entries
from edgeagent.wire import identity


@pytest.mark.parametrize("scopes", [frozenset(), frozenset({Scope.READ}), frozenset(Scope)])
def test_scopes_are_read_as_they_were_written(scopes: frozenset[Scope]) -> None:
    """Any set of them."""
    assert parse(written(scopes)) == scopes


async def _token(gateway: PortGateway, *scopes: Scope) -> str:
    make = partial(create_token, scopes=frozenset(scopes))
    return await trio.to_thread.run_sync(make, gateway.data_dir, "studio", 1_000_000_000)


async def test_a_token_does_what_its_scope_says_and_no_more(port_gateway: PortGateway) -> None:
    """403 names the scopes that it has; none includes another."""
    await port_gateway.enlist()
    reading, submitting, admin = [await _token(port_gateway, one) for one in Scope]
    async with (
        port_gateway.http(reading) as reader,
        port_gateway.http(submitting) as submitter,
        port_gateway.http(admin) as administrator,
    ):
        job = await submit(submitter)
        where = f"/jobs/{job['job_id']}"
        assert (await reader.get(where)).status_code == 200
        refused(await reader.post("/jobs", json={"job_type": "render"}), 403, "may not submit", "read")
        refused(await reader.post(f"{where}/cancel"), 403, "may not submit")
        for path in ("/jobs", where, f"{where}/result", f"{where}/events", "/account"):
            refused(await submitter.get(path), 403, "may not read", "submit")
            refused(await administrator.get(path), 403, "may not read", "admin")
        refused(await administrator.post("/jobs", json={"job_type": "render"}), 403)
        assert (await submitter.post(f"{where}/cancel")).json()["status"] == "CANCELLED"


async def test_a_revoked_token_is_void_at_once(port_gateway: PortGateway) -> None:
    """Beside a running gateway; the account's other tokens go on, and the log says so."""
    place = GatewaySettings(data_dir=port_gateway.data_dir)
    token, other = await port_gateway.account(), await port_gateway.account()
    name = (await trio.to_thread.run_sync(list_tokens, place, "studio"))[0].name
    async with port_gateway.http(token) as http, port_gateway.http(other) as http_of_other:
        assert (await http.get("/account")).status_code == 200

        assert await trio.to_thread.run_sync(revoke_token, place, name)

        refused(await http.get("/account"), 401)
        assert (await http_of_other.get("/account")).status_code == 200
    assert not await trio.to_thread.run_sync(revoke_token, place, name)
    listed = await trio.to_thread.run_sync(list_tokens, place, "studio")
    assert [one.revoked_at is None for one in listed] == [False, True]
    log = await trio.to_thread.run_sync(read_audit, place, 100)
    assert [(one.action, one.subject) for one in log if one.action == "token.revoke"] == [("token.revoke", name)]
    with pytest.raises(EdgeAgentError, match="no token 'nix'; see: edgeagent gateway token list"):
        await trio.to_thread.run_sync(revoke_token, place, "nix")


async def test_what_an_account_did_to_a_job_is_in_the_log(tmp_path: Path) -> None:
    """Once, in order, after the node that came, and the token and the grant that the owner made."""
    async with on_a_port(tmp_path) as gateway:
        await gateway.enlist()
        async with gateway.http(await gateway.account()) as http:
            job = (await submit(http))["job_id"]
            await http.post(f"/jobs/{job}/cancel")
            await http.post(f"/jobs/{job}/cancel")
            again = (await http.post(f"/jobs/{job}/requeue")).json()["job_id"]
            await http.post(f"/jobs/{job}/requeue")
        log = await trio.to_thread.run_sync(read_audit, GatewaySettings(data_dir=tmp_path), 100)
    assert [one.action for one in log] == [
        "node.register",
        "token.create",
        "credits.grant",
        "job.cancel",
        "job.requeue",
    ]
    assert [one.actor.partition(" ")[0] for one in log] == ["node", "owner", "owner", "account", "account"]
    assert [(one.subject, one.detail) for one in log[3:]] == [(job, ""), (job, f"as {again}")]


async def test_what_nodes_do_with_their_keys_is_in_the_log(tmp_path: Path) -> None:
    """Registered with which join token, and each rotation that was done, by either call; not those refused."""
    place = GatewaySettings(data_dir=tmp_path)
    ticket = await trio.to_thread.run_sync(create_join_token, place, 1, None)
    key, *others = [identity.new_private_key() for _ in range(3)]
    publics = [identity.public_key_of(one) for one in (key, *others)]
    body = {"name": "one", "capabilities": ["echo"], "join_token": ticket}
    async with on_a_port(tmp_path, registration=Registration.TOKEN) as gateway, gateway.http() as http:
        node_id = (await http.post("/nodes/register", json={**body, "public_key": publics[0]})).json()["node_id"]

        def signed(old: bytes, new: str) -> dict[str, str]:
            return {"node_id": node_id, "signature": identity.sign(old, identity.replacement_proof(node_id, new))}

        refused(await http.post("/nodes/register", json={**body, "name": "two", "public_key": publics[1]}), 403)
        rotation = {"public_key": publics[1], **signed(key, publics[1])}
        assert (await http.post("/nodes/rotate-key", json=rotation)).status_code == 200
        refused(await http.post("/nodes/rotate-key", json=rotation), 403)
        again = {**body, "public_key": publics[2], "replaces": signed(others[0], publics[2])}
        assert (await http.post("/nodes/register", json=again)).status_code == 201
    log = await trio.to_thread.run_sync(read_audit, place, 100)
    assert {(one.actor, one.subject) for one in log[1:]} == {(f"node {node_id}", node_id)}
    assert [(one.action, one.detail) for one in log[1:]] == [
        ("node.register", f"as one, REGISTERED, join token {log[0].subject}"),
        ("node.rotate-key", f"key {identity.key_id(publics[1])}"),
        ("node.rotate-key", f"key {identity.key_id(publics[2])}"),
    ]


async def test_what_the_owner_did_to_nodes_and_keys_is_in_the_log(tmp_path: Path) -> None:
    """Each thing that was done, with its reason; not what changed nothing."""
    place = GatewaySettings(data_dir=tmp_path)
    async with on_a_port(tmp_path, registration=Registration.APPROVAL) as gateway:
        node_id = (await gateway.enlist()).node_id

    def work() -> list[Entry]:
        for kind in (Kind.APPROVE, Kind.DRAIN, Kind.DRAIN, Kind.RESUME, Kind.VOID_TOKENS, Kind.REVOKE, Kind.REVOKE):
            ownership.order(place, kind, node_id, f"why {kind.value}")
        create_join_token(place, 1, None, "farm")
        ownership.revoke_join_token(place, ownership.list_join_tokens(place)[0].name)
        kids.extend(ownership.rotate_keys(place, drop=drop) for drop in (False, True))
        return read_audit(place, 100)[1:]

    kids: list[str] = []
    log = await trio.to_thread.run_sync(work)
    assert {one.actor.partition(" ")[0] for one in log} == {"owner"}
    assert [(one.action, one.detail) for one in log[:5]] == [
        ("node.approve", "why approve"),
        ("node.drain", "why drain"),
        ("node.resume", "why resume"),
        ("node.void-tokens", "why void tokens"),
        ("node.revoke", "why revoke"),
    ]
    assert {one.subject for one in log[:5]} == {node_id}
    assert [(one.action, one.detail) for one in log[5:7]] == [
        ("join-token.create", "operator farm"),
        ("join-token.revoke", ""),
    ]
    assert log[5].subject == log[6].subject
    assert [(one.action, one.subject, one.detail) for one in log[7:]] == [
        ("keys.rotate", kids[0], ""),
        ("keys.rotate", kids[1], "dropped the old ones"),
    ]


@pytest.mark.parametrize("spoil", [sa.delete(audit_entries), sa.update(audit_entries).values(actor="nobody")])
def test_the_log_cannot_be_changed(database: Database, spoil: sa.Delete | sa.Update) -> None:
    """The database refuses, whoever asks."""
    engine = open_engine(database, writer=True)
    migrate(engine)
    with engine.begin() as connection:
        audit.record(Tx(connection, 5.0), "owner root", "token.create", "abc")
    with pytest.raises(DBAPIError, match="append-only"), engine.begin() as connection:
        connection.execute(spoil)
    with engine.begin() as connection:
        assert [one.actor for one in audit.latest(Tx(connection, 6.0), 10)] == ["owner root"]
    engine.dispose()
