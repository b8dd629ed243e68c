"""How a node's status, reasons and earnings are written for a person.  Pure: documents in, lines out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from edgeagent.node.status import offers, until
from edgeagent.wire.units import format_credits, format_duration, format_size

if TYPE_CHECKING:
    from edgeagent.node.why import Reason

Json = dict[str, Any]


def status_lines(state: Json, earned: Json | None, warnings: Sequence[str]) -> Iterator[str]:
    """Yield what ``edgeagent status`` prints; ``earned`` is None where the gateway did not say."""
    for label, text in _facts(state, earned):
        yield f"{label:10}{text}"
    for job in state["running"]:
        yield f"  {job['job_type']}  {_progress(job)}  job {job['job_id']}"
    if state["failures"]:
        yield "Last failures:"
        for one in state["failures"]:
            why = f": {one['detail']}" if one["detail"] else ""
            ago = format_duration(one["ago_s"])
            yield f"  {ago} ago  {one['job_type']} {one['outcome']}{why} (job {one['job_id']})"
    if warnings:
        yield "Warnings:"
        yield from (f"  - {one}" for one in warnings)


def _facts(state: Json, earned: Json | None) -> Iterator[tuple[str, str]]:
    link, cache, spool = state["link"], state["cache"], state["spool"]
    yield "Node", f"{state['name'] or 'without a name'} ({state['node_id']}), edgeagent {state['version']}"
    heard_last = "" if link["up"] else " when the gateway was last heard"
    yield "State", f"{link['state'] or 'not known'}{', on probation' if link['probation'] else ''}{heard_last}"
    turned = f"{'up' if link['up'] else 'down'} for {format_duration(link['since_s'])}"
    heard = "never" if link["last_ack_s"] is None else f"{format_duration(link['last_ack_s'])} ago"
    yield "Gateway", f"{state['gateway']}, link {turned}, last heartbeat acknowledged {heard}"
    yield (
        "Slots",
        f"{state['free_slots']} of {state['slots']} free, load {state['load']:.0%}, {_gpus(state)}",
    )
    yield "Offers", offers(state)
    yield "Sandbox", f"tier {state['sandbox']['tier']}"
    yield (
        "Jobs",
        f"{len(state['running'])} running, {state['completed']} completed and {state['failed']} failed since start",
    )
    yield "Spool", f"{spool['undelivered']} results on their way, {format_size(spool['size_bytes'])} on disk"
    if cache is not None:
        yield "Cache", f"{format_size(cache['used_bytes'])} of inputs"
    if earned is None:
        since = format_credits(state["credited_ucr"])
        yield "Credits", f"{since} since start; the gateway did not say more"
    else:
        month = f"{format_credits(earned['month_ucr'])} in {earned['month']} (UTC)"
        yield "Credits", f"{format_credits(earned['today_ucr'])} today, {month}"


def _gpus(state: Json) -> str:
    paused = sum(one["paused"] for one in state["gpu_states"])
    return f"{len(state['gpus'])} GPUs" + (f", {paused} more paused" if paused else "")


def gpu_lines(gpus: Sequence[Json]) -> Iterator[str]:
    """Yield what ``edgeagent gpu list`` prints: the number that the other commands take, and how each is lent."""
    for index, gpu in enumerate(gpus):
        jobs = f"{gpu['jobs']} {'job' if gpu['jobs'] == 1 else 'jobs'}"
        only = "" if gpu["only_for"] is None else f", for {', '.join(gpu['only_for']) or 'no job type'} alone"
        yield f"{index}  {gpu['uuid']}  {'paused' if gpu['paused'] else 'lent'}, {jobs}{only}"
    if not gpus:
        yield "No GPU is lent; edgeagent doctor says why."


def _progress(job: Json) -> str:
    done = "" if job["fraction"] is None else f"{job['fraction']:.0%} "
    text = f" ({job['text']})" if job["text"] else ""
    return f"{done}after {format_duration(job['running_s'])}{text}"


def reason_line(reason: Reason) -> str:
    """Return what ``edgeagent why`` prints for one reason."""
    remedy = f"; {reason.remedy}" if reason.remedy else ""
    return f"{reason.code.value} ({reason.side}): {reason.text}{until(reason.until)}{remedy}"


def earnings_lines(document: Json) -> Iterator[str]:
    """Yield what ``edgeagent earnings`` prints."""
    month = document["month"]
    for title, rows in (
        ("Months", document["months"]),
        (f"Days of {month}", document["days"]),
        (f"Job types in {month}", document["job_types"]),
    ):
        yield f"{title}:" if rows else f"{title}: nothing"
        for row in rows:
            paid = f", {format_credits(row['paid_out_ucr'])} paid out" if row["paid_out_ucr"] else ""
            name = row["name"] or "corrections"
            yield f"  {name:20} {format_credits(row['earned_ucr']):>12}  {row['jobs']} jobs{paid}"
    yield f"Balance: {format_credits(document['balance_ucr'])} credits"
    if "payout_address" in document:  # a gateway that keeps such
        yield f"Paid to: {document['payout_address'] or 'nowhere; edgeagent config payout-address ADDRESS sets it'}"
