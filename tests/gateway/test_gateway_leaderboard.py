"""The leaderboard: who stands where, and the page that shows it."""

from __future__ import annotations

import itertools
from html.parser import HTMLParser
from typing import Any

import httpx2
import pytest
import trio
from scripted import PATIENCE_S, MemoryGateway, PortGateway, submit
from trio.testing import MockClock

from edgeagent.gateway import leaderboard
from edgeagent.gateway.leaderboard import Board, Column, Query, Standing
from edgeagent.gateway.store import standings

_counted = itertools.count()


def standing(
    name: str,
    jobs: int = 0,
    healthy_s: float = 0.0,
    earned_ucr: int = 0,
    *,
    known_s: float = 100.0,
    listed: bool = True,
) -> Standing:
    """What is stored of a node, registered after all that were made before."""
    return Standing(
        seq=next(_counted),
        node_id=f"{name}-id",
        name=name,
        listed=listed,
        jobs_completed=jobs,
        earned_ucr=earned_ucr,
        healthy_s=healthy_s,
        known_s=known_s,
        recent_healthy_s=healthy_s / 2,
        recent_known_s=known_s,
        registered_at=0.0,
    )


def names(*each: Standing) -> list[str]:
    return [ranked.name for ranked in leaderboard.rank(each)]


def test_nodes_are_ranked_by_jobs_then_uptime_then_earnings() -> None:
    """And as they registered where all three are equal."""
    assert names(standing("a", 1), standing("b", 2)) == ["b", "a"]
    assert names(standing("a", 1, 50), standing("b", 1, 60)) == ["b", "a"]
    assert names(standing("a", 1, 50, 5), standing("b", 1, 50, 6)) == ["b", "a"]
    earlier, later = standing("b"), standing("a")
    assert names(later, earlier) == ["b", "a"]


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
    one = standing("a", healthy_s=healthy_s, known_s=known_s)

    assert leaderboard.rank([one])[0].uptime_percent == percent
    assert leaderboard.network_uptime([one]) == percent


def board(*each: Standing) -> Board:
    return Board(each, 1e9)


@pytest.mark.parametrize(
    ("column", "ascending", "order"),
    [
        (Column.JOBS, False, "cba"),
        (Column.JOBS, True, "bac"),
        (Column.UPTIME, False, "bca"),
        (Column.RECENT, True, "cab"),
        (Column.EARNINGS, False, "acb"),
        (Column.NAME, True, "abc"),
    ],
)
def test_every_column_sorts_and_equals_stand_as_they_rank(column: Column, ascending: bool, order: str) -> None:
    """The rank is the place by jobs, whatever the table is sorted by."""
    seen = board(standing("a", 1, 50, 9), standing("b", 1, 60, 2), standing("c", 2, 50, 2))

    found = seen.find(Query(column=column, ascending=ascending))

    assert "".join(one.name for one in found) == order
    assert {one.name: one.rank for one in found} == {"c": 1, "b": 2, "a": 3}


def test_a_search_finds_part_of_a_name_or_an_id() -> None:
    """In any case, and however the letters are written; ranks stay."""
    seen = board(standing("Alice's PC", 3), standing("bob", 2), standing("alicia", 1))

    assert [(one.rank, one.name) for one in seen.find(Query(search="ALIC"))] == [(1, "Alice's PC"), (3, "alicia")]
    assert [one.name for one in seen.find(Query(search="ＢＯＢ"))] == ["bob"]
    assert [one.name for one in seen.find(Query(search="bob-i"))] == ["bob"]
    assert seen.find(Query(search="nobody")) == []


def test_who_is_not_listed_has_no_place_but_counts() -> None:
    """The totals are the network's."""
    seen = board(standing("a", 3, 100, 30), standing("b", 5, 0, 50, listed=False))

    assert [(one.rank, one.name) for one in seen.ranked] == [(1, "a")]
    assert seen.node("b-id") is None
    assert (seen.totals.nodes, seen.totals.jobs, seen.totals.earned_ucr, seen.totals.uptime_percent) == (2, 8, 80, 50)


async def test_uptime_comes_from_the_stored_states(autojump_clock: MockClock, memory_gateway: MemoryGateway) -> None:
    """100 s REGISTERED, 90 s HEALTHY, then 110 s UNHEALTHY: 30 %; 30 days later the window is UNHEALTHY or OFFLINE."""
    operator = await memory_gateway.enlist()
    await trio.sleep(100)
    await memory_gateway.hub.heard(operator.node_id)
    await trio.sleep(200)

    (found,) = await memory_gateway.hub.store.read(standings.standings)
    memory_gateway.wall.ahead_s += (
        leaderboard.RECENT_DAYS * 86400 - 150
    )  # the window begins 150 s after the registration
    (later,) = await memory_gateway.hub.store.read(standings.standings)

    assert found.healthy_s == pytest.approx(90, abs=1.1)
    assert found.known_s == pytest.approx(300, abs=0.1)
    assert (found.recent_healthy_s, found.recent_known_s) == (found.healthy_s, found.known_s)
    assert later.healthy_s == found.healthy_s
    assert later.recent_healthy_s == pytest.approx(found.healthy_s - 50, abs=1.1)
    assert later.recent_known_s == pytest.approx(leaderboard.RECENT_DAYS * 86400)


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
    seen: dict[str, Any] = {}
    with trio.fail_after(PATIENCE_S):  # the look at the empty network is good for a moment
        while seen.get("stats", {}).get("totalJobs") != 3:
            await trio.sleep(0.05)
            answer = await anyone.get("/community/leaderboard")
            seen = answer.json()

    assert answer.headers["cache-control"].startswith("public, max-age=")
    assert seen["updatedAt"].endswith("Z")
    rows = seen["leaderboard"]
    assert [(row["rank"], row["nodeName"], row["jobsCompleted"], row["totalEarnings"]) for row in rows] == [
        (1, "two", 2, 20),
        (2, "one", 1, 10),
    ]
    assert all(
        set(row) == {"rank", "nodeId", "nodeName", "jobsCompleted", "uptimePercent", "totalEarnings"} for row in rows
    )
    assert all(0 < row["uptimePercent"] <= 100 for row in rows)
    assert {**seen["stats"], "networkUptime": 0} == {
        "totalNodes": 2,
        "totalJobs": 3,
        "networkUptime": 0,
        "totalPayouts": 30,
    }
    part = (await anyone.get("/community/leaderboard?sort=name&q=O&limit=1&offset=1")).json()
    assert [(row["rank"], row["nodeName"]) for row in part["leaderboard"]] == [(1, "two")]
    assert (await anyone.get("/community/leaderboard?sort=luck")).status_code == 422


class Page(HTMLParser):
    """What a browser would make of the page: its elements, and the text that is shown."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def links(self, start: str) -> list[str]:
        """Every address that begins so and that something here leads to."""
        return [href for _, attrs in self.elements if (href := attrs.get("href")) and href.startswith(start)]

    def handle_data(self, data: str) -> None:
        self.text += data


async def test_the_page_shows_nodes_and_escapes_their_names(
    port_gateway: PortGateway, submitter: httpx2.AsyncClient
) -> None:
    """A name is text, whatever it holds, and the pages load nothing from elsewhere."""
    await completed(port_gateway, submitter, EVIL, 1)
    async with port_gateway.http(prefix="") as http:
        answer = await http.get("/", params={"q": EVIL})
        listed = Page(answer.text)
        (address,) = listed.links("/nodes/")
        alone = await http.get(address)
        node = Page(alone.text)
        missing = await http.get("/nodes/nobody")

    for one, page in ((answer, listed), (alone, node)):
        assert one.headers["content-type"] == "text/html; charset=utf-8"
        policy = one.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert EVIL in page.text
        assert "Gold" in page.text
        assert not any(name.startswith("on") or name == "style" for _, attrs in page.elements for name in attrs)
        loaded = [attrs["src"] for tag, attrs in page.elements if tag in {"script", "img"}]
        assert set(loaded) <= {"/static/leaderboard.js"}
        assert set(page.links("")) >= {"/static/leaderboard.css", "/static/icon.svg"}
        assert all(link.startswith(("/", "#")) and not link.startswith("//") for link in page.links(""))
    assert "render" in node.text
    assert ("meta", {"http-equiv": "refresh", "content": "60"}) in listed.elements
    assert missing.status_code == 404
    assert "No such node" in missing.text


async def test_pages_get_their_files_from_the_gateway(port_gateway: PortGateway) -> None:
    """Each with its type, and none that a browser could take for something else."""
    async with port_gateway.http(prefix="") as http:
        style, script, icon = [
            await http.get(f"/static/{name}") for name in ("leaderboard.css", "leaderboard.js", "icon.svg")
        ]
        nothing = await http.get("/static/leaderboard.html")

    assert style.headers["content-type"] == "text/css; charset=utf-8"
    assert "prefers-color-scheme: dark" in style.text
    assert script.headers["content-type"] == "text/javascript; charset=utf-8"
    assert icon.headers["content-type"].startswith("image/svg+xml")
    assert all(one.headers["x-content-type-options"] == "nosniff" for one in (style, script, icon))
    assert nothing.status_code == 404


async def test_what_somebody_chose_stands_in_the_links(port_gateway: PortGateway) -> None:
    """Sorting keeps what is searched for, and whoever stopped the refresh goes on without it."""
    await port_gateway.enlist("alice")
    async with port_gateway.http(prefix="") as http:
        page = Page((await http.get("/?sort=uptime&q=ali&refresh=off")).text)

    assert "/?sort=uptime&dir=asc&q=ali&refresh=off" in page.links("")
    assert "/?sort=earnings&q=ali&refresh=off" in page.links("")
    assert "script" not in [tag for tag, _ in page.elements]
    assert not any(attrs.get("http-equiv") for _, attrs in page.elements)


async def test_an_empty_network_has_a_page_too(port_gateway: PortGateway) -> None:
    """It says how to be the first."""
    async with port_gateway.http(prefix="") as http:
        assert "edgeagent register" in (await http.get("/")).text
