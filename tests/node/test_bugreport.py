"""A bug report tells much of a node, and none of its secrets."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from edgeagent.cli import main
from edgeagent.node import files, journal
from edgeagent.node.redaction import REMOVED, redact
from edgeagent.wire import identity

JWT = "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJub2RlIn0.c2lnbmF0dXJl"


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        (f"the token {JWT} was refused", JWT),
        ("token ea_0123456789abcdef", "ea_0123456789abcdef"),
        ("at https://anna:hunter22@host/x", "hunter22"),
        ("GET /relay?token=abcdef HTTP/1.1", "abcdef"),
        ("Authorization: Bearer abc.def", "abc.def"),
        ("Proxy-Authorization: Basic Y2Fyb2w6cGFzcw==", "Y2Fyb2w6cGFzcw"),
        ("clone https://only-a-token@host/x", "only-a-token"),
        ("at https://anna:p@ss@host/x", "p@ss"),
        ("AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG", "wJalrXUtnFEMI"),
        ("access_token=abc123, then", "abc123"),
        ("api-key: 'abc 123'", "123"),
        (json.dumps({"reason": json.dumps({"password": "hunter22 and more"})}), "hunter22"),
        ("the key AKIAIOSFODNN7EXAMPLE", "AKIAIOSFODNN7EXAMPLE"),
        ("posts to https://hooks.slack.com/services/T0/B0/abcd", "abcd"),
        ("posts to https://discord.com/api/webhooks/1/abcd", "abcd"),
        ('{"password": "hunter22"}', "hunter22"),
        ("https://s3/x?X-Amz-Signature=0123abcd&b=1", "0123abcd"),
        ("-----BEGIN PRIVATE KEY-----\nMC4CAQ\n-----END PRIVATE KEY-----", "MC4CAQ"),
    ],
)
def test_what_looks_like_a_secret_is_removed(text: str, secret: str) -> None:
    """Nobody need have known it."""
    found = redact(text)

    assert secret not in found
    assert REMOVED in found


@pytest.mark.parametrize(
    "text",
    [
        "PASS  token: the token is good for 23h",
        "jwt_token = (not set)  (default)",
        "jwt_token = (set, not shown)  (/home/config.json)",
        "the upload's signature: wrong",
        "https://gateway.example.com/api/v1",
        "ask anna@example.com",
        "2 tokens, 3 secrets; basic needs",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    """A report without what it is about helps nobody."""
    assert text == redact(text)


def test_what_is_known_is_removed_wherever_it_stands() -> None:
    """Each line of a key by itself; what is no secret stays."""
    assert f"a {REMOVED} b {REMOVED}; the node's tokens" == redact(
        "a first-line b second-line; the node's tokens", ["first-line\nsecond-line\nb"]
    )


@pytest.mark.needs("sandbox")
def test_no_secret_of_the_node_is_in_its_report(tmp_path: Path) -> None:
    """Planted in its key, configuration, environment and log; the rest is all there."""
    home = tmp_path / "home"
    (home / journal.DIRECTORY).mkdir(parents=True)
    key = identity.new_private_key()
    token = identity.issue_node_token(key, "k", "00000000-0000-4000-8000-000000000001", ("echo",), time.time())
    (home / files.PRIVATE_KEY).write_bytes(key)
    (home / "s3.keys").write_text("planted-key-id\nplanted-s3-secret\n")
    (home / "config.toml").write_text(f'[fetch]\ns3_keys = "{home / "s3.keys"}"\n')
    files.write_config(home, {"gateway_url": "http://127.0.0.1:9", "jwt_token": token})
    line = key.decode().splitlines()[1]
    said = {"event": "Job failed", "reason": f"odd {line} {token} planted-join-token planted-s3-secret {'long' * 200}"}
    (home / journal.DIRECTORY / journal.FILE).write_text(json.dumps(said) + "\n")
    output = tmp_path / "report.txt"
    env = {"EDGEAGENT_HOME": str(home), "EDGEAGENT_JOIN_TOKEN": "planted-join-token", "MY_SECRET": "long" * 200}

    done = CliRunner().invoke(main, ["bugreport", "--output", str(output)], env=env)
    again = CliRunner().invoke(main, ["bugreport", "--output", str(output)], env=env)

    report = output.read_text()
    assert (0, 1, 0o600) == (done.exit_code, again.exit_code, output.stat().st_mode & 0o777)
    for secret in (line, token, token.split(".")[2], "planted-join-token", "planted-s3-secret", "longlong"):
        assert secret not in report
    for words in ("## Versions", "## Doctor", "## Status", "no node runs", "share.slots", "Job failed", "httpx2"):
        assert words in report
