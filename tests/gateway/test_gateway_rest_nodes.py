"""REST over real HTTP: nodes, who may call what, and what everybody may see."""

from __future__ import annotations

import base64
from typing import Any

import httpx2
import jwt
import pytest
from scripted import PortGateway, on_a_port, refused, registration
from scripted_node import Operator

from edgeagent.wire import identity
from edgeagent.wire.link import CloseCode

#: The point (0, -1), of order 2: signatures that fit it can be made by anybody.
SMALL_ORDER = (
    "-----BEGIN PUBLIC KEY-----\n"
    + base64.b64encode(bytes.fromhex("302a300506032b6570032100ec" + "ff" * 30 + "7f")).decode()
    + "\n-----END PUBLIC KEY-----\n"
)


async def test_a_node_registers(port_gateway: PortGateway, anyone: httpx2.AsyncClient) -> None:
    """It is REGISTERED, and its token says who it is."""
    answer = await anyone.post("/nodes/register", json=registration(metadata={"os": "linux"}))

    assert answer.status_code == 201
    body = answer.json()
    assert body["status"] == "REGISTERED"
    claims = identity.read_node_token(body["token"])
    assert (claims.node_id, claims.capabilities) == (body["node_id"], ("echo",))
    async with port_gateway.http(body["token"]) as http:
        assert (await http.get("/nodes/me")).json() == {
            "node_id": body["node_id"],
            "name": "node",
            "status": "REGISTERED",
            "capabilities": ["echo"],
            "jobs_completed": 0,
            "balance_ucr": 0,
        }


async def test_a_name_in_use_is_refused(anyone: httpx2.AsyncClient) -> None:
    """Also one that only looks the same."""
    await anyone.post("/nodes/register", json=registration("My Node"))

    for same in ("My Node", "my  node", "MY NODE "):
        refused(await anyone.post("/nodes/register", json=registration(same)), 409, "in use")


async def test_a_key_that_is_known_is_refused(anyone: httpx2.AsyncClient) -> None:
    """Knowing a node's public key gives nothing."""
    first = registration("a")
    await anyone.post("/nodes/register", json=first)

    refused(await anyone.post("/nodes/register", json={**first, "name": "b"}), 409, "key is already registered")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": ""}, ["name"]),
        ({"name": "x" * 101}, ["name"]),
        ({"name": "two\nlines"}, ["printable"]),
        ({"name": "   "}, ["printable"]),
        ({"name": 5}, ["name"]),
        ({"public_key": "no key"}, ["public_key"]),
        ({"public_key": SMALL_ORDER}, ["public_key", "small order"]),
        ({"capabilities": "echo"}, ["capabilities"]),
        ({"capabilities": [""]}, ["capabilities"]),
        ({"capabilities": ["x\x00"]}, ["capability"]),
        ({"capabilities": [str(n) for n in range(65)]}, ["capabilities"]),
        ({"metadata": []}, ["metadata"]),
        ({"metadata": {"big": "x" * 5000}}, ["metadata"]),
        ({"metadata": {"big": 1 << 70}}, ["metadata"]),
        ({"replaces": {"node_id": "x"}}, ["replaces"]),
    ],
)
async def test_a_registration_of_the_wrong_shape_is_refused(
    anyone: httpx2.AsyncClient, changes: dict[str, Any], words: list[str]
) -> None:
    """The line names the field."""
    refused(await anyone.post("/nodes/register", json=registration(**changes)), 422, *words)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'"x"', b"\xff"])
async def test_a_body_that_is_no_object_is_refused(anyone: httpx2.AsyncClient, body: bytes) -> None:
    """Whatever else it is."""
    refused(await anyone.post("/nodes/register", content=body), 422)


async def test_a_node_gets_a_new_key_with_its_old_ones_signature(
    port_gateway: PortGateway, anyone: httpx2.AsyncClient
) -> None:
    """It stays the same node under its new name; the old key is gone."""
    operator = await port_gateway.enlist("old")
    new = registration("new")

    body = {**new, "replaces": replaces(operator, new["public_key"])}
    answer = await anyone.post("/nodes/register", json=body)

    assert answer.status_code == 201
    assert answer.json()["node_id"] == operator.node_id
    async with port_gateway.http(answer.json()["token"]) as http:
        assert (await http.get("/nodes/me")).json()["name"] == "new"
    again = registration("again")
    refused(
        await anyone.post("/nodes/register", json={**again, "replaces": replaces(operator, again["public_key"])}),
        403,
        "present key",
    )


async def signed(http: httpx2.AsyncClient, key: bytes) -> dict[str, str]:
    """Get a challenge for a key and sign it."""
    public = identity.public_key_of(key)
    challenge = (await http.post("/nodes/challenge", json={"public_key": public})).json()["challenge"]
    return {"public_key": public, "challenge": challenge, "signature": identity.sign(key, challenge.encode())}


async def test_a_proven_key_gets_a_fresh_token(port_gateway: PortGateway, anyone: httpx2.AsyncClient) -> None:
    """By itself, or with what the node registers with now; the challenge of the first answer is good for it too."""
    operator = await port_gateway.enlist("old")
    answer = await anyone.post("/nodes/token", json=await signed(anyone, operator.private_key))
    assert (answer.status_code, answer.json()["node_id"]) == (200, operator.node_id)
    assert identity.read_node_token(answer.json()["token"]).capabilities == ("echo", "render")

    challenge = answer.json()["challenge"]
    proof = {"challenge": challenge, "signature": identity.sign(operator.private_key, challenge.encode())}
    body = registration("new", public_key=identity.public_key_of(operator.private_key), **proof)
    again = await anyone.post("/nodes/register", json=body)
    assert (again.status_code, again.json()["node_id"]) == (200, operator.node_id)
    async with port_gateway.http(again.json()["token"]) as http:
        assert (await http.get("/nodes/me")).json()["name"] == "new"
    refused(await anyone.post("/nodes/register", json=body), 403, "used already")


async def test_a_key_of_nobody_proves_nothing(anyone: httpx2.AsyncClient) -> None:
    """There is no node to give a token to."""
    proof = await signed(anyone, identity.new_private_key())
    refused(await anyone.post("/nodes/token", json=proof), 403, "no node")


async def test_a_key_rotates(port_gateway: PortGateway, anyone: httpx2.AsyncClient) -> None:
    """Name and capabilities stay; the old key and its tokens are out at once."""
    operator, key = await port_gateway.enlist("same"), identity.new_private_key()
    body = {"public_key": identity.public_key_of(key), **replaces(operator, identity.public_key_of(key))}
    answer = await anyone.post("/nodes/rotate-key", json=body)
    assert answer.status_code == 200
    async with port_gateway.http(answer.json()["token"]) as http:
        profile = (await http.get("/nodes/me")).json()
    assert (profile["name"], profile["node_id"]) == ("same", operator.node_id)
    async with port_gateway.http(operator.token) as http:
        refused(await http.get("/nodes/me"), 401, "present key")
    refused(await anyone.post("/nodes/rotate-key", json=body), 403, "present key")
    refused(await anyone.post("/nodes/token", json=await signed(anyone, operator.private_key)), 403, "no node")
    assert (await anyone.post("/nodes/token", json=await signed(anyone, key))).status_code == 200


async def test_the_keys_are_published(port_gateway: PortGateway) -> None:
    """As a JSON Web Key Set, with which anybody can check a node's token."""
    operator = await port_gateway.enlist()
    async with port_gateway.http(prefix="") as http:
        answer = await http.get("/.well-known/jwks.json")
    assert answer.headers["content-type"].startswith("application/jwk-set+json")
    keys = jwt.PyJWKSet.from_dict(answer.json())
    key = keys[identity.token_key_id(operator.token) or ""]
    assert jwt.decode(operator.token, key, algorithms=["EdDSA"])["sub"] == operator.node_id
    assert all("d" not in one for one in answer.json()["keys"])  # the private half


def replaces(operator: Operator, public_key: str) -> dict[str, str]:
    proof = identity.replacement_proof(operator.node_id, public_key)
    return {"node_id": operator.node_id, "signature": identity.sign(operator.private_key, proof)}


async def test_a_replaced_keys_tokens_are_void(port_gateway: PortGateway, anyone: httpx2.AsyncClient) -> None:
    """Over REST and on the link, also after a restart; the open link is closed with 4001."""
    operator = await port_gateway.enlist("old")
    async with port_gateway.as_node(operator) as node:
        await node.ready()
        new = registration("new")
        await anyone.post("/nodes/register", json={**new, "replaces": replaces(operator, new["public_key"])})
        closed = await node.closed()
        assert (closed.code, closed.reason) == (CloseCode.AUTHENTICATION_FAILED, "the node has a new key")
    async with port_gateway.as_node(operator) as node:
        assert (await node.closed()).code == CloseCode.AUTHENTICATION_FAILED
    async with port_gateway.http(operator.token) as http:
        refused(await http.get("/nodes/me"), 401, "present key")
    port_gateway.stop.set()
    await port_gateway.stopped.wait()
    async with on_a_port(port_gateway.data_dir) as restarted, restarted.http(operator.token) as http:
        refused(await http.get("/nodes/me"), 401, "present key")


async def test_a_replacement_without_the_old_key_is_refused(
    port_gateway: PortGateway, anyone: httpx2.AsyncClient
) -> None:
    """Another key's signature, one for another key, garbage, and a node that is not there."""
    operator, thief = await port_gateway.enlist("mine"), await port_gateway.enlist("thief")
    new = registration("new")
    other = identity.public_key_of(identity.new_private_key())
    for proof in (
        {**replaces(thief, new["public_key"]), "node_id": operator.node_id},
        replaces(operator, other),
        {"node_id": operator.node_id, "signature": "zz"},
        {**replaces(operator, new["public_key"]), "node_id": "nobody"},
    ):
        refused(await anyone.post("/nodes/register", json={**new, "replaces": proof}), 403)


async def test_a_rest_heartbeat_makes_a_node_healthy(port_gateway: PortGateway) -> None:
    """For nodes without a link."""
    operator = await port_gateway.enlist()
    async with port_gateway.http(operator.token) as http:
        answer = await http.post("/nodes/heartbeat", json={"current_load": 0.5})
        assert answer.status_code == 200
        assert answer.json() == {"node_id": operator.node_id, "status": "HEALTHY", "acknowledged": True}
        refused(await http.post("/nodes/heartbeat", json={"current_load": 1.5}), 422, "current_load")
        refused(await http.post("/nodes/heartbeat", json={}), 422, "current_load")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/jobs"),
        ("GET", "/jobs"),
        ("GET", "/jobs/x"),
        ("POST", "/jobs/x/cancel"),
        ("GET", "/jobs/x/result"),
        ("GET", "/jobs/x/outputs/y"),
        ("GET", "/account"),
        ("GET", "/nodes/me"),
        ("GET", "/nodes/me/standing"),
        ("GET", "/nodes/me/earnings"),
        ("POST", "/nodes/heartbeat"),
        ("POST", "/attempts/x/uploads"),
        ("PATCH", "/attempts/x/uploads/y"),
        ("DELETE", "/attempts/x/uploads/y"),
        ("GET", "/attempts/x/inputs/y"),
        ("GET", "/attempts/x/payload"),
        ("GET", "/files"),
        ("GET", "/files/x"),
        ("DELETE", "/files/x"),
        ("GET", "/uploads"),
        ("POST", "/uploads"),
        ("PATCH", "/uploads/x"),
    ],
)
async def test_a_call_without_the_right_token_is_refused(
    port_gateway: PortGateway, anyone: httpx2.AsyncClient, method: str, path: str
) -> None:
    """No token, garbage, and a token of the other kind; before anything of the body is looked at."""
    operator, submitter = await port_gateway.enlist(), await port_gateway.account()
    wrong = submitter if path.startswith(("/nodes", "/attempts")) else operator.token
    for header in (
        {},
        *({"Authorization": f"Bearer {token}"} for token in ("x", "é", wrong)),
        {"Authorization": "Basic x"},
    ):
        header = {name: value.encode() for name, value in header.items()}  # noqa: PLW2901
        refused(await anyone.request(method, path, headers=header, content=b"{"), 401, "token")


async def test_what_is_not_there_is_404(anyone: httpx2.AsyncClient) -> None:
    """And a wrong method 405; both with a line."""
    refused(await anyone.get("/nowhere"), 404)
    refused(await anyone.delete("/account"), 405)


@pytest.mark.parametrize("path", ["/health", "/api/v1/health"])
async def test_the_gateway_is_healthy(port_gateway: PortGateway, path: str) -> None:
    """At both addresses."""
    async with port_gateway.http(prefix="") as http:
        answer = await http.get(path)
        assert (answer.status_code, answer.json()) == (200, {"status": "healthy"})
        ready = await http.get(f"{path}/ready")
        assert (ready.status_code, ready.json()) == (
            200,
            {"status": "ready", "checks": {"database": "ok", "blobs": "ok"}},
        )
