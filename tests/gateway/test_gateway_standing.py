"""Why a node gets work, or none, as its gateway tells it."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest
import trio
from scripted import PATIENCE_S, PortGateway, on_both_databases, submit
from scripted_node import Operator

from edgeagent.gateway.needs import Need, Offer
from edgeagent.gateway.standing import Code, Demand, Stored, demand, idle, recent
from edgeagent.wire.messages import JobDispatch, Outcome

OFFER = Offer(frozenset({"echo", "render"}), slots=2, tier="B", gpus=1, memory_bytes=1 << 30)


@pytest.mark.parametrize(
    ("need", "words"),
    [
        (Need("echo"), ""),
        (Need("inference"), "does not offer"),
        (Need("render", tier="A"), "tier A, and the node has B"),
        (Need("render", gpus=2), "2 GPUs, and the node lends 1"),
        (Need("render", memory_bytes=2 << 30), "2.0 GiB of memory, and the node has 1.0 GiB"),
        (Need("render", fetches=("s3",)), "cannot fetch: s3"),
    ],
)
def test_what_a_node_lacks_is_named(need: Need, words: str) -> None:
    """And nothing exactly where it suits."""
    assert words in OFFER.lacks(need)
    assert OFFER.suits(need) == (OFFER.lacks(need) == "")


def test_a_type_can_be_run_where_one_of_its_jobs_can() -> None:
    """Those that this node could run come first, then what it offers."""
    needs = [Need("inference"), Need("render", gpus=9), Need("echo", tier="A"), Need("render"), Need("a")]

    assert [("render", True), ("echo", False), ("a", False), ("inference", False)] == [
        (one.job_type, not one.lacks) for one in demand(needs, OFFER)
    ]


def test_only_jobs_that_it_could_have_run_count_as_given_to_others() -> None:
    """Not those that need more than it has."""
    given = ((Need("echo"), True), (Need("render"), False), (Need("render", gpus=2), False), (Need("x"), False))

    assert (1, 1) == recent(Stored(cause="", since_s=0.0, failures=(), recent=given), OFFER)


ECHO = Demand(job_type="echo", lacks="")
RENDER = Demand(job_type="render", lacks="jobs ask for 2 GPUs, and the node lends 1")


@pytest.mark.parametrize(
    ("waiting", "closed", "given", "codes", "words"),
    [
        ((), (), (0, 0), [Code.NO_DEMAND], "the queue is empty, and no such jobs were given out in the last 10m"),
        ((), (), (7, 0), [Code.NO_DEMAND], "the queue is empty, and 7 such jobs were given out"),
        ((RENDER,), (), (0, 0), [Code.UNSUITED, Code.NO_DEMAND], "render is waited for: jobs ask for 2 GPUs"),
        ((), (), (1, 4), [Code.OUTBID], "of 5 such jobs in the last 10m, 4 went to other nodes"),
        ((RENDER,), (), (1, 4), [Code.OUTBID, Code.UNSUITED], "4 went to other nodes"),
        ((ECHO,), (), (1, 4), [Code.ABOUT_TO], "jobs wait that it can run (echo)"),
        ((ECHO,), ("echo",), (0, 0), [Code.CLOSED], "echo is waited for, and the node takes none at present"),
        ((ECHO, RENDER), ("echo",), (0, 3), [Code.CLOSED, Code.OUTBID, Code.UNSUITED], "echo is waited for"),
    ],
)
def test_the_queue_says_why_there_is_no_work(
    waiting: tuple[Demand, ...], closed: tuple[str, ...], given: tuple[int, int], codes: list[Code], words: str
) -> None:
    """From what waits, what the node takes, and who got the jobs of late; the first reason decides."""
    found = list(idle(waiting, closed, given, 600.0))

    assert codes == [one.code for one in found]
    assert words in found[0].text


async def _standing(gateway: PortGateway, operator: Operator) -> dict[str, Any]:
    async with gateway.http(operator.token) as http:
        answer = await http.get("/nodes/me/standing")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_a_node_without_a_link_has_no_seat(port_gateway: PortGateway) -> None:
    """And is told of no demand."""
    found = await _standing(port_gateway, await port_gateway.enlist())

    assert ("REGISTERED", "registered", None, []) == tuple(found[key] for key in ("status", "cause", "seat", "waiting"))
    assert 0 <= found["since_s"] < 60


@on_both_databases
async def test_failures_that_count_are_listed_with_what_was_said(
    port_gateway: PortGateway, submitter: httpx2.AsyncClient
) -> None:
    """Three in a row make it UNHEALTHY; each has its job, outcome and detail, the newest first."""
    operator = await port_gateway.enlist()
    async with port_gateway.at_work(operator, slots=3) as node:
        ids = [(await submit(submitter, "render"))["job_id"] for _ in range(3)]
        dispatches = [await node.accept() for _ in ids]
        for number, dispatch in enumerate(dispatches):
            await node.finish(dispatch, Outcome.FAILED, detail=f"out of paint {number}")
        with trio.fail_after(PATIENCE_S):  # results are acknowledged before they are judged
            while (found := await _standing(port_gateway, operator))["cause"] == "heartbeat":
                await trio.lowlevel.checkpoint()

    assert ("UNHEALTHY", "3 failed attempts in a row", True) == (found["status"], found["cause"], found["probation"])
    assert {"out of paint 0", "out of paint 1", "out of paint 2"} == {one["detail"] for one in found["failures"]}
    assert [("render", "failed")] * 3 == [(one["job_type"], one["outcome"]) for one in found["failures"]]
    assert 0 == found["seat"]["limit"]


@on_both_databases
async def test_what_waits_and_who_got_what_is_told(port_gateway: PortGateway, submitter: httpx2.AsyncClient) -> None:
    """A full node sees that its slots are taken, what waits for it, and what it lacks for the rest."""
    one, two = await port_gateway.enlist("one"), await port_gateway.enlist("two", ("inference",))
    async with port_gateway.at_work(one) as node, port_gateway.as_node(two) as other:
        await other.greet(capabilities=("inference",))
        await other.beat()
        await submit(submitter, "render")
        await node.accept()
        await submit(submitter, "inference")
        await other.hear(JobDispatch)
        for job_type in ("render", "inference"):
            await submit(submitter, job_type)
        full = await _standing(port_gateway, one)

    assert (1, 1, 1) == tuple(full["seat"][key] for key in ("slots", "limit", "taken"))
    assert [("render", ""), ("inference", "the node does not offer this job type")] == [
        (waiting["job_type"], waiting["lacks"]) for waiting in full["waiting"]
    ]
    assert (1, 0) == (full["given"]["to_this"], full["given"]["to_others"])
    assert ["about_to"] == [reason["code"] for reason in full["idle"]]
