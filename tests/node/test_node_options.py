"""Every option, from every source: flag over environment over file over default, walked through the whole table."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tomlkit
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from edgeagent.cli import main
from edgeagent.errors import UsageError
from edgeagent.node import config, service
from edgeagent.node.options import identity
from edgeagent.node.options.declare import Option, say
from edgeagent.node.options.resolve import Source, load, resolve_home
from edgeagent.node.options.settings import OPTIONS, Settings, build
from edgeagent.wire.identity import issue_node_token, new_private_key

#: Three different values for each option, as a variable or a flag holds them: for the file, the variable and the flag.
VALUES: dict[str, tuple[str, str, str]] = {
    "share.slots": ("3", "5", "7"),
    "share.cores": ("2", "1.5", "0.5"),
    "share.memory": ("4G", "512M", "1T"),
    "share.upload": ("1M", "512K", "8M"),
    "share.download": ("1M", "512K", "8M"),
    "gpu.lend": ("GPU-1", "GPU-1,GPU-2", "[]"),
    "gpu.exclude": ("GPU-1", "GPU-2", "GPU-3,GPU-4"),
    "gpu.jobs_each": ("2", "3", "4"),
    "gpu.per_job": ("{ render = 1 }", "{ render = 2, mine = 1 }", "{}"),
    "gpu.only_for": ('{ GPU-1 = ["render"] }', '{ GPU-1 = ["a", "b"] }', "{ GPU-2 = [] }"),
    "capabilities.offer": ("render", "[]", "render,inference"),
    "capabilities.deny": ("echo", "cpu_benchmark", "[]"),
    "limits.wall": ("5m", "1h30m", "90"),
    "limits.cpu": ("5m", "1h", "2d"),
    "limits.memory": ("1G", "2G", "none"),
    "limits.pids": ("10", "20", "30"),
    "limits.scratch": ("1G", "2G", "3G"),
    "limits.tmp": ("1M", "2M", "3M"),
    "limits.output": ("1M", "2M", "3M"),
    "limits.by_type": ('{ render = { memory = "8G" } }', '{ render = { wall = "1h", pids = 5 } }', "{ echo = {} }"),
    "schedule.windows": ("mon-fri 18:00-08:00; sat,sun", "daily", "always"),
    "schedule.by_type": ('{ render = ["22:00-06:00"] }', '{ echo = ["daily"] }', "{ render = [] }"),
    "schedule.timezone": ("Europe/Berlin", "America/New_York", "UTC"),
    "pause.battery": ("true", "0", "1"),
    "pause.activity": ("5m", "1h", "90s"),
    "pause.load": ("25", "50", "99"),
    "shutdown.grace": ("1m", "1h", "30s"),
    "shutdown.refused": ("1m", "1h", "30s"),
    "sandbox.allow_tier_c": ("true", "0", "true"),
    "sandbox.warm": ("1", "0", "64"),
    "log.level": ("DEBUG", "warning", "ERROR"),
    "health.host": ("0.0.0.0", "::1", "192.0.2.1"),
    "disk.floor": ("1G", "2G", "500M"),
    "disk.cache": ("1G", "2G", "500M"),
    "disk.spool": ("1G", "2G", "500M"),
    "fetch.time": ("1m", "5m", "2h"),
    "fetch.private": ("true", "0", "1"),
    "fetch.s3_endpoint": ("https://s3.example.com", "http://127.0.0.1:9000", "https://other.example.com"),
    "fetch.s3_region": ("eu-central-1", "eu-west-1", "us-west-2"),
    "fetch.s3_keys": ("/a", "/b", "/c"),
    "health.port": ("1234", "0", "65535"),
    "health.names": ("a.example.com", "b.example.com,c", "[]"),
    "gateway_url": ("https://file.example.com", "https://env.example.com", "https://flag.example.com"),
    "node_id": ("file", "env", "flag"),
    "jwt_token": ("file", "env", ""),
}
TABLE = (*OPTIONS, *identity.OPTIONS)
GUIDE = {"GATEWAY_URL", "NODE_JWT", "NODE_ID", "LOG_LEVEL", "HEALTH_PORT"}


def _write(home: Path, option: Option, plain: Any) -> Path:
    """Put one option where its file has it, as its owner would."""
    if option in identity.OPTIONS:
        (home / "config.json").write_text(json.dumps({option.key: plain}))
        return home / "config.json"
    title, _, name = option.key.partition(".")
    (home / "config.toml").write_text(tomlkit.dumps({title: {name: plain}}))
    return home / "config.toml"


def _found(home: Path, option: Option, environ: dict[str, str], flags: dict[str, str]) -> tuple[Any, Source, str]:
    resolved = (config.resolved if option in identity.OPTIONS else resolve_home)(home, environ, flags)
    assert () == resolved.faults
    setting = resolved.settings[option.key]
    return setting.value, setting.source, setting.place


def test_the_values_here_are_of_every_option() -> None:
    """A new option has no way around the test below."""
    assert {option.key for option in TABLE} == set(VALUES)


@pytest.mark.parametrize("option", TABLE, ids=lambda option: option.key)
def test_flag_over_environment_over_file_over_default(tmp_path: Path, option: Option) -> None:
    """Each source alone and over all that are weaker; and the places that are named are the real ones."""
    in_file, in_environ, on_line = (option.kind.parse(text) if text else None for text in VALUES[option.key])
    environ, flags = {option.env: VALUES[option.key][1]}, {option.param: VALUES[option.key][2]}

    assert (option.default, Source.DEFAULT, "") == _found(tmp_path, option, {}, {})
    file = _write(tmp_path, option, option.kind.plain(in_file))
    assert (in_file, Source.FILE, str(file)) == _found(tmp_path, option, {option.env: ""}, {})
    assert (in_environ, Source.ENVIRONMENT, option.env) == _found(tmp_path, option, environ, {})
    if option.flag is None:
        assert option.secret
        assert (in_environ, Source.ENVIRONMENT, option.env) == _found(tmp_path, option, environ, flags)
    else:
        assert (on_line, Source.FLAG, option.flag) == _found(tmp_path, option, environ, flags)
        file.unlink()
        assert (on_line, Source.FLAG, option.flag) == _found(tmp_path, option, {}, flags)
    assert in_file != option.default
    assert in_file != in_environ
    assert in_environ != on_line


@pytest.mark.parametrize("option", TABLE, ids=lambda option: option.key)
def test_the_command_hands_every_source_to_the_node(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: Option
) -> None:
    """``edgeagent run`` itself: with the flag, the variable and the file, the node is given the flag's value."""
    given: list[tuple[Settings, config.Identity]] = []

    def run(settings: Settings, home: Path, identify: Callable[[], config.Identity], check: object) -> int:
        assert tmp_path == home
        given.append((settings, identify()))
        return 0

    monkeypatch.setattr(service, "main", run)
    in_file, in_environ, on_line = VALUES[option.key]
    node_id = on_line if option.key == "node_id" else "n"
    environ = dict.fromkeys({one.env for one in TABLE}, "") | {
        "EDGEAGENT_HOME": str(tmp_path),
        "GATEWAY_URL": "http://gw",
    }
    environ |= {"NODE_JWT": issue_node_token(new_private_key(), "k", node_id, (), 1e9)}
    environ |= {} if option.secret else {option.env: in_environ}
    _write(tmp_path, option, option.kind.plain(option.kind.parse(in_file)))

    result = CliRunner().invoke(main, ["run", *([] if option.flag is None else [option.flag, on_line])], env=environ)

    assert 0 == result.exit_code, result.output
    ((settings, who),) = given
    if option in identity.OPTIONS:
        assert (environ["NODE_JWT"] if option.secret else on_line) == str(getattr(who, option.field))
    else:
        assert option.kind.parse(on_line) == getattr(getattr(settings, option.key.partition(".")[0]), option.field)


@pytest.mark.parametrize("option", TABLE, ids=lambda option: option.key)
def test_what_is_shown_can_be_set_again(option: Option) -> None:
    """As TOML holds it, and as it would be typed."""
    for text in filter(None, VALUES[option.key]):
        value = option.kind.parse(text)
        plain = option.kind.plain(value)
        assert value == option.kind.take(tomllib.loads(tomlkit.dumps({"x": plain}))["x"])
        shown = say(option.kind.plain(value))
        assert value == option.kind.parse(shown)
        assert json.loads(json.dumps(plain)) == plain


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.key)
def test_every_option_says_what_it_is(option: Option) -> None:
    """A sentence, what is allowed, and names that follow one rule; the guide's variables stand as they are."""
    assert option.help.endswith((".", "`."))
    assert option.kind.said
    assert option.default_text
    assert option.env.startswith("EDGEAGENT_") or option.env in GUIDE
    assert option.flag == "--" + option.key.replace(".", "-").replace("_", "-")


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.key)
@pytest.mark.parametrize("wrong", ["\x00", "maybe so, maybe not", "-1", "1e99", "{", "[[]]", '{ a = "b" }'])
def test_no_option_takes_nonsense(option: Option, wrong: str) -> None:
    """In any source: a fault that names it and what is allowed, in one line, never another exception."""
    taken, fault = None, ""
    try:
        taken = say(option.kind.plain(option.kind.parse(wrong)))
    except ValueError as error:
        fault = str(error)
    assert "\n" not in fault
    assert taken is None or taken == say(option.kind.plain(option.kind.parse(taken)))


_TOML = st.recursive(
    st.one_of(st.booleans(), st.integers(-(2**60), 2**60), st.floats(), st.text(max_size=8)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=4), inner, max_size=3)),
)


@given(st.sampled_from(OPTIONS), _TOML)
def test_whatever_a_file_holds_is_a_value_or_a_fault(option: Option, raw: Any) -> None:
    """The file is written by hand."""
    try:
        value = option.kind.take(raw)
    except ValueError:
        return
    assert value == option.kind.take(option.kind.plain(value))


def test_all_defaults_make_settings() -> None:
    """The declared defaults are allowed values, and those of the sections."""
    assert Settings() == build({option.key: option.default for option in OPTIONS})
    for option in OPTIONS:
        assert option.default == option.kind.take(option.kind.plain(option.default))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("[health]\nprot = 1", "health.prot is no option; did you mean health.port?"),
        ("port = 1", "port is no option; did you mean health.port?"),
        ("[helth]\nport = 1", "helth is no option; did you mean health.port?"),
        ("[xyzzy]\nqq = 1", "xyzzy is no option; edgeagent config show lists all"),
        ("health = 1", "health is a section; write [health]"),
        ("[health]\nport = 70000", "health.port is 70000; it must be a whole number from 0 to 65535"),
        ("[health]\nport = true", "health.port is True; it must be a whole number"),
        ('[limits.by_type.render]\nmemory = "lots"', "'render': 'memory': 'lots' is not a size like"),
        ("[limits.by_type.render]\nspace = 1", "'space' is not one of wall, cpu, memory"),
        ('[schedule]\nwindows = ["noon"]', "'noon' is not a window like 'mon-fri 18:00-08:00'"),
        ("[health", "config.toml is not valid TOML: "),
        ("\x00", "config.toml is not valid TOML: "),
    ],
)
def test_a_fault_in_the_file_is_one_line_with_what_is_allowed(tmp_path: Path, content: str, says: str) -> None:
    """The file, the key, and what would be right."""
    (tmp_path / "config.toml").write_text(content)

    with pytest.raises(UsageError) as raised:
        load(tmp_path, {})

    assert says in str(raised.value)
    assert str(tmp_path / "config.toml") in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("environ", "flags", "says"),
    [
        ({"HEALTH_PORT": "http"}, {}, "HEALTH_PORT is 'http'; it must be a whole number from 0 to 65535"),
        ({"EDGEAGENT_ALLOW_TIER_C": "yes"}, {}, "EDGEAGENT_ALLOW_TIER_C is 'yes'; it must be true or false"),
        ({"LOG_LEVEL": "LOUD"}, {}, "LOG_LEVEL is 'LOUD'; it must be one of DEBUG, INFO, WARNING, ERROR"),
        ({}, {"share_memory": "big"}, "--share-memory is 'big'; it must be 'all', or a size like 512M or 8G"),
    ],
)
def test_a_fault_elsewhere_names_its_place(
    tmp_path: Path, environ: dict[str, str], flags: dict[str, str], says: str
) -> None:
    """The variable or the flag."""
    with pytest.raises(UsageError) as raised:
        load(tmp_path, environ, flags)

    assert says in str(raised.value)


def test_a_fault_in_the_file_counts_although_a_variable_hides_it(tmp_path: Path) -> None:
    """Or it would come up on the day when the variable goes."""
    (tmp_path / "config.toml").write_text("[health]\nport = 70000\n[share]\nslots = 0")

    with pytest.raises(UsageError, match=r"share\.slots is 0.*and 1 more: edgeagent config validate"):
        load(tmp_path, {"HEALTH_PORT": "1"})


def test_a_directory_in_its_place_is_unreadable(tmp_path: Path) -> None:
    """As is a file of somebody else's; root could read that one, hence a directory here."""
    (tmp_path / "config.toml").mkdir()

    with pytest.raises(UsageError, match=r"config\.toml cannot be read: Is a directory"):
        load(tmp_path, {})


def test_no_option_is_read_from_this_tests_own_environment() -> None:
    """The walk above would prove nothing where a variable was set by whoever runs it."""
    assert not {option.env for option in OPTIONS} & set(os.environ)
