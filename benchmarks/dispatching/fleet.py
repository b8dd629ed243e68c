"""Simulated nodes and a submitter: real connections, the real protocol, and jobs that are done when they arrive.

A node accepts what it is sent with one frame and gives the results with the next, both as arrays, as the protocol
allows.  Everything runs in one loop of the benchmark's own process, made to cost a fraction of what it measures; what
it does cost is in the figures (``Window.load_share``).
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import orjson

from benchmarks.dispatching import frames
from benchmarks.dispatching.channels import Channel, Loop
from benchmarks.dispatching.stage import Member, Served
from benchmarks.dispatching.window import Window
from benchmarks.harness import BenchmarkError

JOB_TYPE = "cpu_benchmark"  # it has a price: each job is paid for
SLOTS = 8
#: Connections that are opened at the same time.
_OPENING = 32
_START_S = 120.0
_BEAT_S = 15.0
#: Most jobs in one request.
MAX_BATCH = 1000

_HELLO = {
    "type": "hello",
    "version": "0",
    "capabilities": [JOB_TYPE],
    "slots": SLOTS,
    "memory_bytes": SLOTS << 30,
    "sandbox_tier": "A",
}
_ACCEPT = b'{"type":"job_accept","attempt_id":"%b"}'
# As long as a real one: what held the job in takes most of it.
_RESULT = (
    b'{"type":"job_result","job_id":"%b","attempt_id":"%b","outcome":"completed","detail":"","value":{"primes":9592},'
    b'"result_ref":null,"outputs":[],"usage":{"wall_s":0.0123,"cpu_s":0.0101,"memory_peak_bytes":9437184},"sandbox":'
    b'{"tier":"A","enforced":["user namespace","mount namespace","pid namespace","network namespace","ipc namespace",'
    b'"system call filter","landlock","memory limit","process limit","capabilities"],"not_enforced":{}}}'
)


class Node:
    """One simulated node on its link."""

    def __init__(self, fleet: Fleet, member: Member) -> None:
        self._fleet, self._member = fleet, member
        self._head: bytes | None = b""  # of the handshake's answer, until that is complete
        self._reader = frames.Reader()
        self.welcomed = False
        self._channel = Channel(fleet.loop, fleet.served.address, self)
        host, port = fleet.served.address
        self._channel.send(
            f"GET /api/v1/relay/ws/{member.node_id} HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Protocol: edge-relay.v1\r\nAuthorization: Bearer {member.token}\r\n\r\n".encode()
        )

    def heard(self, data: bytes) -> None:
        """Take what arrived."""
        if self._head is not None:
            self._head += data
            head, end, data = self._head.partition(b"\r\n\r\n")
            if not end:
                return
            if not head.startswith(b"HTTP/1.1 101"):
                raise BenchmarkError(f"the gateway refused a link: {head.splitlines()[0].decode()}")
            self._head = None
            self.say(orjson.dumps(_HELLO))
        try:
            for frame in self._reader.feed(data):
                document = orjson.loads(frame)
                self._act(document if isinstance(document, list) else [document])
        except frames.ClosedError as problem:
            raise BenchmarkError(f"the gateway closed a link: {problem}") from None

    def gone(self) -> None:
        """The link is lost, which none of these may be."""
        raise BenchmarkError(f"the gateway closed the link of node {self._member.node_id}")

    def say(self, *messages: bytes) -> None:
        """Send messages in one frame."""
        self._channel.send(frames.text(messages[0] if len(messages) == 1 else b"[%b]" % b",".join(messages)))

    def beat(self, seq: int) -> None:
        """Say that it is alive."""
        self.say(b'{"type":"heartbeat","seq":%d,"load":0.0,"free_slots":%d,"running":[]}' % (seq, SLOTS))

    def _act(self, messages: list[dict[str, object]]) -> None:
        accepts, results = [], []
        for message in messages:
            match message["type"]:
                case "job_dispatch":
                    attempt_id = str(message["attempt_id"])
                    self._fleet.dispatched(attempt_id, message["payload"])
                    accepts.append(_ACCEPT % attempt_id.encode())
                    results.append(_RESULT % (str(message["job_id"]).encode(), attempt_id.encode()))
                case "job_result_ack":
                    self._fleet.credited(str(message["attempt_id"]), message["credited_ucr"])
                case "welcome":
                    self.welcomed = True
                    self.beat(1)
                case "heartbeat_ack":
                    self._fleet.healthy.add(self._member.node_id)
                case kind:
                    raise BenchmarkError(f"the gateway said {kind} to a node: {message}")
        if accepts:
            self.say(*accepts)
            self.say(*results)


class Submitter:
    """One connection of a submitter's, with one request at a time."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._channel: Channel | None = None
        self._answer = b""
        self.waits = False

    def submit(self, count: int | None) -> None:
        """Post a batch of jobs; None posts one job by itself."""
        job = {"job_type": JOB_TYPE, "payload": {"limit": 100_000, "at": time.perf_counter()}}
        body = orjson.dumps(job if count is None else {"jobs": [job] * count})
        host, port = self._fleet.served.address
        if self._channel is None:
            self._channel = Channel(self._fleet.loop, (host, port), self)
        self._channel.send(
            f"POST /api/v1/jobs{'' if count is None else '/batch'} HTTP/1.1\r\nHost: {host}:{port}\r\nAuthorization: "
            f"Bearer {self._fleet.served.token}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
            "\r\n".encode()
            + body
        )
        self._answer, self.waits = b"", True

    def heard(self, data: bytes) -> None:
        """Take what arrived of an answer."""
        self._answer += data
        head, end, body = self._answer.partition(b"\r\n\r\n")
        if not end:
            return
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
        if len(body) < int(fields[b"content-length"]):
            return
        if not head.startswith(b"HTTP/1.1 201"):
            raise BenchmarkError(f"the gateway refused jobs: {body.decode(errors='replace')[:200]}")
        self.waits = False

    def gone(self) -> None:
        """The connection was quiet for too long; the next request opens another."""
        if self.waits:
            raise BenchmarkError("the gateway closed a connection that waits for an answer")
        self._channel = None


class Fleet:
    """All simulated nodes of one gateway, with a submitter beside them."""

    def __init__(self, served: Served) -> None:
        self.served = served
        self.loop = Loop()
        self.healthy: set[str] = set()
        self._nodes: list[Node] = []
        self._sent_at: dict[str, float] = {}
        self._latencies_s: list[float] = []
        self._credited = 0
        self._seq = 1
        self._beat_at = time.monotonic() + _BEAT_S

    def open(self, members: Sequence[Member]) -> None:
        """Link these nodes too, and wait until each is HEALTHY."""
        for member in members:
            self._nodes.append(Node(self, member))
            if len(self._nodes) - len(self.healthy) >= _OPENING:
                self._wait_for(len(self._nodes) - _OPENING // 2)
            self.beat()
        self._wait_for(len(self._nodes))

    def _wait_for(self, count: int) -> None:
        def done() -> bool:
            self.beat()  # those that are linked must not fall silent meanwhile
            return len(self.healthy) >= count

        self.loop.run(done, _START_S, f"{count} nodes to become healthy")

    def beat(self) -> None:
        """Say the heartbeats of all nodes that are linked, where they are due."""
        if time.monotonic() >= self._beat_at:
            self._seq += 1
            self._beat_at += _BEAT_S
            for node in self._nodes:
                if node.welcomed:
                    node.beat(self._seq)

    def close(self) -> None:
        """Cut all links."""
        self.loop.close()

    def dispatched(self, attempt_id: str, payload: object) -> None:
        """A node got a job."""
        assert isinstance(payload, dict)
        self._sent_at[attempt_id] = payload.get("at", 0.0)

    def credited(self, attempt_id: str, credited_ucr: object) -> None:
        """A node has heard that its result is stored and paid for."""
        if not credited_ucr:
            raise BenchmarkError("the gateway did not credit a result")
        self._credited += 1
        sent_at = self._sent_at.pop(attempt_id)
        if sent_at:
            self._latencies_s.append(time.perf_counter() - sent_at)

    def work(self, window_s: float, *, waiting: int, singly: int = 0, seeded: int = 0) -> Window:
        """Have jobs done for a while, always so many submitted and not credited; measured once it runs.

        Args:
            waiting: jobs that are open at the same time.
            singly: connections that post one job by itself at a time; 0 posts batches over one.
            seeded: jobs that the queue has already.
        """
        submitters = [Submitter(self) for _ in range(singly or 1)]
        batch = 1 if singly else max(1, min(MAX_BATCH, waiting // 2))
        submitted = seeded

        def serve() -> None:
            nonlocal submitted
            for submitter in submitters:
                if not submitter.waits and submitted - self._credited + batch <= waiting:
                    submitter.submit(None if singly else batch)
                    submitted += batch
            self.loop.turn(0.05)

        def serve_until(count: int, end: float) -> None:
            within = max(end, time.monotonic() + _START_S)
            while self._credited < count or time.monotonic() < end:
                serve()
                if time.monotonic() > within:
                    raise BenchmarkError(f"only {self._credited} jobs were credited, not {count}")

        serve_until(min(waiting, MAX_BATCH), 0.0)
        self._latencies_s.clear()
        credited, server_s, own_s, started = self._credited, self.served.cpu_s(), time.process_time(), time.monotonic()
        serve_until(credited + 1, started + window_s)
        took_s, done = time.monotonic() - started, self._credited - credited
        return Window(
            jobs_per_s=done / took_s,
            latencies_s=list(self._latencies_s),
            server_cpu_s=(self.served.cpu_s() - server_s) / done,
            load_share=(time.process_time() - own_s) / took_s,
        )
