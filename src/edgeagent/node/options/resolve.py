"""Which value an option has, and where it came from: flag over environment over file over default.

``load`` is what ``edgeagent run`` calls, before the sandbox is started and before any secret is read.  A fault names
its source, the option, and what is allowed.
"""

from __future__ import annotations

import enum
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from edgeagent.errors import UsageError
from edgeagent.node import files
from edgeagent.node.options.declare import Option, say
from edgeagent.node.options.settings import OPTIONS, Settings, build


class Source(enum.StrEnum):
    """Kinds of places that a value comes from, the strongest first."""

    FLAG = "flag"
    ENVIRONMENT = "environment"
    FILE = "file"
    DEFAULT = "default"


@attrs.frozen
class Setting:
    """One option's value, and where it came from: ``place`` is the flag, the variable or the file."""

    option: Option
    value: Any
    source: Source
    place: str = ""

    @property
    def plain(self) -> Any:
        """The value as TOML and JSON hold it, or a word in the place of a secret."""
        if self.option.secret:
            return "(set, not shown)" if self.value else "(not set)"
        return self.option.kind.plain(self.value)

    @property
    def text(self) -> str:
        """The value as a person reads it."""
        return say(self.plain)


@attrs.frozen
class Resolved:
    """What came out, by key; and one line for each thing that is wrong, whose option then has its default here."""

    settings: Mapping[str, Setting]
    faults: tuple[str, ...] = ()

    def check(self) -> None:
        """Raise ``UsageError`` with the first fault, if any."""
        for first in self.faults:
            more = f" (and {len(self.faults) - 1} more: edgeagent config validate)" if len(self.faults) > 1 else ""
            raise UsageError(first + more)


def resolve(
    options: Sequence[Option],
    *,
    flags: Mapping[str, str],
    environ: Mapping[str, str],
    document: Mapping[str, Any],
    file: Path,
) -> Resolved:
    """Return every option's value.

    Args:
        options: the table.
        flags: what was given on the command line, by the option's ``param``.
        environ: the environment; an empty variable counts as unset, since Compose files pass such.
        document: what the file holds.
        file: its path, for the faults.
    """
    found: dict[str, Setting] = {}
    faults: list[str] = []
    for option in options:
        # All are looked at: what is wrong in the file is wrong, even where a variable hides it today.
        said = list(_given(option, flags, environ, document, file))
        faults += [one for one in said if isinstance(one, str)]
        default = Setting(option, option.default, Source.DEFAULT)
        found[option.key] = next((one for one in said if isinstance(one, Setting)), default)
    return Resolved(found, tuple(faults))


def load(home: Path, environ: Mapping[str, str], flags: Mapping[str, str] | None = None) -> Settings:
    """Return the settings that flags, environment and ``config.toml`` in ``home`` give together.

    Raises:
        UsageError: something cannot be read, is unknown or makes no sense; one line says what, where and what is
            allowed.
    """
    resolved = resolve_home(home, environ, flags or {})
    resolved.check()
    return build({key: setting.value for key, setting in resolved.settings.items()})


def resolve_home(home: Path, environ: Mapping[str, str], flags: Mapping[str, str]) -> Resolved:
    """Return what every option comes to for the node in ``home``.

    Raises:
        UsageError: the file cannot be read.
    """
    file = home / files.SETTINGS
    document = read(file)
    resolved = resolve(OPTIONS, flags=flags, environ=environ, document=document, file=file)
    return attrs.evolve(resolved, faults=(*unknown(OPTIONS, document, file), *resolved.faults))


def read(file: Path) -> dict[str, Any]:
    """Return what a TOML file holds; nothing where there is none.

    Raises:
        UsageError: it cannot be read, or is not TOML.
    """
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}; it must be readable by this user") from None
    except ValueError as error:  # tomllib's own, and bytes that are no text
        raise UsageError(f"{file} is not valid TOML: {error}") from None


def unknown(options: Iterable[Option], document: Mapping[str, Any], file: Path) -> Iterator[str]:
    """Yield one line for each key that is no option, with the one that was probably meant."""
    keys = {option.key for option in options}
    titles = {key.partition(".")[0] for key in keys}
    for title, content in document.items():
        if title not in titles:
            names = [f"{title}.{name}" for name in content] if isinstance(content, dict) else []
            yield _no_option(file, title, [*titles, *keys], names or [title])
        elif not isinstance(content, dict):
            yield f"{file}: {title} is a section; write [{title}], and its options below"
        else:
            for name in content:
                if f"{title}.{name}" not in keys:
                    yield _no_option(file, f"{title}.{name}", keys, [f"{title}.{name}"])


def nearest(key: str, keys: Iterable[str]) -> str | None:
    """Return the key that was probably meant."""
    import difflib  # only who has misspelt something waits for it

    known = sorted(keys)
    by_name = {one.rpartition(".")[2]: one for one in reversed(known)}
    close = difflib.get_close_matches(key, known, n=1) or [
        by_name[name] for name in difflib.get_close_matches(key.rpartition(".")[2], by_name, n=1)
    ]
    return close[0] if close else None


def _no_option(file: Path, written: str, keys: Iterable[str], tries: Sequence[str]) -> str:
    close = next((meant for one in tries if (meant := nearest(one, keys))), None)
    return f"{file}: {written} is no option" + (
        f"; did you mean {close}?" if close else "; edgeagent config show lists all"
    )


def _given(
    option: Option, flags: Mapping[str, str], environ: Mapping[str, str], document: Mapping[str, Any], file: Path
) -> Iterator[Setting | str]:
    """Yield what each source says, the strongest first: a value, or what is wrong with it."""
    if option.flag and option.param in flags:
        yield _taken(option, flags[option.param], Source.FLAG, option.flag)
    if environ.get(option.env):
        yield _taken(option, environ[option.env], Source.ENVIRONMENT, option.env)
    content: Any = document
    for part in option.key.split("."):
        content = content.get(part) if isinstance(content, Mapping) else None
    if content is not None:
        yield _taken(option, content, Source.FILE, str(file))


def _taken(option: Option, raw: Any, source: Source, place: str) -> Setting | str:
    try:
        value = option.kind.take(raw) if source is Source.FILE else option.kind.parse(raw)
    except ValueError as error:
        where = f"{place}: {option.key}" if source is Source.FILE else place
        shown = "not what it must be" if option.secret else _short(raw)
        return f"{where} is {shown}; " + (str(error) or f"it must be {option.kind.said}")
    return Setting(option, value, source, place)


def _short(raw: Any) -> str:
    text = repr(raw)
    return text if len(text) <= 80 else f"{text[:77]}..."
