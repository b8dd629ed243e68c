"""How much anybody may ask of the gateway; the owner can set each with ``edgeagent gateway run --limit NAME=NUMBER``.

The defaults are far above what careful clients do and low enough that one machine goes on serving the others.  Rates
are per minute, and a third of a minute's worth may come at once.
"""

from __future__ import annotations

from collections.abc import Iterable

import attrs
from attrs.validators import gt


def _ceiling(default: float, about: str) -> float:
    number: float = attrs.field(default=default, validator=gt(0), metadata={"about": about})
    return number


@attrs.frozen(kw_only=True)
class Ceilings:
    """The limits that an owner can set."""

    registrations_each: float = _ceiling(60, "registrations, and proofs of keys, a minute from one address")
    registrations_together: float = _ceiling(600, "the same from all addresses")
    visits_each: float = _ceiling(1_200, "requests a minute from one address, without a token or with a wrong one")
    requests_each: float = _ceiling(12_000, "requests a minute of one account, or of one node; a batch counts as 20")
    connections: float = _ceiling(20_000, "open connections")
    connections_each: float = _ceiling(1_024, "open connections from one address that is no trusted proxy's")
    links_each: float = _ceiling(60, "links a minute that one node opens")
    messages_each: float = _ceiling(12_000, "messages a minute on one link that answer nothing the gateway asked")
    link_bytes_each: float = _ceiling(1 << 30, "bytes a minute on one link")


def parse(settings: Iterable[str]) -> Ceilings:
    """Return the limits that texts like ``connections-each=5000`` set, and the defaults for the others.

    Raises:
        ValueError: there is no such limit, or it is no number above zero; says which there are.
    """
    names = {one.name.replace("_", "-"): one.name for one in attrs.fields(Ceilings)}
    chosen: dict[str, float] = {}
    for setting in settings:
        name, _, number = setting.partition("=")
        if name not in names:
            raise ValueError(f"there is no limit {name!r}; there are {', '.join(names)}")
        try:
            chosen[names[name]] = float(number)
        except ValueError:
            raise ValueError(f"{setting!r} is not NAME=NUMBER, for example {name}=5000") from None
        if not 0 < chosen[names[name]] < float("inf"):
            raise ValueError(f"{name} must be above zero, not {number}")
    return Ceilings(**chosen)
