"""Who a client is behind proxies: what trusted ones say, and nothing that anybody else does."""

from __future__ import annotations

import ipaddress
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from scripted import on_a_port, refused

from edgeagent.cli import main
from edgeagent.gateway.ceilings import Ceilings
from edgeagent.gateway.proxies import Address, client_of

TRUSTED = (ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("fd00::/8"))


def _is_stranger(address: Address) -> bool:
    return not any(address in network for network in TRUSTED) and getattr(address, "ipv4_mapped", None) is None


proxies = st.sampled_from(TRUSTED).flatmap(lambda network: st.ip_addresses(network=network)).map(str)
strangers = st.ip_addresses().filter(_is_stranger).map(str)
#: What a client may send by itself.
made_up = st.lists(st.one_of(proxies, strangers, st.text(st.characters(codec="ascii"), max_size=20)), max_size=4)


@given(made_up=made_up, client=strangers, chain=st.lists(proxies, min_size=1, max_size=4), split=st.integers(0, 4))
def test_the_client_is_the_right_most_address_that_is_not_trusted(
    made_up: list[str], client: str, chain: list[str], split: int
) -> None:
    """Whatever it sent itself, and however the proxies spread what they add over headers."""
    added = [client, *chain[:-1]]
    parts = [made_up, added[:split], added[split:]]

    assert client_of(chain[-1], [", ".join(part) for part in parts if part], TRUSTED) == client


@given(peer=strangers, headers=made_up)
def test_nobody_else_is_believed(peer: str, headers: list[str]) -> None:
    """Who is not trusted is the client, whatever it says."""
    assert client_of(peer, headers, TRUSTED) == peer


@pytest.mark.parametrize(
    ("peer", "headers", "client"),
    [
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ("10.0.0.1", ["1.1.1.1, unknown"], "10.0.0.1"),
        ("10.0.0.1", ["1.1.1.1, , 10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", ["6.6.6.6, 1.1.1.1:4711"], "1.1.1.1"),
        ("10.0.0.1", ["[2001:db8::1]:4711"], "2001:db8::1"),
        ("::ffff:10.0.0.1", ["::ffff:1.1.1.1"], "1.1.1.1"),
        ("", ["1.1.1.1"], ""),
    ],
)
def test_what_proxies_write_is_understood(peer: str, headers: list[str], client: str) -> None:
    """Ports, brackets, IPv4 in IPv6; what is no address ends the list where it is."""
    assert client_of(peer, headers, TRUSTED) == client


@pytest.mark.parametrize(("proxy", "passed"), [("127.0.0.0/8", 3), ("10.0.0.0/8", 1)])
async def test_the_limit_counts_clients_behind_a_trusted_proxy(tmp_path: Path, proxy: str, passed: int) -> None:
    """Each its own; without trust all that comes from one address is one client, whatever its headers say."""
    networks = (ipaddress.ip_network(proxy),)
    # One of each at first, and the next after many minutes.
    async with (
        on_a_port(tmp_path, trusted_proxies=networks, ceilings=Ceilings(registrations_each=0.1)) as gateway,
        gateway.http() as http,
    ):
        clients = ("1.1.1.1", "2.2.2.2", "3.3.3.3", "9.9.9.9, 1.1.1.1")
        sent = [{"X-Forwarded-For": client} for client in clients]
        answers = [await http.post("/nodes/register", content=b"{}", headers=one) for one in sent]
    assert [one.status_code for one in answers] == [422] * passed + [429] * (4 - passed)
    refused(answers[-1], 429, "too many")


def test_what_is_no_network_is_one_line() -> None:
    """With exit code 2 and an example."""
    done = CliRunner().invoke(main, ["gateway", "run", "--data", "x", "--trusted-proxy", "10.0.0.1/8"])
    assert (done.exit_code, done.stdout) == (2, "")
    assert "has host bits set; write for example 10.0.0.5" in " ".join(done.stderr.split())
