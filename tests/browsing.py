"""A real Chromium for tests of pages: headless, without a network of its own but loopback, watched while it looks.

Whatever a page does wrong by itself fails the visit: an error on the console, a script that throws, a request that
leads to another server.  ``faults`` has axe-core look for what keeps people with disabilities away.

Playwright's synchronous side lives in one thread of its own, since its event loop must not meet trio's.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from playwright.sync_api import Page

T = TypeVar("T")

PHONE, DESKTOP = (360, 740), (1280, 900)
#: Milliseconds that a page may take for anything: the machine may be busy.
PATIENCE_MS = 60_000


class Browser:
    """One running Chromium; every visit is a fresh profile."""

    def __init__(self, thread: ThreadPoolExecutor, chromium: Any) -> None:
        self._thread, self._chromium = thread, chromium

    def visit(
        self,
        url: str,
        look: Callable[[Page], T],
        *,
        size: tuple[int, int] = DESKTOP,
        dark: bool = False,
        expected: tuple[str, ...] = (),
        scripts: bool = True,
    ) -> T:
        """Open ``url`` and return what ``look`` makes of the page; blocks.

        Args:
            url: on loopback.
            look: called in the browser's thread, and must not keep the page.
            size: of the window, in CSS pixels.
            dark: whether the person prefers dark pages.
            expected: parts of what the console may say.
            scripts: whether the person lets pages run scripts; without, ``Page.evaluate`` does not work either.
        """
        return self._thread.submit(self._visit, url, look, size, dark, expected, scripts).result()

    def _visit(
        self,
        url: str,
        look: Callable[[Page], T],
        size: tuple[int, int],
        dark: bool,
        expected: tuple[str, ...],
        scripts: bool,
    ) -> T:
        said: list[str] = []
        asked: list[str] = []
        context = self._chromium.new_context(
            viewport={"width": size[0], "height": size[1]},
            color_scheme="dark" if dark else "light",
            java_script_enabled=scripts,
        )
        try:
            page = context.new_page()
            page.set_default_timeout(PATIENCE_MS)
            page.on("console", lambda one: said.append(one.text) if one.type in ("error", "warning") else None)
            page.on("pageerror", lambda error: said.append(str(error)))
            page.on("request", lambda request: asked.append(request.url))
            page.goto(url)
            seen = look(page)
        finally:
            context.close()
        assert not [one for one in said if not any(part in one for part in expected)]
        here = urlsplit(url).netloc
        assert not [one for one in asked if urlsplit(one).scheme != "data" and urlsplit(one).netloc != here]
        return seen


@contextmanager
def running() -> Iterator[Browser]:
    """Run the system's Chromium."""
    from playwright.sync_api import sync_playwright

    with ThreadPoolExecutor(1, "browser") as thread:
        driver = thread.submit(sync_playwright().start).result()
        try:
            chromium = thread.submit(
                driver.chromium.launch,
                executable_path=shutil.which("chromium"),
                args=["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"],
                timeout=PATIENCE_MS,
            ).result()
            try:
                yield Browser(thread, chromium)
            finally:
                thread.submit(chromium.close).result()
        finally:
            thread.submit(driver.stop).result()


def faults(page: Page) -> list[str]:
    """Return what axe-core finds, one line each."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
    return [f"{one['id']}: {one['help']}: {[node['html'] for node in one['nodes']]}" for one in found]


def overflows(page: Page) -> bool:
    """Say whether one has to scroll sideways."""
    wide: bool = page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")
    return wide
