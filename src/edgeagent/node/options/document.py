"""Changes to ``config.toml`` that leave its comments and its order as the owner wrote them.

What is written has been checked: a value as its option allows it, and a file that can be read back.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.exceptions import ParseError

from edgeagent.errors import EdgeAgentError, UsageError
from edgeagent.node import files
from edgeagent.node.options.declare import Option


def change(home: Path, option: Option, text: str) -> None:
    """Set an option, from a text as a variable would hold it; makes the file where there is none.

    Raises:
        UsageError: that is not allowed, or the file is not TOML.
        EdgeAgentError: the file cannot be written.
    """
    try:
        plain = option.kind.plain(option.kind.parse(text))
    except ValueError as error:
        raise UsageError(
            f"{option.key}: {text!r} is not allowed; " + (str(error) or f"it must be {option.kind.said}")
        ) from None
    document = _read(home)
    title, _, name = option.key.partition(".")
    section = _section(home, document, title)
    if section is None:
        section = tomlkit.table()
        document.append(title, section)
    section[name] = plain
    _write(home, document)


def remove(home: Path, option: Option) -> None:
    """Take an option out; it need not be there.

    Raises:
        UsageError: the file is not TOML.
        EdgeAgentError: the file cannot be written.
    """
    document = _read(home)
    title, _, name = option.key.partition(".")
    section = _section(home, document, title)
    if section is None or name not in section:
        return
    del section[name]
    _write(home, document)


def _section(home: Path, document: tomlkit.TOMLDocument, title: str) -> MutableMapping[str, Any] | None:
    section = document.get(title)
    if section is None or isinstance(section, MutableMapping):
        return section
    raise UsageError(f"{home / files.SETTINGS}: {title} is a section; write [{title}], and its options below")


def _read(home: Path) -> tomlkit.TOMLDocument:
    file = home / files.SETTINGS
    try:
        return tomlkit.parse(file.read_bytes())
    except FileNotFoundError:
        return tomlkit.document()
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}; it must be readable by this user") from None
    except (ParseError, ValueError) as error:
        raise UsageError(f"{file} is not valid TOML: {error}; repair it first") from None


def _write(home: Path, document: tomlkit.TOMLDocument) -> None:
    file = home / files.SETTINGS
    try:
        files.ensure_directory(home)
        files.write(file, tomlkit.dumps(document).encode(), 0o600)
    except OSError as error:
        raise EdgeAgentError(f"{file} cannot be written: {error.strerror}") from None
