"""How an option is declared, and the table that the declarations make.  Pure.

``option`` makes a field of a section, which is a frozen attrs class; ``section`` puts a section into ``Settings``.
Key, variable and flag follow from the two names: ``memory`` in ``share`` is ``share.memory``,
``EDGEAGENT_SHARE_MEMORY`` and ``--share-memory``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attrs

from edgeagent.node.options.kinds import Kind

_OPTION, _SECTION = "edgeagent.option", "edgeagent.section"


@attrs.frozen(kw_only=True)
class Option:
    """One thing that can be set.

    Attributes:
        key: where it stands in the file.
        field: the name of its attribute in the section, or in whatever else holds its value.
        help: one sentence for the owner.
        default_said: what the default comes to, where that is not a fixed value.
        flag: None for what must not stand on a command line.
        secret: never shown.
    """

    key: str
    field: str
    kind: Kind
    default: Any
    help: str
    env: str
    flag: str | None
    default_said: str = ""
    secret: bool = False

    @property
    def param(self) -> str:
        """The name of the flag's parameter."""
        return self.key.replace(".", "_")

    @property
    def default_text(self) -> str:
        """The default as a person reads it."""
        return self.default_said or say(self.kind.plain(self.default))


def option(kind: Kind, default: Any, help: str, *, name: str = "", env: str = "", default_said: str = "") -> Any:  # noqa: A002 (it is what click calls it)
    """Declare an option as a field of a section.

    Args:
        kind: what is allowed.
        default: the value when nobody sets it.
        help: one sentence, which also stands in the documentation.
        name: what the owner calls it, where that is not the field's own name (which may end in a unit).
        env: its variable, where that does not follow from the names.
        default_said: what the default comes to, where that is not a fixed value.
    """
    extra = {"kind": kind, "help": help, "name": name, "env": env, "default_said": default_said}
    return attrs.field(default=default, metadata={_OPTION: extra})


def section(cls: type[Any]) -> Any:
    """Put a section into ``Settings``."""
    return attrs.field(factory=cls, metadata={_SECTION: cls})


def sections(settings: type[Any]) -> dict[str, type[Any]]:
    """Return the sections by name."""
    return {field.name: field.metadata[_SECTION] for field in attrs.fields(settings)}


def options(settings: type[Any]) -> Iterator[Option]:
    """Return the table, in the order of the declarations."""
    for title, cls in sections(settings).items():
        for field in attrs.fields(cls):
            said = field.metadata[_OPTION]
            key = f"{title}.{said['name'] or field.name}"
            plain = key.replace(".", "_")
            yield Option(
                key=key,
                field=field.name,
                kind=said["kind"],
                default=field.default.factory() if isinstance(field.default, attrs.Factory) else field.default,  # type: ignore[arg-type]
                help=said["help"],
                env=said["env"] or f"EDGEAGENT_{plain.upper()}",
                flag=f"--{plain.replace('_', '-')}",
                default_said=said["default_said"],
            )


def say(plain: Any) -> str:
    """Return a value as it is written in TOML, without the quotes around a text."""
    return plain if isinstance(plain, str) else _toml(plain)


def _toml(plain: Any) -> str:
    if isinstance(plain, bool):
        return str(plain).lower()
    if isinstance(plain, str):
        return '"' + plain.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(plain, list):
        return f"[{', '.join(_toml(one) for one in plain)}]"
    if isinstance(plain, dict):
        pairs = ", ".join(f"{_name(name)} = {_toml(one)}" for name, one in plain.items())
        return f"{{{f' {pairs} ' if pairs else ''}}}"
    return f"{plain:g}" if isinstance(plain, float) else str(plain)


def _name(name: str) -> str:
    return name if name.isascii() and name.replace("-", "").replace("_", "").isalnum() else _toml(name)
