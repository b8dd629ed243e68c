"""The leaderboard in a real browser: for everybody, on every screen, and kept up to date without a jump."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio
from playwright.sync_api import Page
from scripted import PATIENCE_S, PortGateway, on_a_port

import browsing
from edgeagent.gateway.config import GatewaySettings
from edgeagent.gateway.data import transaction
from edgeagent.gateway.store import nodes, standings
from edgeagent.wire import identity

pytestmark = pytest.mark.needs("chromium")

#: Seconds for one test: the browser shares slow machines.
LIMIT_S = 600.0
HOSTILE = [
    "<img src=x onerror=\"document.title='owned'\">",
    "'\"><script>document.title='owned'</script>",
    "evil\u202egnp.exe",
    "\u2067\u2067\u2067right to left",
    "שלום (3 ,Gold)",
    "z" + "\u0335\u0321\u0353\u0312" * 20,
    "\ufdfd" * 100,
    "W" * 100,
    "\u3164\u3164",
    "p\u0430ypal",
    "1 Gold \U0001f947 99999 100.00 %",
]


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[PortGateway]:
    """A gateway with time for a browser."""
    async with on_a_port(tmp_path, limit_s=LIMIT_S) as gateway:
        yield gateway


def add(gateway: PortGateway, *names: str) -> list[str]:
    """Store nodes that completed 1, 2, 3 ... jobs, the last one most, whatever their names; return their ids."""
    with transaction(GatewaySettings(data_dir=gateway.data_dir)) as tx:
        ids = []
        for jobs, name in enumerate(names, 1):
            key = identity.public_key_of(identity.new_private_key())
            ids.append(nodes.register(tx, nodes.Applicant(name, key, ("echo", "render"), {})))
            standings.credit(tx, {ids[-1]: [10_000_000 * (len(names) - jobs)] * jobs})
        return ids


async def visit(browser: browsing.Browser, *args: object, **options: object) -> object:
    return await trio.to_thread.run_sync(lambda: browser.visit(*args, **options))  # type: ignore[arg-type]


def rows(page: Page) -> list[str]:
    return page.locator("tbody th .name").all_inner_texts()


async def test_people_sort_search_and_look_at_a_node(gateway: PortGateway, browser: browsing.Browser) -> None:
    """What they chose stands in the address, so it can be sent to somebody."""
    _, two, _ = add(gateway, "one", "two", "three")

    def look(page: Page) -> None:
        assert rows(page) == ["three", "two", "one"]
        assert page.locator(".badge").all_inner_texts() == ["Gold", "Silver", "Bronze"]
        page.get_by_role("link", name="Credits").click()
        page.wait_for_url("**/?sort=earnings")
        assert rows(page) == ["one", "two", "three"] or rows(page) == ["two", "one", "three"]
        assert page.get_by_role("columnheader", name="Credits").get_attribute("aria-sort") == "descending"
        page.get_by_role("link", name="Node").click()
        page.wait_for_url("**/?sort=name")
        assert rows(page) == ["one", "three", "two"]
        page.get_by_label("Search nodes").fill("TWO")
        page.get_by_role("button", name="Search").click()
        page.wait_for_url("**/?q=TWO&sort=name")
        assert rows(page) == ["two"]
        assert page.locator("td.rank").inner_text() == "2"
        page.get_by_role("link", name="two").click()
        page.wait_for_url(f"**/nodes/{two}")
        assert page.locator("h1").inner_text() == "two"
        assert "Silver" in page.locator(".stats").inner_text()
        assert page.locator("svg[role=img]").count() == 3
        assert page.locator(".kinds li").all_inner_texts() == ["echo", "render"]
        page.get_by_text("The same as a table").click()
        assert page.locator("details tbody tr").count() == 30
        assert page.locator("details tbody tr").first.locator("td").first.inner_text() == "2"

    await visit(browser, f"{gateway.url}/", look)


async def test_it_refreshes_without_a_jump(gateway: PortGateway, browser: browsing.Browser) -> None:
    """After 60 s: no new document, and scroll position, focus and what is being typed stay."""
    ids = add(gateway, *(f"node {number:03}" for number in range(60)))

    def look(page: Page) -> None:
        page.clock.install()
        page.reload()
        before = page.locator("#updated").inner_text()
        page.evaluate("window.sameDocument = true")
        page.get_by_label("Search nodes").fill("half a wor")
        page.locator(f"#node-{ids[10]}").focus()
        scrolled = page.evaluate("window.scrollY")
        assert scrolled > 0
        with transaction(GatewaySettings(data_dir=gateway.data_dir)) as tx:
            standings.credit(tx, {ids[0]: [0] * 1000})
        page.clock.run_for(50_000)
        assert page.locator("#updated").inner_text() == before
        until = time.monotonic() + PATIENCE_S
        while rows(page)[0] != "node 000":  # the picture that was there is good for a moment
            assert time.monotonic() < until
            page.clock.run_for(61_000)
            time.sleep(0.05)  # the gateway's thread makes the next one; nothing tells the browser
        assert page.locator("#updated").inner_text() != before
        assert page.evaluate("window.sameDocument") is True
        assert page.evaluate("document.activeElement.id") == f"node-{ids[10]}"
        assert page.evaluate("window.scrollY") == scrolled
        assert page.get_by_label("Search nodes").input_value() == "half a wor"
        assert page.locator("#trouble").inner_text() == ""

    await visit(browser, f"{gateway.url}/", look)


async def test_a_failed_refresh_is_said_and_the_next_one_mends_it(
    gateway: PortGateway, browser: browsing.Browser
) -> None:
    """What was there stays there; and whoever wants no refresh has none."""
    add(gateway, "one")

    def look(page: Page) -> None:
        page.clock.install()
        page.reload()
        page.route("**/*", lambda route: route.abort())
        page.clock.run_for(61_000)
        page.get_by_text("The last try to refresh failed").wait_for()
        assert rows(page) == ["one"]
        page.unroute("**/*")
        page.clock.run_for(61_000)
        page.locator("#trouble:empty").wait_for(state="attached")
        page.get_by_role("link", name="Stop refreshing").click()
        page.wait_for_url("**/?refresh=off")
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.clock.run_for(200_000)
        assert [url for url in asked if "/static/" not in url] == []  # a late icon is no refresh

    await visit(browser, f"{gateway.url}/", look, expected=("ERR_FAILED",))


async def test_no_name_breaks_or_spoofs_the_page(gateway: PortGateway, browser: browsing.Browser) -> None:
    """One row for each node, each name inside its cell and on its line, badges only in their column."""
    add(gateway, *HOSTILE)

    def look(page: Page) -> None:
        assert page.title() == "edgeagent: leaderboard"
        assert page.locator("tbody tr").count() == len(HOSTILE)
        assert page.locator(".badge").count() == 3
        assert not browsing.overflows(page)
        for row in page.locator("tbody tr").all():
            name = row.locator(".name")
            text = name.inner_text()
            assert text.strip()
            assert text.isprintable()
            inner, outer = name.bounding_box(), row.locator("th").bounding_box()
            assert inner is not None
            assert outer is not None
            assert inner["x"] >= outer["x"]
            assert inner["x"] + inner["width"] <= outer["x"] + outer["width"] + 1
            assert inner["height"] <= 4 * 24
        assert page.locator("tr", has_text="pаypal").locator(".note").inner_text() == "mixed alphabets"

    for size in (browsing.PHONE, browsing.DESKTOP):
        await visit(browser, f"{gateway.url}/", look, size=size)


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("size", [browsing.PHONE, browsing.DESKTOP])
async def test_axe_finds_nothing(
    gateway: PortGateway, browser: browsing.Browser, dark: bool, size: tuple[int, int]
) -> None:
    """On every page, light and dark, phone and desktop; and nobody has to scroll sideways."""
    ids = add(gateway, *(f"node {number}" for number in range(3)), *HOSTILE)

    def look(page: Page) -> None:
        nowhere = ("/nodes/nobody", "/nothing", "/?q=nobody")
        for path in (f"/nodes/{ids[-1]}", *nowhere, "/?sort=uptime30&refresh=off", "/"):
            page.goto(gateway.url + path)
            assert browsing.faults(page) == [], path
            assert not browsing.overflows(page), path

    await visit(browser, f"{gateway.url}/", look, size=size, dark=dark, expected=("404",))
