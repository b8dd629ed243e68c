"""The gateway's pages in a real browser that runs no scripts: everything that one can do there still works."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import trio
from playwright.sync_api import Page
from scripted import PortGateway, on_a_port
from test_gateway_owner_page import admin, dead_letter
from test_leaderboard_page import LIMIT_S, add, rows

import browsing
from edgeagent.gateway.leaderboard import PAGE_ROWS

pytestmark = pytest.mark.needs("chromium")


async def visit(browser: browsing.Browser, url: str, look: Callable[[Page], None]) -> None:
    """Look at a page without scripts."""
    await trio.to_thread.run_sync(partial(browser.visit, url, look, scripts=False))


async def test_the_leaderboard_sorts_searches_and_has_pages(tmp_path: Path, browser: browsing.Browser) -> None:
    """It reloads itself until somebody says otherwise; what was chosen goes along from page to page."""
    count = PAGE_ROWS + 5

    def look(page: Page) -> None:
        assert page.locator("meta[http-equiv=refresh]").get_attribute("content") == "60"
        page.get_by_role("link", name="Stop refreshing").click()
        page.wait_for_url("**/?refresh=off")
        assert page.locator("meta[http-equiv=refresh]").count() == 0
        page.get_by_role("link", name="Node", exact=True).click()
        page.wait_for_url("**/?sort=name&refresh=off")
        assert rows(page) == [f"node {number:03}" for number in range(PAGE_ROWS)]
        page.get_by_role("link", name="Next").click()
        page.wait_for_url("**/?sort=name&page=2&refresh=off")
        assert rows(page) == [f"node {number:03}" for number in range(PAGE_ROWS, count)]
        assert "Page 2 of 2" in page.get_by_role("navigation", name="Pages").inner_text()
        page.get_by_role("link", name="Previous").click()
        page.wait_for_url("**/?sort=name&refresh=off")
        page.get_by_label("Search nodes").fill("E 10")
        page.get_by_role("button", name="Search").click()
        page.wait_for_url("**/?q=E+10&sort=name&refresh=off")
        assert rows(page) == [f"node {number}" for number in range(PAGE_ROWS, count)]
        page.get_by_role("link", name=f"node {count - 1}").click()
        page.wait_for_url(f"**/nodes/{ids[-1]}")
        assert page.locator("h1").inner_text() == f"node {count - 1}"
        assert page.locator("svg[role=img]").count() == 3
        page.get_by_text("The same as a table").click()
        assert page.locator("details tbody tr").first.is_visible()
        page.get_by_role("link", name="Leaderboard").click()
        page.wait_for_url("**/")

    async with on_a_port(tmp_path, limit_s=LIMIT_S) as gateway:
        ids = add(gateway, *(f"node {number:03}" for number in range(count)))
        await visit(browser, f"{gateway.url}/", look)


async def test_the_owner_logs_in_and_queues_a_dead_letter_again(tmp_path: Path, browser: browsing.Browser) -> None:
    """And is told which job it is now; afterwards the session can be ended."""

    async def letter(gateway: PortGateway) -> str:
        async with gateway.http(await gateway.account()) as http:
            return await dead_letter(gateway, http)

    def look(page: Page) -> None:
        page.get_by_label("Token of scope admin").fill(token)
        page.get_by_role("button", name="Log in").click()
        page.get_by_role("button", name=f"Queue job {job_id} again").click()
        page.get_by_role("status").get_by_text(f"Job {job_id} is queued again, as").wait_for()
        assert page.get_by_role("button", name=f"Queue job {job_id} again").count() == 0
        page.get_by_role("button", name="Log out").click()
        page.get_by_label("Token of scope admin").wait_for()

    async with on_a_port(tmp_path, limit_s=LIMIT_S) as gateway:
        job_id, token = await letter(gateway), await admin(gateway)
        await visit(browser, f"{gateway.url}/owner", look)
