"""What the node's own port answers beside ``/health``: to whom, with what headers, and what it makes of odd texts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
import trio
from states import LINK, state

import plain_http
from edgeagent.errors import UnreachableError
from edgeagent.node import health
from edgeagent.node.page.earned import FRESH_S, PATIENCE_S, Earned
from edgeagent.node.page.hosts import is_ours
from edgeagent.node.page.markup import tag
from edgeagent.node.page.site import Site
from edgeagent.node.snapshot import Failure, RunningAttempt

ANSWER: dict[str, Any] = {
    "today": {"name": "2026-10-01", "jobs": 1, "earned_ucr": 1_500_000, "paid_out_ucr": 0},
    "total": {"name": "2026-10", "jobs": 1, "earned_ucr": 1_500_000, "paid_out_ucr": 0},
    "days": [{"name": "2026-10-01", "jobs": 1, "earned_ucr": 1_500_000, "paid_out_ucr": 0}],
}


class Bench:
    """A served site, and what its node and its gateway say."""

    def __init__(self) -> None:
        self.site = Site(Earned(self._books), names=("studio.example.com",), state=self._state)
        self.shown = state()
        self.books = ANSWER
        self.http = plain_http.client()

    async def _state(self) -> dict[str, Any]:
        return self.shown

    async def _books(self) -> dict[str, Any]:
        return self.books

    async def get(self, path: str, *, method: str = "GET", **headers: str) -> httpx2.Response:
        with trio.fail_after(20):
            return await self.http.request(method, path, headers=headers)


@pytest.fixture
async def bench(nursery: trio.Nursery) -> AsyncIterator[Bench]:
    """A site on a free port of loopback."""
    bench = Bench()

    async def serve(task_status: trio.TaskStatus[str]) -> None:
        listener = health.listen("127.0.0.1", 0)
        await health.run(listener, lambda: True, site=bench.site, task_status=task_status)

    bench.http = plain_http.client(base_url=(await nursery.start(serve)).removesuffix("/health"))
    async with bench.http:
        yield bench


@pytest.mark.parametrize(
    ("host", "ours"),
    [
        ("localhost", True),
        ("localhost:8081", True),
        ("LOCALHOST.:8081", True),
        ("127.0.0.1:8081", True),
        ("[::1]:8081", True),
        ("192.168.1.20:8081", True),
        ("Studio.Example.com", True),
        ("", False),
        ("evil.example.com:8081", False),
        ("localhost.evil.example.com", False),
        ("127.0.0.1.evil.example.com", False),
        ("evil.example.com@localhost", False),
        ("[::1].evil.example.com", False),
        ("localhost:8081:1", False),
    ],
)
def test_a_server_is_asked_for_by_an_address_or_a_name_of_its_own(host: str, ours: bool) -> None:
    """A stranger's name that leads here is not one."""
    assert ours is is_ours(host, ("studio.example.com",))


@pytest.mark.parametrize("path", ["/", "/metrics", "/static/status.js"])
async def test_a_strangers_name_gets_nothing(bench: Bench, path: str) -> None:
    """421, with what the owner can do where the name is theirs; the health check says too little to be guarded."""
    refused, known = await bench.get(path, host="evil.example.com"), await bench.get(path, host="studio.example.com")
    checked = await bench.get("/health", host="container")

    assert (421, 200, 200) == (refused.status_code, known.status_code, checked.status_code)
    assert "health.names" in refused.text
    assert "studio" not in refused.text


@pytest.mark.parametrize("path", ["/", "/metrics", "/static/status.css", "/static/status.js"])
async def test_nothing_from_elsewhere_may_run_on_it_or_frame_it(bench: Bench, path: str) -> None:
    """What a browser is told with every answer."""
    answer = await bench.get(path)

    policy = answer.headers["content-security-policy"]
    assert 200 == answer.status_code
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert ("nosniff", "no-store") == (answer.headers["x-content-type-options"], answer.headers["cache-control"])


async def test_it_is_read_only(bench: Bench) -> None:
    """There is nothing to change here, and HEAD has no body."""
    assert 405 == (await bench.get("/", method="POST")).status_code
    assert (200, b"") == ((head := await bench.get("/", method="HEAD")).status_code, head.content)
    assert 404 == (await bench.get("/static/../site.py")).status_code


async def test_before_there_is_anything_to_show_it_says_so(bench: Bench) -> None:
    """503, to ask again."""
    bench.site.state = None

    assert [503, 503] == [(await bench.get(path)).status_code for path in ("/", "/metrics")]


async def test_strangers_texts_stay_texts(bench: Bench) -> None:
    """The gateway's, the jobs' and the plugins', in each place where one is shown."""
    nasty = "</title><script>alert(1)</script>\"'><img src=x onerror=alert(1)>\ud800\x00"
    job = RunningAttempt(attempt_id="a", job_id=nasty, job_type=nasty, running_s=1, fraction=0.5, text=nasty)
    failure = Failure(attempt_id="a", job_id=nasty, job_type=nasty, outcome=nasty, detail=nasty, ago_s=1)
    bench.shown = state(name=nasty, running=(job,), failures=(failure,), warnings=(nasty,), gateway=nasty)
    bench.shown["link"].update(state=nasty, no_work=nasty)

    page = (await bench.get("/")).text

    assert page.count("&lt;script&gt;alert(1)") >= 10
    assert 1 == page.count("<script")
    assert "<img" not in page


def test_attributes_are_escaped_too() -> None:
    """A quote ends none."""
    assert '<p title="&quot; onclick=&quot;x">&lt;b&gt;</p>' == tag("p", "<b>", title='" onclick="x')


@pytest.mark.parametrize(
    "books", [{}, {**ANSWER, "days": [{"name": "x", "earned_ucr": 1}]}, {**ANSWER, "total": {"earned_ucr": 1e300}}]
)
async def test_books_that_make_no_sense_are_left_out(bench: Bench, books: dict[str, Any]) -> None:
    """The gateway may be of another kind; the rest is shown."""
    bench.books = books

    assert "The gateway has not said" in (await bench.get("/")).text


async def test_the_first_day_of_a_month_has_a_curve(bench: Bench) -> None:
    """From nothing to what it has brought."""
    page = (await bench.get("/")).text

    assert 'points="8.0,132.0 592.0,8.0"' in page
    assert "1.5 by day 1" in page


async def test_the_figures_are_what_prometheus_reads(bench: Bench) -> None:
    """Text format, base units, a state for each way the gateway can see the node."""
    bench.shown = state(
        link=LINK,
        running=(RunningAttempt(attempt_id="a", job_id="j", job_type="render", running_s=1),),
        credited_ucr=2_500_000,
    )
    answer = await bench.get("/metrics")
    lines = answer.text.splitlines()

    assert "text/plain; version=0.0.4; charset=utf-8" == answer.headers["content-type"]
    for line in (
        "# TYPE edgeagent_node_jobs_total counter",
        'edgeagent_node_info{version="1",node_id="n",sandbox_tier="A"} 1',
        "edgeagent_node_link_up 1",
        'edgeagent_node_state{state="HEALTHY"} 1',
        "edgeagent_node_heartbeat_age_seconds 3.0",
        'edgeagent_node_running_jobs{type="render"} 1',
        'edgeagent_node_running_jobs{type="echo"} 0',
        'edgeagent_node_takes_jobs{type="echo"} 1',
        'edgeagent_node_jobs_total{outcome="completed"} 3',
        "edgeagent_node_credits_total 2.5",
    ):
        assert line in lines
    families = [line.split()[2] for line in lines if line.startswith("# TYPE")]
    assert len(families) == len(set(families))


class Gateway:
    """Answers after ``takes_s``, or not at all."""

    def __init__(self) -> None:
        self.takes_s: float | None = 0.0
        self.asked = 0

    async def ask(self) -> dict[str, Any]:
        self.asked += 1
        if self.takes_s is None:
            raise UnreachableError("no answer")
        await trio.sleep(self.takes_s)
        return ANSWER


async def test_the_gateway_is_asked_at_most_once_a_minute(autojump_clock: trio.testing.MockClock) -> None:
    """However often, and by however many, the page is looked at; an old answer is better than none."""
    gateway = Gateway()
    earned = Earned(gateway.ask)
    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(earned.now)
    assert 1 == gateway.asked
    gateway.takes_s = None
    await trio.sleep(FRESH_S)
    books = await earned.now()

    assert books is not None
    assert (1_500_000, 2) == (books.today_ucr, gateway.asked)


async def test_a_gateway_that_does_not_answer_delays_the_page_but_a_moment(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """And the page is shown without its figures."""
    gateway = Gateway()
    gateway.takes_s = 3600
    earned = Earned(gateway.ask)
    began = trio.current_time()

    assert await earned.now() is None
    assert PATIENCE_S == trio.current_time() - began
    assert await earned.now() is None
    assert PATIENCE_S == trio.current_time() - began
