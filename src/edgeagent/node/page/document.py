"""The status page: a node's state and its books in, HTML out.  Pure.

The parts that change carry ``data-part``, under which ``status.js`` replaces each by its newer self where they differ,
so that neither the place on the page nor a screen reader's is lost.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from edgeagent.node.page import curve
from edgeagent.node.page.books import Books
from edgeagent.node.page.markup import Markup, join, tag
from edgeagent.node.status import Health, health, offers, warnings
from edgeagent.wire.units import format_credits, format_duration, format_size

Json = dict[str, Any]

#: Most characters of a stranger's text that are shown.
MOST_CHARS = 300
#: Most failures that are shown.
MOST_FAILURES = 10
_HEADLINES = {
    Health.HEALTHY: "Healthy",
    Health.UNHEALTHY: "Not healthy",
    Health.UNREACHABLE: "Not connected",
}


def page(state: Json, books: Books | None, *, at: str, refresh_s: float) -> str:
    """Return the whole page.

    Args:
        state: what ``node.snapshot.document`` gives.
        books: None where the gateway has not said.
        at: when that was so, for a person.
        refresh_s: how often it is made anew where scripts may not run.
    """
    name = state["name"] or "without a name"
    well = health(state)
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", f"{_HEADLINES[well]}: {_short(name)}, edgeagent"),
        tag("link", rel="icon", href="data:,"),
        tag("link", rel="stylesheet", href="/static/status.css"),
        tag("script", src="/static/status.js", defer=True),
        tag("noscript", tag("meta", http_equiv="refresh", content=f"{refresh_s:g}")),
    )
    header = tag(
        "header",
        tag("h1", "Node ", tag("bdi", _short(name))),
        tag("p", _part("health", tag("span", _HEADLINES[well], class_=f"badge {well.value}")), role="status"),
    )
    main = tag(
        "main",
        _section("warnings", "Warnings", *_warnings(state)),
        _section("facts", "State", _facts(state, books)),
        _section("running", "Running jobs", _running(state)),
        _section("earnings", "Earnings", *_earnings(state, books)),
        _section("failures", "Last failures", _failures(state)),
    )
    footer = tag(
        "footer",
        tag("p", _part("at", "As of ", at, ", kept up to date by itself.")),
        tag("p", "The node does not answer any more; this is how it was last.", id="gone", role="alert", hidden=True),
        tag("p", f"edgeagent {state['version']}. More: ", tag("code", "edgeagent why"), ", ", tag("code", "doctor")),
    )
    return f"<!doctype html>\n{tag('html', head, tag('body', header, main, footer), lang='en')}\n"


def _part(name: str, *children: object) -> Markup:
    return tag("span", *children, data_part=name)


def _section(name: str, title: str, *children: object) -> Markup:
    return tag(
        "section",
        tag("h2", title, id=f"{name}-title"),
        tag("div", *children, data_part=name),
        aria_labelledby=f"{name}-title",
    )


def _warnings(state: Json) -> Iterator[Markup]:
    found = warnings(state)
    if found:
        yield tag("ul", *(tag("li", _strange(one)) for one in found), class_="warnings")
    else:
        yield tag("p", "None.")


def _facts(state: Json, books: Books | None) -> Markup:
    short = [tag("div", tag("dt", name), tag("dd", said)) for name, said in _each_fact(state, books)]
    long = [tag("div", tag("dt", name), tag("dd", said), class_="wide") for name, said in _long_facts(state)]
    return tag("dl", *short, *long)


def _long_facts(state: Json) -> Iterator[tuple[str, object]]:
    yield "Offers", _strange(offers(state))
    yield "Gateway", _strange(state["gateway"])


def _each_fact(state: Json, books: Books | None) -> Iterator[tuple[str, object]]:
    link, spool, cache = state["link"], state["spool"], state["cache"]
    seen = str(link["state"] or "not known").lower()
    last = "" if link["up"] else ", when last heard"
    yield "Seen by the gateway", seen + (", on probation" if link["probation"] else "") + last
    yield "Link", f"{'up' if link['up'] else 'down'} for {format_duration(link['since_s'])}"
    heard = "never" if link["last_ack_s"] is None else f"{format_duration(link['last_ack_s'])} ago"
    yield "Last heartbeat", heard
    yield "Free slots", f"{state['free_slots']} of {state['slots']}"
    yield "Jobs since start", f"{state['completed']} completed, {state['failed']} failed"
    yield "Spool", f"{spool['undelivered']} results wait, {format_size(spool['size_bytes'])}"
    if cache is not None:
        yield "Cache", format_size(cache["used_bytes"])
    yield "Sandbox", f"tier {state['sandbox']['tier']}"
    if books is None:
        yield "Credits", f"{format_credits(state['credited_ucr'])} since start"
    else:
        yield "Credits today", format_credits(books.today_ucr)
        yield "Credits this month", format_credits(books.month_ucr)


def _running(state: Json) -> Markup:
    rows = [
        tag(
            "tr",
            tag("th", _strange(job["job_type"]), scope="row"),
            tag("td", _progress(job), _id(job)),
            tag("td", format_duration(job["running_s"]), class_="time"),
        )
        for job in state["running"]
    ]
    return _table("Jobs that run now", ("Type", "Progress", "For"), rows)


def _progress(job: Json) -> Markup:
    said = _strange(job["text"]) if job["text"] else ""
    if job["fraction"] is None:
        return join(said or "not told")
    share = max(0.0, min(1.0, job["fraction"]))
    label = f"Progress of job {_short(job['job_id'])}"
    return join(tag("progress", value=f"{share:.4f}", max=1, aria_label=label), f" {share:.0%} ", said)


def _failures(state: Json) -> Markup:
    rows = [
        tag(
            "tr",
            tag("th", _strange(one["job_type"]), scope="row"),
            tag("td", _strange(one["outcome"]), ": " if one["detail"] else "", _strange(one["detail"]), _id(one)),
            tag("td", format_duration(one["ago_s"]), " ago", class_="time"),
        )
        for one in state["failures"][:MOST_FAILURES]
    ]
    return _table("Jobs that did not complete, the newest first", ("Type", "Outcome", "When"), rows)


def _id(job: Json) -> Markup:
    return tag("div", "job ", _strange(job["job_id"]), class_="id")


def _table(caption: str, columns: tuple[str, ...], rows: list[Markup]) -> Markup:
    if not rows:
        return tag("p", "None.")
    head = tag("thead", tag("tr", *(tag("th", one, scope="col") for one in columns)))
    return tag("table", tag("caption", caption, class_="hidden"), head, tag("tbody", *rows))


def _earnings(state: Json, books: Books | None) -> Iterator[Markup]:
    if books is None:
        yield tag("p", "The gateway has not said what this node has earned.")
        return
    if not books.days:
        yield tag("p", f"Nothing yet in {books.today:%B %Y} (UTC).")
        return
    yield tag("figure", curve.picture(books), tag("figcaption", _caption(books)))
    yield curve.table(books)


def _caption(books: Books) -> str:
    earned = format_credits(books.month_ucr)
    return f"Credits earned in {books.today:%B %Y} (UTC), added up to day {books.today.day}: {earned}"


def _strange(said: str) -> Markup:
    """Show a text that others wrote: short, and without an effect on the direction of what is around it."""
    return tag("bdi", _short(said))


def _short(said: str) -> str:
    return said if len(said) <= MOST_CHARS else f"{said[:MOST_CHARS]}…"
