"""TLS on the gateway's own port: REST and links over it, what it refuses, and files that are no certificate."""

from __future__ import annotations

import ssl
from contextlib import suppress
from pathlib import Path

import pytest
import trio
from certificates import make
from click.testing import CliRunner
from scripted import PATIENCE_S, on_a_port, submit

from edgeagent.cli import main
from edgeagent.gateway import tls
from edgeagent.wire.messages import Outcome


async def test_rest_and_the_link_work_over_tls(tmp_path: Path) -> None:
    """A job goes through, with a certificate that the clients check; the gateway stops in order."""
    pair = make(tmp_path, "own")
    async with on_a_port(tmp_path / "data", tls=pair) as gateway:
        gateway.trust = pair.trust()
        assert gateway.url.startswith("https://127.0.0.1:")
        operator = await gateway.enlist()
        async with gateway.http(await gateway.account()) as http, gateway.as_node(operator) as node:
            await node.ready()
            job = (await submit(http, payload={"scene": "x" * 100_000}))["job_id"]
            await node.finish(await node.accept(), value={"pixels": "y" * 100_000})
            result = (await http.get(f"/jobs/{job}/result")).json()
            assert (result["outcome"], len(result["value"]["pixels"])) == (Outcome.COMPLETED.value, 100_000)


async def test_a_peer_that_does_not_speak_tls_is_cut_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Plain HTTP, and one that begins a handshake and says no more; others are served meanwhile."""
    monkeypatch.setattr("edgeagent.gateway.asgi.HANDSHAKE_S", 2.0)
    pair = make(tmp_path, "own")
    async with on_a_port(tmp_path / "data", tls=pair) as gateway:
        gateway.trust = pair.trust()
        host, port = gateway.url.removeprefix("https://").split(":")
        with trio.fail_after(PATIENCE_S):
            for said in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16"):
                async with await trio.open_tcp_stream(host, int(port)) as plain:
                    await plain.send_all(said)
                    with suppress(trio.BrokenResourceError):  # reset, where it had not read everything
                        assert b"HTTP/1.1" not in b"".join([bytes(piece) async for piece in plain])
        async with gateway.http(prefix="") as http:
            assert (await http.get("/health")).status_code == 200


async def test_a_peer_that_speaks_tls_1_1_is_cut_alone(tmp_path: Path) -> None:
    """The gateway hangs up at once, with all the patience that it has for a handshake; others are served."""
    pair = make(tmp_path, "own")
    async with on_a_port(tmp_path / "data", tls=pair) as gateway:
        gateway.trust = pair.trust()
        host, port = gateway.url.removeprefix("https://").split(":")
        old = pair.trust()
        old.set_ciphers("DEFAULT:@SECLEVEL=0")
        with pytest.warns(DeprecationWarning, match="TLSv1_1 is deprecated"):
            old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
        with trio.fail_after(PATIENCE_S), pytest.raises(trio.BrokenResourceError) as refusal:
            async with await trio.open_ssl_over_tcp_stream(host, int(port), ssl_context=old) as stream:
                await stream.do_handshake()
        # The gateway hung up, which OpenSSL tells in two ways; a client that had refused by itself would say neither.
        cause = refusal.value.__cause__
        assert isinstance(cause, ssl.SSLError)
        assert isinstance(cause, ssl.SSLZeroReturnError) or cause.reason == "UNEXPECTED_EOF_WHILE_READING"
        async with gateway.http(prefix="") as http:
            assert (await http.get("/health")).status_code == 200


@pytest.mark.parametrize(
    ("certificate", "key", "complaint"),
    [
        ("own.crt", "other.key", "is not that of the certificate"),
        ("own.crt", "missing.key", "cannot read"),
        ("missing.crt", "own.key", "cannot read"),
        ("own.key", "own.crt", "are not a certificate and its key in PEM"),
        ("own.crt", "locked.key", "is encrypted"),
        ("own.crt", None, "needs both files"),
        (None, "own.key", "needs both files"),
    ],
)
def test_files_that_do_not_serve_are_one_line(
    tmp_path: Path, certificate: str | None, key: str | None, complaint: str
) -> None:
    """And exit code 2, before anything is made."""
    make(tmp_path, "own")
    make(tmp_path, "other")
    make(tmp_path, "locked", b"secret")
    command = ["gateway", "run", "--data", str(tmp_path / "data"), "--port", "0"]
    for option, name in (("--tls-cert", certificate), ("--tls-key", key)):
        command += [option, str(tmp_path / name)] if name else []
    done = CliRunner().invoke(main, command)
    assert (done.exit_code, done.stdout) == (2, "")
    assert complaint in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "data").exists()


def test_no_less_than_tls_1_2_is_spoken(tmp_path: Path) -> None:
    """And nothing but HTTP/1.1 over it."""
    assert tls.server_context(*make(tmp_path, "own")).minimum_version is ssl.TLSVersion.TLSv1_2
