"""The status page in a real browser: readable by everybody on every screen, and kept up to date without a jump."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio
from states import LINK, state

import browsing
from edgeagent.node import health
from edgeagent.node.page.earned import Earned
from edgeagent.node.page.site import Site
from edgeagent.node.snapshot import Failure, RunningAttempt
from edgeagent.node.willingness import Code, Reason

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.needs("chromium")

JOB = RunningAttempt(
    attempt_id="3f0c6a9e-7a57-4f06-9f5e-6f1d4a1b2c3d",
    job_id="8d1b7a52-41f3-4f57-b0a8-0c9be0a6c7f1",
    job_type="render",
    running_s=125.0,
    fraction=0.42,
    text="tile 42 of 100",
)
FAILURE = Failure(
    attempt_id=JOB.attempt_id,
    job_id=JOB.job_id,
    job_type="inference",
    outcome="memory_limit",
    detail="<img src=x onerror=alert(1)> more than 2 GiB " + "x" * 80,
    ago_s=3700.0,
)
BUSY = state(
    running=(JOB, attrs.evolve(JOB, fraction=None, text="")),
    failures=(FAILURE,) * 3,
    against=(Reason(code=Code.PAUSED, text="the node is paused by its owner"),),
    cache={"used_bytes": 3 << 30, "evictable_bytes": 0},
)
BOOKS: dict[str, Any] = {
    "today": {"name": "2026-10-21", "jobs": 3, "earned_ucr": 30_500_000, "paid_out_ucr": 0},
    "total": {"name": "2026-10", "jobs": 9, "earned_ucr": 90_500_000, "paid_out_ucr": 0},
    "days": [
        {"name": "2026-10-03", "jobs": 1, "earned_ucr": 20_000_000, "paid_out_ucr": 0},
        {"name": "2026-10-11", "jobs": 5, "earned_ucr": 40_000_000, "paid_out_ucr": 0},
        {"name": "2026-10-21", "jobs": 3, "earned_ucr": 30_500_000, "paid_out_ucr": 0},
    ],
}


class Shown:
    """What the node says of itself, as the test has it."""

    def __init__(self) -> None:
        self.state = BUSY
        self.asked = 0
        self.url = ""
        self.scope = trio.CancelScope()
        self.ended = trio.Event()

    async def get(self) -> dict[str, Any]:
        self.asked += 1
        return self.state


@pytest.fixture
async def shown(nursery: trio.Nursery) -> AsyncIterator[Shown]:
    """A served page."""
    shown = Shown()

    async def books() -> dict[str, Any]:
        return BOOKS

    async def serve(task_status: trio.TaskStatus[str]) -> None:
        site = Site(Earned(books), state=shown.get)
        with shown.scope:
            await health.run(health.listen("127.0.0.1", 0), lambda: True, site=site, task_status=task_status)
        shown.ended.set()

    shown.url = (await nursery.start(serve)).removesuffix("health")
    return shown


async def _visit(browser: browsing.Browser, shown: Shown, look: Any, **options: Any) -> Any:
    return await trio.to_thread.run_sync(lambda: browser.visit(shown.url, look, **options))


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("size", [browsing.PHONE, browsing.DESKTOP])
async def test_it_can_be_read_by_everybody(
    browser: browsing.Browser, shown: Shown, size: tuple[int, int], dark: bool
) -> None:
    """axe-core finds nothing, and nobody has to scroll sideways, at each width and in each colour scheme."""

    def look(page: Page) -> tuple[list[str], bool, str]:
        return browsing.faults(page), browsing.overflows(page), page.evaluate("getComputedStyle(document.body).color")

    faults, overflows, colour = await _visit(browser, shown, look, size=size, dark=dark)

    assert ([], False) == (faults, overflows)
    assert ("rgb(231, 234, 238)" if dark else "rgb(28, 33, 39)") == colour


async def test_it_says_what_the_owner_wants_to_know(browser: browsing.Browser, shown: Shown) -> None:
    """By the roles and names that a screen reader goes by; strangers' text stays text."""

    def look(page: Page) -> tuple[list[str], str, str, str, int]:
        return (
            page.get_by_role("heading").all_inner_texts(),
            page.get_by_role("progressbar", name=f"Progress of job {JOB.job_id}").get_attribute("value") or "",
            page.get_by_role("img").get_attribute("aria-labelledby") or "",
            page.get_by_role("main").inner_text(),
            page.locator("main img").count(),
        )

    headings, progress, labelled, text, images = await _visit(browser, shown, look)

    assert ["Node studio", "Warnings", "State", "Running jobs", "Earnings", "Last failures"] == headings
    assert ("0.4200", "curve-title", 0) == (progress, labelled, images)
    for words in ("tile 42 of 100", "paused by its owner", "30.5", "90.5", "3.0 GiB", "<img src=x onerror=alert(1)>"):
        assert words in text


async def test_it_is_kept_up_to_date_without_a_jump(browser: browsing.Browser, shown: Shown) -> None:
    """What has changed is replaced; the place on the page and the page itself stay."""

    def look(page: Page) -> tuple[float, float, bool]:
        where = "document.getElementById('facts-title').getBoundingClientRect().top"
        page.evaluate("window.same = true; document.getElementById('facts-title').scrollIntoView()")
        before = page.evaluate(where)
        shown.state = state(
            running=(attrs.evolve(JOB, fraction=0.9),) * 2,
            failures=(FAILURE,) * 3,
            link=attrs.evolve(LINK, state="UNHEALTHY", probation=True),
            warnings=("more than before",) * 5,
        )
        _look_again(page)
        page.get_by_text("Not healthy").wait_for()
        assert "Not healthy" in page.title()
        return before, page.evaluate(where), page.evaluate("window.same === true")

    before, after, same = await _visit(browser, shown, look, size=browsing.PHONE)

    assert (before, True) == (pytest.approx(after, abs=5), same)


def _look_again(page: Page) -> None:
    """Do what happens when somebody comes back to the page, rather than wait for its next turn."""
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")


async def test_a_node_that_has_ended_is_not_shown_as_if_it_ran(browser: browsing.Browser, shown: Shown) -> None:
    """The page says that this is how it was last."""

    def look(page: Page) -> str:
        shown_before = page.get_by_role("alert").is_visible()
        trio_token.run_sync_soon(shown.scope.cancel)
        trio.from_thread.run(shown.ended.wait, trio_token=trio_token)
        _look_again(page)
        page.get_by_role("alert").wait_for()
        assert not shown_before
        return page.get_by_role("alert").inner_text()

    trio_token = trio.lowlevel.current_trio_token()
    said = await _visit(browser, shown, look, expected=("ERR_CONNECTION_REFUSED", "ERR_EMPTY_RESPONSE"))

    assert "does not answer any more" in said
