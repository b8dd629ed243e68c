"""The name of the gateway cannot be looked up for a while: the link waits, says so, and comes back."""

from __future__ import annotations

import random
import socket
from typing import Any

import trio
from loopback_gateway import Gateway, serve
from structlog.testing import capture_logs
from test_node_link import RecordingNode

from edgeagent.node.backoff import Backoff
from edgeagent.node.outbox import Outbox
from edgeagent.node.relay import Relay
from edgeagent.node.session import Session
from edgeagent.node.transport import connect

NAME = "gateway.example.com"
FAULTS = [
    socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"),
    socket.gaierror(socket.EAI_NONAME, "Name or service not known"),
]


class Names(trio.abc.HostnameResolver):
    """What answers for DNS: first its faults, then the machine itself."""

    def __init__(self) -> None:
        self.faults = list(FAULTS)

    async def getaddrinfo(self, host: Any, port: Any, *_: Any, **__: Any) -> Any:
        await trio.lowlevel.checkpoint()
        assert NAME.encode() == host
        if self.faults:
            raise self.faults.pop(0)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    async def getnameinfo(self, sockaddr: Any, flags: int) -> tuple[str, str]:
        raise NotImplementedError


async def test_a_link_without_dns_waits_and_comes_back(nursery: trio.Nursery) -> None:
    """Over real sockets; each try that found no name is one line that says so in the system's words."""
    gateway: Gateway = await serve(nursery)
    trio.socket.set_custom_hostname_resolver(names := Names())  # of this run of trio alone
    url = gateway.url.relay("n1").replace("127.0.0.1", NAME)
    assert NAME in url
    node = RecordingNode()
    backoff = Backoff(random.Random(1), first_s=0.01, longest_s=0.01)
    relay = Relay(lambda: connect(url, "the-token"), Session(node, Outbox()), node, backoff)

    with capture_logs() as logs, trio.fail_after(60):
        nursery.start_soon(relay.run)
        await (await gateway.accept()).welcome()
        while not relay.is_up():  # noqa: ASYNC110 (the Welcome is on its way)
            await trio.sleep(0.01)

    assert [] == names.faults
    assert [("Gateway not reached, trying again", fault.strerror) for fault in FAULTS] == [
        (each["event"], each["reason"]) for each in logs if "retry_s" in each
    ]
