"""What a person can get wrong before anything runs: one line on stderr, the right exit code, no traceback."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from edgeagent.cli import main


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Run a command with a home of its own and without any of our variables."""
    for name in ("GATEWAY_URL", "NODE_JWT", "NODE_ID", "LOG_LEVEL", "HEALTH_PORT", "EDGEAGENT_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("EDGEAGENT_HOME", str(tmp_path / "home"))

    def invoke(*command: str, **environ: str) -> Result:
        result = CliRunner().invoke(main, command, env=environ, catch_exceptions=True)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        assert "Traceback" not in result.output
        return result

    return invoke


@pytest.mark.parametrize(
    "command", [(), ("register",), ("run",), ("job",), ("job", "submit"), ("files",), ("gateway",), ("demo",)]
)
def test_every_command_explains_itself(run, command: tuple[str, ...]) -> None:
    """--help works everywhere and says what the command does."""
    result = run(*command, "--help")

    assert result.exit_code == 0
    assert "Usage: " in result.stdout


def test_an_unknown_command_is_a_usage_error(run) -> None:
    """Exit code 2 for what is not there."""
    assert run("fly").exit_code == 2


def test_the_version_is_the_packages(run) -> None:
    """--version prints one line for scripts."""
    from edgeagent import __version__

    assert run("--version").stdout == f"edgeagent {__version__}\n"


@pytest.mark.parametrize(
    ("command", "complaint"),
    [
        (("register", "--gateway-url", "gateway.example.com", "--name", "n"), "is not a gateway's address"),
        (("register", "--name", "n"), "--gateway-url"),
        (("job", "submit", "echo"), "set EDGEAGENT_TOKEN"),
        (("job", "submit", "echo", "--payload", "[1]"), "a payload is a JSON object"),
        (("job", "submit", "echo", "--payload", "{"), "not JSON"),
        (("job", "submit", "echo", "--payload", "@missing.json"), "cannot read missing.json"),
        (("job", "submit", "echo", "--output", "x"), "--output needs --wait"),
        (("files", "list"), "set EDGEAGENT_TOKEN"),
        (("gateway", "run", "--data", "x", "--port", "99999"), "--port"),
        (("gateway", "run", "--data", "x", "--quota", "much"), "is not a size"),
        (("gateway", "run", "--data", "x", "--keep-outputs", "0"), "must be kept for some time"),
        (
            ("gateway", "token", "create", "--data", "x", "--name", "n", "--credits", "many"),
            "is not a number of credits",
        ),
        (("gateway", "token", "create", "--data", "x", "--name", "n", "--credits", "-5"), "cannot be negative"),
    ],
)
def test_what_makes_no_sense_is_exit_code_2(run, command: tuple[str, ...], complaint: str) -> None:
    """The line on stderr names what is wrong; stdout stays empty."""
    result = run(*command)

    assert result.exit_code == 2
    assert complaint in " ".join(result.stderr.split())
    assert result.stdout == ""


def test_an_unknown_log_level_is_named(run) -> None:
    """LOG_LEVEL is checked before anything starts."""
    result = run("run", LOG_LEVEL="LOUD")

    assert result.exit_code == 2
    assert "it must be one of DEBUG, INFO, WARNING, ERROR" in result.stderr


def test_nobody_at_the_gateways_address_is_exit_code_4(run, tmp_path: Path) -> None:
    """Registering with a gateway that does not answer says so and leaves no identity behind."""
    result = run("register", "--gateway-url", "http://127.0.0.1:1", "--name", "n")

    assert result.exit_code == 4
    assert "http://127.0.0.1:1" in result.stderr
    assert not list((tmp_path / "home").glob("*.pem"))


def test_a_token_that_is_no_token_is_not_sent(run, tmp_path: Path) -> None:
    """A file with something else in it is recognised before it goes over the network."""
    (tmp_path / "token").write_text("two\nlines")

    result = run("job", "--token-file", str(tmp_path / "token"), "list")

    assert result.exit_code == 2
    assert "was the right file named" in result.stderr


def test_a_token_is_printed_once_and_as_json(run, tmp_path: Path) -> None:
    """``gateway token create`` prints the token alone, or a document with a schema."""
    command = ("gateway", "token", "create", "--data", str(tmp_path / "data"), "--name", "studio", "--credits", "1000")

    plain = run(*command).stdout.strip()
    document = json.loads(run(*command, "--json").stdout)

    assert plain.startswith("ea_")
    assert document["schema"] == "edgeagent.token/1"
    assert document["token"] not in ("", plain)
    assert document["granted_ucr"] == 1_000_000_000
    data = ("--data", str(tmp_path / "data"), "--json")
    assert json.loads(run("gateway", "token", "revoke", *data, document["name"]).stdout)["changed"]


def _groups(group: click.Group = main, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield path
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from _groups(command, (*path, name))


@pytest.mark.parametrize("group", list(_groups()), ids=" ".join)
def test_no_command_is_described_in_half_a_sentence(run, group: tuple[str, ...]) -> None:
    """What does not fit on the line goes on on the next one."""
    assert "..." not in run(*group, "--help").stdout.partition("Commands:")[2]
