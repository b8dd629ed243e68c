"""``edgeagent config``: what it shows and says, and what it leaves of a file that a person wrote."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from edgeagent.cli import main
from edgeagent.node.options import identity
from edgeagent.node.options.settings import OPTIONS

Run = Callable[..., Result]
WRITTEN = """\
# lent at night
[share]
slots = 2  # the fan

[health]  # for the watchdog
port = 9000
"""


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run a command with a home of its own and without any of our variables."""
    clean = dict.fromkeys([option.env for option in (*OPTIONS, *identity.OPTIONS)], "")

    def invoke(*command: str, **environ: str) -> Result:
        done = CliRunner().invoke(main, ["config", *command], env={**clean, "EDGEAGENT_HOME": str(tmp_path), **environ})
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return done

    return invoke


def _file(tmp_path: Path, content: str = WRITTEN) -> Path:
    (tmp_path / "config.toml").write_text(content)
    return tmp_path / "config.toml"


def test_show_says_every_value_and_where_it_came_from(run: Run, tmp_path: Path) -> None:
    """One line each, with the file, the variable or the default."""
    file = _file(tmp_path)

    shown = run("show", "--origin", LOG_LEVEL="debug").stdout.splitlines()

    lines = {line.split()[0]: " ".join(line.split()[1:]) for line in shown}
    assert {option.key for option in (*OPTIONS, *identity.OPTIONS)} == set(lines)
    assert f"2 ({file})" == lines["share.slots"]
    assert "DEBUG (LOG_LEVEL)" == lines["log.level"]
    assert "5m (default)" == lines["shutdown.grace"]


def test_show_as_json_has_a_schema(run: Run, tmp_path: Path) -> None:
    """The value as TOML would hold it, for scripts."""
    file = _file(tmp_path)

    document = json.loads(run("show", "share.slots", "--json").stdout)

    (option,) = document["options"]
    assert ("edgeagent.config/1", str(tmp_path)) == (document["schema"], document["home"])
    assert ("share.slots", 2, "file", str(file)) == tuple(option[key] for key in ("key", "value", "source", "place"))
    assert ("EDGEAGENT_SHARE_SLOTS", "--share-slots") == (option["env"], option["flag"])


def test_one_value_is_shown_alone(run: Run, tmp_path: Path) -> None:
    """For a shell's $( )."""
    _file(tmp_path)

    assert "9000\n" == run("show", "health.port").stdout


@pytest.mark.parametrize("form", [(), ("--origin",), ("--json",), ("jwt_token",)])
def test_the_token_is_never_shown(run: Run, tmp_path: Path, form: tuple[str, ...]) -> None:
    """Only whether there is one, and where."""
    (tmp_path / "config.json").write_text('{"jwt_token": "secret-in-file"}')

    shown = run("show", *form).output + run("show", *form, NODE_JWT="secret-in-variable").output

    assert "secret-in" not in shown
    assert "(set, not shown)" in shown


def test_set_keeps_comments_and_order(run: Run, tmp_path: Path) -> None:
    """A new section goes to the end, a new option to the end of its section."""
    file = _file(tmp_path)

    for key, value in (("share.slots", "3"), ("share.memory", "8GiB"), ("gpu.per_job", "{ render = 1 }")):
        assert 0 == run("set", key, value).exit_code

    expected = WRITTEN.replace("slots = 2", "slots = 3").replace("the fan\n", 'the fan\nmemory = "8G"\n')
    assert expected.split() == file.read_text()[: len(expected)].split()
    assert "3\n" == run("show", "share.slots").stdout
    assert "{ render = 1 }\n" == run("show", "gpu.per_job").stdout
    assert 0 == run("validate").exit_code


def test_set_makes_a_file_for_its_owner_alone(run: Run, tmp_path: Path) -> None:
    """Where there was none."""
    assert 0 == run("set", "schedule.windows", "mon-fri 18:00-08:00; sat,sun").exit_code

    assert '["mon-fri 18:00-08:00", "sat,sun"]\n' == run("show", "schedule.windows").stdout
    assert 0o600 == (tmp_path / "config.toml").stat().st_mode & 0o777


def test_unset_brings_the_default_back(run: Run, tmp_path: Path) -> None:
    """The rest of the file stays; doing it twice is harmless."""
    file = _file(tmp_path)

    assert (0, 0) == (run("unset", "health.port").exit_code, run("unset", "health.port").exit_code)

    assert "8081\n" == run("show", "health.port").stdout
    assert "# lent at night\n[share]\nslots = 2  # the fan\n" in file.read_text()


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (("set", "health.prot", "1"), "health.prot is no option; did you mean health.port?"),
        (("set", "xyzzy", "1"), "xyzzy is no option; edgeagent config show lists all"),
        (("unset", "memory"), "did you mean share.memory?"),
        (("show", "slots"), "did you mean share.slots?"),
        (("set", "health.port", "none"), "health.port: 'none' is not allowed; it must be a whole number from 0"),
        (("set", "jwt_token", "x"), "jwt_token belongs to the node's identity: set NODE_JWT"),
        (("set", "schedule.windows", "noon"), "'noon' is not a window like"),
    ],
)
def test_what_cannot_be_is_said_and_changes_nothing(
    run: Run, tmp_path: Path, command: tuple[str, ...], says: str
) -> None:
    """Exit code 2 and one line."""
    file = _file(tmp_path)

    done = run(*command)

    assert (2, WRITTEN) == (done.exit_code, file.read_text())
    assert says in " ".join(done.stderr.split())


def test_a_variable_that_hides_what_was_set_is_named(run: Run) -> None:
    """Or one would wonder why nothing changes."""
    assert "HEALTH_PORT is set in this environment" in run("set", "health.port", "1", HEALTH_PORT="2").stderr


def test_validate_lists_every_fault(run: Run, tmp_path: Path) -> None:
    """In both files and the environment; exit code 2."""
    _file(tmp_path, "[health]\nport = -1\nprot = 1\n")
    (tmp_path / "config.json").write_text('{"gateway_url": 5}')

    done = run("validate", LOG_LEVEL="LOUD")

    assert 2 == done.exit_code
    for part in ("health.port is -1", "health.prot is no option", "LOG_LEVEL is 'LOUD'", "gateway_url is 5"):
        assert part in done.stderr


def test_validate_knows_how_many_processors_there_are(run: Run) -> None:
    """What no start of the node on this machine would take is found before one."""
    done = run("validate", EDGEAGENT_SHARE_CORES="1024")

    assert 2 == done.exit_code
    assert "Error: share.cores is 1024, and there are " in done.stderr


def test_a_secret_for_s3_that_others_can_read_is_a_mistake(run: Run, tmp_path: Path) -> None:
    """The node would not start with it."""
    keys = tmp_path / "s3.keys"
    keys.write_text("id\nsecret\n")
    keys.chmod(0o644)
    run("set", "fetch.s3_keys", str(keys))

    done = run("validate")

    assert (2, True) == (done.exit_code, f"type: chmod 600 {keys}" in done.stderr)


@pytest.mark.parametrize("command", [("set", "health.port", "1"), ("unset", "health.port"), ("show",), ("validate",)])
@pytest.mark.parametrize("content", ["[health", "health = 1", "\x00"])
def test_a_broken_file_is_left_alone(run: Run, tmp_path: Path, command: tuple[str, ...], content: str) -> None:
    """One line with its name."""
    file = _file(tmp_path, content)

    done = run(*command)

    assert (2, content) == (done.exit_code, file.read_text())
    assert str(file) in done.stderr


def test_path_says_where_the_file_would_be(run: Run, tmp_path: Path) -> None:
    """For an editor: ``$EDITOR $(edgeagent config path)``."""
    assert f"{tmp_path / 'config.toml'}\n" == run("path").stdout
