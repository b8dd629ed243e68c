"""The owner's page: only for an admin token, only by its own forms, and right about the network."""

from __future__ import annotations

import re
from functools import partial
from typing import Any

import httpx2
import pytest
import sqlalchemy as sa
import trio
from click.testing import CliRunner
from scripted import PortGateway, submit

from edgeagent.cli import main
from edgeagent.gateway.accounts import create_token
from edgeagent.gateway.config import GatewaySettings
from edgeagent.gateway.data import transaction
from edgeagent.gateway.scopes import Scope
from edgeagent.wire.messages import Outcome


async def admin(gateway: PortGateway, scope: Scope = Scope.ADMIN) -> str:
    make = partial(create_token, scopes=frozenset({scope}))
    return await trio.to_thread.run_sync(make, gateway.data_dir, "the owner", 0)


async def logged_in(gateway: PortGateway, http: httpx2.AsyncClient) -> str:
    """Log in; return the word that forms carry."""
    answer = await http.post("/owner/login", data={"token": await admin(gateway)})
    assert (answer.status_code, answer.headers["location"]) == (303, "/owner")
    return word((await http.get("/owner")).text)


def word(page: str) -> str:
    found = re.search(r'name="word" value="([0-9a-f]{64})"', page)
    assert found is not None, page
    return found[1]


async def test_an_admin_token_opens_it_and_the_cookie_is_kept_from_others(port_gateway: PortGateway) -> None:
    """Not for scripts, not for other sites, not in a cache; and it ends with logging out."""
    async with port_gateway.http(prefix="") as http:
        assert "Log in" in (await http.get("/owner")).text
        answer = await http.post("/owner/login", data={"token": await admin(port_gateway)})
        cookie = answer.headers["set-cookie"].lower()
        page = await http.get("/owner")
        assert "log out" in page.text.lower()
        out = await http.post("/owner/logout", data={"word": word(page.text)})
        assert "Log in" in (await http.get("/owner")).text

    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert "path=/owner" in cookie
    assert page.headers["cache-control"] == "no-store"
    assert "script-src" not in page.headers["content-security-policy"]
    assert "unsafe" not in page.headers["content-security-policy"]
    assert out.status_code == 303


async def test_the_page_says_how_to_come_by_a_token(port_gateway: PortGateway) -> None:
    """What the command that stands there prints opens the page."""
    async with port_gateway.http(prefix="") as http:
        found = re.search(r"<code>edgeagent (gateway token create [^<]*)</code>", (await http.get("/owner")).text)
        assert found is not None
        command = [*found[1].split(), "--data", str(port_gateway.data_dir)]
        made = await trio.to_thread.run_sync(partial(CliRunner().invoke, main, command))
        answer = await http.post("/owner/login", data={"token": made.stdout.strip()})

    assert (made.exit_code, answer.status_code) == (0, 303), made.output


@pytest.mark.parametrize("token", ["", "ea_nonsense", Scope.READ, Scope.SUBMIT])
async def test_nothing_else_opens_it(port_gateway: PortGateway, token: str) -> None:
    """Not even an account's good token of another scope, and no cookie is set."""
    async with port_gateway.http(prefix="") as http:
        given = await admin(port_gateway, token) if isinstance(token, Scope) else token
        answer = await http.post("/owner/login", data={"token": given})

    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers
    assert "no good token" in answer.text


async def test_a_session_ends_with_its_token(port_gateway: PortGateway) -> None:
    """Revoked on the gateway's machine, out at once."""
    async with port_gateway.http(prefix="") as http:
        await logged_in(port_gateway, http)
        with transaction(GatewaySettings(data_dir=port_gateway.data_dir)) as tx:
            tx.connection.execute(sa.text("UPDATE account_tokens SET revoked_at = 1"))
        assert "Log in" in (await http.get("/owner")).text


async def dead_letter(gateway: PortGateway, http: httpx2.AsyncClient) -> str:
    operator = await gateway.enlist("unlucky")
    job = await submit(http, max_attempts=1)
    async with gateway.as_node(operator) as node:
        await node.ready()
        await node.finish(await node.accept(), Outcome.REJECTED, detail="<b>no</b> GPU\u202e here")
    job_id: str = job["job_id"]
    return job_id


async def test_a_dead_letter_is_queued_again_by_a_form_of_this_session_alone(
    port_gateway: PortGateway, submitter: httpx2.AsyncClient
) -> None:
    """Without its word, with another session's, or sent for another site, nothing happens."""
    job_id = await dead_letter(port_gateway, submitter)
    async with port_gateway.http(prefix="") as http, port_gateway.http(prefix="") as other:
        own, foreign = await logged_in(port_gateway, http), await logged_in(port_gateway, other)
        page = (await http.get("/owner")).text
        form = {"job_id": job_id, "word": own}
        refusals = [
            await http.post("/owner/requeue", data={"job_id": job_id}),
            await http.post("/owner/requeue", data={**form, "word": foreign}),
            await http.post("/owner/requeue", data=form, headers={"Sec-Fetch-Site": "cross-site"}),
        ]
        http.cookies.clear()
        refusals.append(await http.post("/owner/requeue", data=form))
        before = (await submitter.get(f"/jobs/{job_id}")).json()
        done = await other.post("/owner/requeue", data={"job_id": job_id, "word": foreign})
        again = await other.post("/owner/requeue", data={"job_id": job_id, "word": foreign})
        missing = await other.post("/owner/requeue", data={"job_id": "nothing", "word": foreign})
        after = (await submitter.get(f"/jobs/{job_id}")).json()

    assert job_id in page
    assert "&lt;b&gt;no&lt;/b&gt; GPU here" in page
    assert [one.status_code for one in refusals] == [403, 403, 403, 401]
    assert before["requeued_as"] is None
    assert done.status_code == 200
    assert after["requeued_as"] in done.text
    assert "queued again before" in again.text
    assert missing.status_code == 404


async def test_it_shows_the_network_as_it_is(port_gateway: PortGateway, submitter: httpx2.AsyncClient) -> None:
    """Nodes by state, the queue by type, throughput, failures, the books; and a broken chain is said."""
    await dead_letter(port_gateway, submitter)
    await submit(submitter)
    async with port_gateway.http(prefix="") as http:
        await logged_in(port_gateway, http)
        text = re.sub(r"<[^>]*>|\s+", " ", (await http.get("/owner")).text)
        seen = " ".join(text.split())
        with transaction(GatewaySettings(data_dir=port_gateway.data_dir)) as tx:
            tx.connection.execute(sa.text("UPDATE ledger_entries SET memo = 'a gift' WHERE seq = 2"))
            tx.connection.execute(sa.text("UPDATE ledger_accounts SET balance_ucr = balance_ucr + 1"))
        broken: Any = (await http.get("/owner")).text

    assert "Healthy 1" in seen
    assert "Queued 1 render 1" in seen
    assert "Rejected 1" in seen
    assert "Credits in circulation 1,000 " in seen
    assert "The balances sum to zero" in seen
    assert "entry 2: its hash does not follow" in broken
    assert "all balances together are 3 micro-credits, not 0" in broken
