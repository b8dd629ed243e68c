"""The owner's page in a real browser: log in, look, log out; on every screen and for everybody."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import trio
from playwright.sync_api import Page
from scripted import on_a_port

import browsing
from edgeagent.gateway.accounts import create_token
from edgeagent.gateway.scopes import Scope

pytestmark = pytest.mark.needs("chromium")


@pytest.mark.parametrize(("size", "dark"), [(browsing.PHONE, True), (browsing.DESKTOP, False)])
async def test_the_owner_logs_in_and_out(
    tmp_path: Path, browser: browsing.Browser, size: tuple[int, int], dark: bool
) -> None:
    """axe-core finds nothing on either page, no script reads the cookie, and nobody has to scroll sideways."""

    def look(page: Page) -> None:
        assert browsing.faults(page) == []
        page.get_by_label("Token of scope admin").fill(token)
        page.get_by_role("button", name="Log in").click()
        page.get_by_role("heading", name="Dead letters").wait_for()
        assert browsing.faults(page) == []
        assert not browsing.overflows(page)
        assert page.evaluate("document.cookie") == ""
        page.get_by_role("button", name="Log out").click()
        page.get_by_label("Token of scope admin").wait_for()

    async with on_a_port(tmp_path, limit_s=600.0) as gateway:
        await gateway.enlist()
        make = partial(create_token, scopes=frozenset({Scope.ADMIN}))
        token = await trio.to_thread.run_sync(make, gateway.data_dir, "the owner", 0)
        visit = partial(browser.visit, f"{gateway.url}/owner", look, size=size, dark=dark)
        await trio.to_thread.run_sync(visit)
