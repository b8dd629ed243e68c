"""The gateway as a program: one port, one directory, stopped in order or killed."""

from __future__ import annotations

import json
import os
import signal
import socket
from functools import partial
from pathlib import Path

import httpx2
import pytest
import trio
from gateway_process import process
from scripted import DIGEST, FILE, PATIENCE_S, PortGateway, on_a_port, submit, upload
from scripted_node import Operator

from edgeagent.errors import EdgeAgentError
from edgeagent.gateway import connection, service
from edgeagent.gateway.accounts import create_token
from edgeagent.gateway.ceilings import Ceilings
from edgeagent.gateway.config import GatewaySettings
from edgeagent.wire.link import CloseCode
from edgeagent.wire.messages import Bye, JobCancel, JobDispatch, Outcome, Output


async def test_a_running_gateway_says_where_it_is(tmp_path: Path) -> None:
    """In a file, for as long as it runs; its key is its owner's alone."""
    async with on_a_port(tmp_path / "data") as gateway:
        said = json.loads((tmp_path / "data" / "gateway.json").read_text())
        assert (said["pid"], said["url"]) == (os.getpid(), gateway.url)
        assert (tmp_path / "data" / "gateway_key.pem").stat().st_mode & 0o777 == 0o600
    assert not (tmp_path / "data" / "gateway.json").exists()


async def test_a_port_in_use_is_one_line(tmp_path: Path) -> None:
    """And the directory is free again."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(EdgeAgentError, match=f"^port {port} on 127.0.0.1 is in use; choose another with --port$"):
            await service.run(GatewaySettings(data_dir=tmp_path, port=port))
    async with on_a_port(tmp_path, port=port):
        pass


@pytest.mark.parametrize("host", ["nowhere.invalid", "192.0.2.1"])
async def test_an_address_that_is_not_ours_is_one_line(tmp_path: Path, host: str) -> None:
    """A name that does not resolve, an address of another machine."""
    with pytest.raises(EdgeAgentError, match=f"^cannot listen on {host}"):
        await service.run(GatewaySettings(data_dir=tmp_path, host=host, port=0))


async def test_a_second_gateway_in_the_same_directory_is_refused(tmp_path: Path) -> None:
    """Each would believe that it is the only one."""
    async with on_a_port(tmp_path):
        with pytest.raises(EdgeAgentError, match="another gateway runs in"):
            await service.run(GatewaySettings(data_dir=tmp_path, port=0))


async def test_two_gateways_of_one_process_have_nothing_in_common(tmp_path: Path) -> None:
    """But the application, which is put together once: not accounts, not how often was asked, not what is shown."""
    few = Ceilings(visits_each=3)
    async with on_a_port(tmp_path / "one") as one, on_a_port(tmp_path / "two", ceilings=few) as two:
        token = await one.account()
        await one.enlist("node")
        async with one.http(token) as of_one, two.http(token) as of_two:
            boards = [await http.get("/community/leaderboard") for http in (of_two, of_one)]
            assert [[row["nodeName"] for row in board.json()["leaderboard"]] for board in boards] == [[], ["node"]]
            assert [(await of_two.get("/community/leaderboard")).status_code for _ in range(3)][-1] == 429
            assert (await of_one.get("/community/leaderboard")).status_code == 200
            assert (await of_one.get("/account")).status_code == 200
        async with one.http(await two.account("other")) as of_neither:
            assert (await of_neither.get("/account")).status_code == 401


async def test_a_directory_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    """A file in its place."""
    (tmp_path / "file").write_text("")
    with pytest.raises(EdgeAgentError, match="cannot use"):
        await service.run(GatewaySettings(data_dir=tmp_path / "file", port=0))


async def test_a_database_that_is_none_is_one_line(tmp_path: Path) -> None:
    """Rather than a traceback at the operator."""
    (tmp_path / "gateway.db").write_bytes(b"this is not a database at all" * 200)
    with pytest.raises(EdgeAgentError, match="cannot use the database"):
        await service.run(GatewaySettings(data_dir=tmp_path, port=0))


async def test_a_cancelled_gateway_leaves_everything_in_order(tmp_path: Path) -> None:
    """Without the courtesies: port, directory and database are free for the next one, and no node is left alone."""
    async with trio.open_nursery() as outer:
        async with trio.open_nursery() as nursery:
            settings = GatewaySettings(data_dir=tmp_path, port=0)
            gateway = PortGateway(tmp_path, await nursery.start(partial(service.run, settings)))
            operator = await gateway.enlist()

            async def listen(*, task_status: trio.TaskStatus[None]) -> None:
                async with gateway.as_node(operator) as node:
                    await node.ready()
                    task_status.started()
                    assert (await node.closed()).code

            await outer.start(listen)
            nursery.cancel_scope.cancel()
        assert not (tmp_path / "gateway.json").exists()
    async with on_a_port(tmp_path, port=int(gateway.url.rpartition(":")[2])):
        pass


async def test_stopping_tells_every_node_to_come_back(tmp_path: Path) -> None:
    """Bye with when to come back, then close code 1012, which reaches the node."""
    async with trio.open_nursery() as nursery, on_a_port(tmp_path) as gateway:
        operators = [await gateway.enlist(name) for name in "ab"]
        told: list[tuple[float, int]] = []

        async def listen(operator: Operator, *, task_status: trio.TaskStatus[None]) -> None:
            async with gateway.as_node(operator) as node:
                await node.ready()
                task_status.started()
                bye = await node.hear(Bye)
                told.append((bye.back_s, (await node.closed()).code))

        for operator in operators:
            await nursery.start(listen, operator)
    assert [code for _, code in told] == [CloseCode.RESTARTING] * 2
    assert all(1 <= back_s <= 2 for back_s, _ in told)


async def test_a_peer_that_does_not_read_does_not_hold_the_shutdown(tmp_path: Path) -> None:
    """Hypercorn shields its writes from cancellation; the connection is cut all the same."""
    async with on_a_port(tmp_path) as gateway:
        operator = await gateway.enlist()
        token = await gateway.account()
        async with gateway.http(token) as http, gateway.as_node(operator) as node:
            await node.ready(slots=64)
            # From here on nothing is read: large payloads fill what the sockets hold.
            async with trio.open_nursery() as nursery:
                for _ in range(60):
                    nursery.start_soon(submit_large, http)
            started = trio.current_time()
            gateway.stop.set()
            await gateway.stopped.wait()
            assert trio.current_time() - started < connection.SEND_S / 2


async def submit_large(http: httpx2.AsyncClient) -> None:
    await submit(http, "echo", payload={"x": "y" * (250 << 10)})


async def test_the_whole_way_of_a_job(port_gateway: PortGateway, submitter: httpx2.AsyncClient) -> None:
    """Register, connect, submit, dispatch, accept, upload, result, acknowledged, credited, on the leaderboard."""
    operator = await port_gateway.enlist("studio-gpu")
    async with port_gateway.as_node(operator) as node:
        await node.ready()
        job = await submit(submitter, payload={"scene": "cube"})
        dispatch = await node.accept()
        assert dispatch.payload == {"scene": "cube"}
        await upload(port_gateway, operator, dispatch.attempt_id, "image.png")
        listed = (Output(name="image.png", size_bytes=len(FILE), sha256=DIGEST),)
        assert (await node.finish(dispatch, outputs=listed)).credited_ucr == 10_000_000
    async with port_gateway.http(operator.token) as http:
        me = (await http.get("/nodes/me")).json()
        assert (me["jobs_completed"], me["balance_ucr"]) == (1, 10_000_000)
        board = (await http.get("/community/leaderboard")).json()
        assert board["leaderboard"][0]["nodeName"] == "studio-gpu"
        assert board["leaderboard"][0]["totalEarnings"] == 10
    assert (await submitter.get("/account")).json() == {
        "name": "studio",
        "balance_ucr": 990_000_000,
        "held_ucr": 0,
        "stored_bytes": 0,
        "quota_bytes": 10 << 30,
    }
    done = (await submitter.get(f"/jobs/{job['job_id']}")).json()
    assert done["status"] == "COMPLETED"
    assert done["running_s"] > 0
    assert done["queued_s"] > 0


async def test_cancel_over_rest_reaches_the_node_within_a_second(
    port_gateway: PortGateway, submitter: httpx2.AsyncClient
) -> None:
    """While the attempt runs."""
    operator = await port_gateway.enlist()
    async with port_gateway.as_node(operator) as node:
        await node.ready()
        job = await submit(submitter)
        dispatch = await node.accept()
        started = trio.current_time()
        await submitter.post(f"/jobs/{job['job_id']}/cancel")
        assert (await node.hear(JobCancel)).attempt_id == dispatch.attempt_id
        assert trio.current_time() - started < 1
        assert (await node.finish(dispatch, Outcome.CANCELLED)).credited_ucr == 0


async def test_a_killed_gateway_loses_nothing(tmp_path: Path) -> None:
    """Killed with one job done, one running and one queued: all three are credited once after the restart."""
    with trio.fail_after(4 * PATIENCE_S):
        async with process(tmp_path) as (gateway, running):
            operator, token = await gateway.enlist(), await gateway.account()
            async with gateway.http(token) as http, gateway.as_node(operator) as node:
                await node.ready()
                ids = [(await submit(http))["job_id"] for _ in range(3)]
                done = await node.accept()
                assert (await node.finish(done)).credited_ucr == 10_000_000
                held = await node.accept()
                await node.beat(held.attempt_id, free_slots=0)
                running.send_signal(signal.SIGKILL)
                await trio.to_thread.run_sync(running.wait)

        async with process(tmp_path) as (gateway, _):
            async with gateway.http(token) as http, gateway.as_node(operator) as node:
                welcome = await node.greet(held=(held.attempt_id, done.attempt_id))
                assert (welcome.keep, welcome.drop) == ((held.attempt_id,), (done.attempt_id,))
                assert (await node.finish(done)).credited_ucr == 10_000_000  # its acknowledgement might be lost
                assert (await node.finish(held)).credited_ucr == 10_000_000
                await node.beat()
                last = await node.hear(JobDispatch)
                assert (await node.finish(last)).credited_ucr == 10_000_000
                jobs = (await http.get("/jobs")).json()["jobs"]
                assert {job["job_id"]: job["status"] for job in jobs} == dict.fromkeys(ids, "COMPLETED")
                assert [len(job["attempts"]) for job in jobs] == [1, 1, 1]
                assert (await http.get("/account")).json()["balance_ucr"] == 970_000_000
            async with gateway.http(operator.token) as http:
                assert (await http.get("/nodes/me")).json()["balance_ucr"] == 30_000_000


async def test_sigterm_stops_a_gateway_with_a_linked_node(tmp_path: Path) -> None:
    """In order, with exit code 0, and quickly."""
    with trio.fail_after(3 * PATIENCE_S):
        async with process(tmp_path) as (gateway, running):
            operator = await gateway.enlist()
            async with gateway.as_node(operator) as node:
                await node.ready()
                running.terminate()
                assert (await node.closed()).code == CloseCode.RESTARTING
                assert await trio.to_thread.run_sync(running.wait) == 0
    assert not (tmp_path / "gateway.json").exists()


async def test_a_new_token_works_at_once(port_gateway: PortGateway) -> None:
    """Made beside the running gateway, with credits to an account that is there already."""
    await port_gateway.enlist()
    for number in (1, 2):
        token = await trio.to_thread.run_sync(create_token, port_gateway.data_dir, "studio", 5)
        async with port_gateway.http(token) as http:
            assert (await http.get("/account")).json()["balance_ucr"] == 5 * number
