"""The leaderboard: who stands where, and the page that shows it."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

import httpx2
import pytest
import trio
from scripted import MemoryGateway, PortGateway, submit
from trio.testing import MockClock

from edgeagent.gateway import leaderboard
from edgeagent.gateway.store import nodes
from edgeagent.gateway.store.nodes import Standing


def standing(name: str, jobs: int = 0, healthy_s: float = 0.0, earned_ucr: int = 0) -> Standing:
    return Standing(name, name, jobs, earned_ucr, healthy_s, 100.0)


def names(*standings: Standing) -> list[str]:
    return [ranked.name for ranked in leaderboard.rank(standings)]


def test_nodes_are_ranked_by_jobs_then_uptime_then_earnings() -> None:
    """And by name where all three are equal."""
    assert names(standing("a", 1), standing("b", 2)) == ["b", "a"]
    assert names(standing("a", 1, 50), standing("b", 1, 60)) == ["b", "a"]
    assert names(standing("a", 1, 50, 5), standing("b", 1, 50, 6)) == ["b", "a"]
    assert names(standing("b"), standing("a")) == ["a", "b"]


def test_the_first_three_have_badges() -> None:
    """Gold, Silver, Bronze, by place; who completed nothing has none."""
    ranked = leaderboard.rank([standing("a", 4), standing("b", 3), standing("c", 2), standing("d", 1)])

    assert [one.badge for one in ranked] == ["Gold", "Silver", "Bronze", ""]
    assert [one.badge for one in leaderboard.rank([standing("a")])] == [""]


@pytest.mark.parametrize(
    ("healthy_s", "known_s", "percent"), [(50, 100, 50.0), (0, 0, 0.0), (100.0001, 100, 100.0), (-1, 100, 0.0)]
)
def test_uptime_is_a_percentage(healthy_s: float, known_s: float, percent: float) -> None:
    """Also of a node that was just registered, and after a clock was set back."""
    one = Standing("a", "a", 0, 0, healthy_s, known_s)

    assert leaderboard.rank([one])[0].uptime_percent == percent
    assert leaderboard.network_uptime([one]) == percent


async def test_uptime_comes_from_the_stored_states(autojump_clock: MockClock, memory_gateway: MemoryGateway) -> None:
    """100 s REGISTERED, 90 s HEALTHY, then 110 s UNHEALTHY: 30 %."""
    operator = await memory_gateway.enlist()
    await trio.sleep(100)
    await memory_gateway.hub.heard(operator.node_id)
    await trio.sleep(200)

    (found,) = await memory_gateway.hub.store.read(nodes.standings)

    assert found.healthy_s == pytest.approx(90, abs=1.1)
    assert found.known_s == pytest.approx(300, abs=0.1)


async def completed(gateway: PortGateway, http: httpx2.AsyncClient, name: str, jobs: int) -> None:
    operator = await gateway.enlist(name)
    async with gateway.as_node(operator) as node:
        await node.ready()
        for _ in range(jobs):
            await submit(http)
            await node.finish(await node.accept())


EVIL = "<script>alert(1)</script>\"'&"


async def test_the_json_is_what_rendertrusts_portal_reads(
    port_gateway: PortGateway, submitter: httpx2.AsyncClient, anyone: httpx2.AsyncClient
) -> None:
    """camelCase, numbers, credits."""
    assert (await anyone.get("/community/leaderboard")).json()["leaderboard"] == []
    await completed(port_gateway, submitter, "one", 1)
    await completed(port_gateway, submitter, "two", 2)
    await trio.sleep(2)  # the look at the empty network was good for so long

    board: dict[str, Any] = (await anyone.get("/community/leaderboard")).json()

    assert board["updatedAt"].endswith("Z")
    rows = board["leaderboard"]
    assert [(row["rank"], row["nodeName"], row["jobsCompleted"], row["totalEarnings"]) for row in rows] == [
        (1, "two", 2, 20),
        (2, "one", 1, 10),
    ]
    assert all(
        set(row) == {"rank", "nodeId", "nodeName", "jobsCompleted", "uptimePercent", "totalEarnings"} for row in rows
    )
    assert all(0 < row["uptimePercent"] <= 100 for row in rows)
    assert {**board["stats"], "networkUptime": 0} == {
        "totalNodes": 2,
        "totalJobs": 3,
        "networkUptime": 0,
        "totalPayouts": 30,
    }


class Page(HTMLParser):
    """What a browser would make of the page: its elements, and the text that is shown."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


async def test_the_page_shows_nodes_and_escapes_their_names(
    port_gateway: PortGateway, submitter: httpx2.AsyncClient
) -> None:
    """A name is text, whatever it holds, and the page loads nothing from elsewhere."""
    await completed(port_gateway, submitter, EVIL, 1)
    async with port_gateway.http(prefix="") as http:
        answer = await http.get("/")
        page = Page(answer.text)
        style = await http.get("/static/leaderboard.css")

    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert EVIL in page.text
    assert "Gold" in page.text
    assert "script" not in [tag for tag, _ in page.elements]
    urls = [value for _, attrs in page.elements for name, value in attrs.items() if name in {"src", "href"}]
    assert urls == ["/static/leaderboard.css"]
    assert not any(name.startswith("on") or name == "style" for _, attrs in page.elements for name in attrs)
    assert ("meta", {"http-equiv": "refresh", "content": "60"}) in page.elements
    assert style.headers["content-type"] == "text/css; charset=utf-8"
    assert "prefers-color-scheme: dark" in style.text


async def test_an_empty_network_has_a_page_too(port_gateway: PortGateway) -> None:
    """It says how to be the first."""
    async with port_gateway.http(prefix="") as http:
        assert "edgeagent register" in (await http.get("/")).text
