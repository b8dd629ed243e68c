"""Kinds of options: what is allowed, and how it is written in TOML, in a variable and on the command line.  Pure.

``take`` turns what a TOML file holds into the value that the program uses, ``parse`` does so for the text of a variable
or a flag, and ``plain`` goes back.  What is not allowed is a ``ValueError``; its text, if any, says more than ``said``.
"""

from __future__ import annotations

import abc
import tomllib
from collections.abc import Callable, Mapping
from typing import Any

import attrs

from edgeagent.wire.units import format_duration, parse_duration, parse_size

#: Longest text and list, and most entries by job type, that anybody could mean.
MOST_CHARS, MOST_ENTRIES = 1000, 256


class Kind(abc.ABC):
    """One kind of value."""

    @property
    @abc.abstractmethod
    def said(self) -> str:
        """What is allowed, to stand after ``must be``."""

    @abc.abstractmethod
    def take(self, raw: Any) -> Any:
        """Return the value that TOML's ``raw`` stands for."""

    def parse(self, text: str) -> Any:
        """Return the value that a text stands for; unless a kind says otherwise, it is written as in TOML."""
        try:
            raw = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            raise ValueError from None
        return self.take(raw)

    def plain(self, value: Any) -> Any:
        """Return the value as TOML and JSON hold it."""
        return value


@attrs.frozen
class Whole(Kind):
    """A whole number."""

    least: int
    most: int

    @property
    def said(self) -> str:
        """The range."""
        return f"a whole number from {self.least} to {self.most}"

    def take(self, raw: Any) -> int:
        """Return it; ``true`` is no number."""
        if type(raw) is not int or not self.least <= raw <= self.most:
            raise ValueError
        return raw


@attrs.frozen
class Number(Kind):
    """A number that need not be whole."""

    least: float
    most: float

    @property
    def said(self) -> str:
        """The range."""
        return f"a number from {self.least:g} to {self.most:g}"

    def take(self, raw: Any) -> float:
        """Return it."""
        if type(raw) not in (int, float) or not self.least <= raw <= self.most:
            raise ValueError
        return float(raw)


class Switch(Kind):
    """On or off."""

    @property
    def said(self) -> str:
        """The words."""
        return "true or false"

    def take(self, raw: Any) -> bool:
        """Return it."""
        if type(raw) is not bool:
            raise ValueError
        return raw

    def parse(self, text: str) -> bool:
        """Return it; 1 and 0 are usual in variables."""
        word = text.strip().lower()
        if word not in ("1", "0", "true", "false"):
            raise ValueError
        return word in ("1", "true")


@attrs.frozen
class Text(Kind):
    """One line; ``check`` raises for a bad one."""

    _said: str = "a text"
    check: Callable[[str], object] = str

    @property
    def said(self) -> str:
        """What it is."""
        return self._said

    def take(self, raw: Any) -> str:
        """Return it."""
        if not isinstance(raw, str) or not raw or len(raw) > MOST_CHARS or not raw.isprintable():
            raise ValueError
        self.check(raw)
        return raw

    def parse(self, text: str) -> str:
        """Return it as it is."""
        return self.take(text)


@attrs.frozen
class Choice(Kind):
    """One of a few names, in any case."""

    names: tuple[str, ...]

    @property
    def said(self) -> str:
        """The names."""
        return f"one of {', '.join(self.names)}"

    def take(self, raw: Any) -> str:
        """Return it as the list spells it."""
        for name in self.names:
            if isinstance(raw, str) and raw.lower() == name.lower():
                return name
        raise ValueError

    def parse(self, text: str) -> str:
        """Return it as the list spells it."""
        return self.take(text.strip())


@attrs.frozen
class Size(Kind):
    """Bytes, or bytes per second."""

    least: int = 1
    what: str = "a size"

    @property
    def said(self) -> str:
        """How to write one."""
        return f"{self.what} like 512M or 8G" + (f", {self.plain(self.least)} or more" if self.least > 1 else "")

    def take(self, raw: Any) -> int:
        """Return the bytes; a bare number is bytes."""
        size = _read(parse_size, raw) if isinstance(raw, str) else raw
        if type(size) is not int or not self.least <= size < 1 << 53:
            raise ValueError
        return size

    def parse(self, text: str) -> int:
        """Return the bytes."""
        return self.take(text)

    def plain(self, value: Any) -> Any:
        """Return the shortest exact text."""
        for unit, shift in (("T", 40), ("G", 30), ("M", 20), ("K", 10)):
            if value >= 1 << shift and value % (1 << shift) == 0:
                return f"{value >> shift}{unit}"
        return value


@attrs.frozen
class Span(Kind):
    """Seconds, written as a duration."""

    least_s: float = 0
    most_s: float = 31 * 86400

    @property
    def said(self) -> str:
        """How to write one."""
        limits = f"from {format_duration(self.least_s)} to {format_duration(self.most_s)}"
        return f"a duration like 90s, 5m or 1h30m, {limits}"

    def take(self, raw: Any) -> float:
        """Return the seconds; a bare number is seconds."""
        seconds = _read(parse_duration, raw) if isinstance(raw, str) else raw
        if type(seconds) not in (int, float) or not self.least_s <= seconds <= self.most_s:
            raise ValueError
        return float(seconds)

    def parse(self, text: str) -> float:
        """Return the seconds."""
        return self.take(text)

    def plain(self, value: Any) -> Any:
        """Return it as a duration, where that is exact."""
        return format_duration(value) if value == round(value) else value


@attrs.frozen
class Names(Kind):
    """A list of texts; in a variable or a flag, with ``between`` between them.  ``check`` raises for a bad one."""

    _said: str = "a list of names"
    between: str = ","
    check: Callable[[str], object] = str

    @property
    def said(self) -> str:
        """What it is."""
        return self._said

    def take(self, raw: Any) -> tuple[str, ...]:
        """Return them, each once."""
        if not isinstance(raw, list) or len(raw) > MOST_ENTRIES:
            raise ValueError
        names = tuple(dict.fromkeys(Text().take(one) for one in raw))
        for name in names:
            self.check(name)
        return names

    def parse(self, text: str) -> tuple[str, ...]:
        """Return them; a list as in TOML will do, too, and is the only way to write an empty one."""
        if text.strip().startswith("["):
            taken: tuple[str, ...] = super().parse(text)
            return taken
        return self.take([one.strip() for one in text.split(self.between)])

    def plain(self, value: Any) -> Any:
        """Return a list."""
        return list(value)


@attrs.frozen
class Each(Kind):
    """A value for each of some names, such as job types."""

    of: Kind
    names: str = "job type"

    @property
    def said(self) -> str:
        """What each of them is."""
        return f"by {self.names}, {self.of.said}"

    def take(self, raw: Any) -> Mapping[str, Any]:
        """Return them by name."""
        if not isinstance(raw, Mapping) or len(raw) > MOST_ENTRIES:
            raise ValueError
        return {Text().take(name): _within(name, self.of, value) for name, value in raw.items()}

    def plain(self, value: Any) -> Any:
        """Return a table."""
        return {name: self.of.plain(one) for name, one in value.items()}


@attrs.frozen
class Record(Kind):
    """A few named values, each of a kind of its own; ``make`` takes those that are given."""

    fields: Mapping[str, Kind]
    make: Callable[..., Any]
    show: Callable[[Any], Mapping[str, Any]]

    @property
    def said(self) -> str:
        """The names."""
        return f"a table of {', '.join(self.fields)}"

    def take(self, raw: Any) -> Any:
        """Return what ``make`` makes."""
        if not isinstance(raw, Mapping):
            raise ValueError  # noqa: TRY004 (of what a file holds, not of a caller's mistake)
        for name in raw:
            if name not in self.fields:
                raise ValueError(f"{name!r} is not one of {', '.join(self.fields)}")
        return self.make({name: _within(name, self.fields[name], value) for name, value in raw.items()})

    def plain(self, value: Any) -> Any:
        """Return a table of those that are set."""
        return {name: self.fields[name].plain(one) for name, one in self.show(value).items()}


@attrs.frozen
class Maybe(Kind):
    """Another kind, or a word that stands for None."""

    of: Kind
    word: str

    @property
    def said(self) -> str:
        """Both."""
        return f"{self.word!r}, or {self.of.said}"

    def take(self, raw: Any) -> Any:
        """Return it, or None."""
        return None if raw == self.word else self.of.take(raw)

    def parse(self, text: str) -> Any:
        """Return it, or None."""
        return None if text.strip() == self.word else self.of.parse(text)

    def plain(self, value: Any) -> Any:
        """Return it, or the word."""
        return self.word if value is None else self.of.plain(value)


def _read(reader: Callable[[str], Any], text: str) -> Any:
    try:
        return reader(text)
    except ValueError:
        raise ValueError from None  # ``said`` says how it is written


def _within(name: str, kind: Kind, raw: Any) -> Any:
    try:
        return kind.take(raw)
    except ValueError as error:
        raise ValueError(f"{name!r}: " + (str(error) or f"{raw!r} is not {kind.said}")) from None
