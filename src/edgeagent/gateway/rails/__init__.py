"""How credits become money: rails, which are told what to pay, and where they are found.

A rail is a plugin of the gateway's owner: an entry point of the group ``edgeagent.rails``, which is called with a
``RailSettings`` and returns a ``Rail``.  ``manual`` is built in.  The gateway's rule is to run no code of strangers; a
rail is no exception, since nobody but the owner can install one.

A rail is asked after the credits have left the nodes' accounts, so nothing is paid that is not in the books; and it is
asked again for every payment of which it has said nothing, also after the gateway was killed in the middle.  It must
not pay twice what has the same ``payment_id``: money services take such a text as an idempotency key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

import attrs

from edgeagent.errors import EdgeAgentError, UsageError
from edgeagent.gateway import installed
from edgeagent.gateway.installed import NotInstalledError, UnusableError, told
from edgeagent.gateway.payouts import State
from edgeagent.gateway.texts import one_line

GROUP = "edgeagent.rails"
#: The rail that is always there.
MANUAL = "manual"


@attrs.frozen(kw_only=True)
class Payment:
    """What is to be paid to a node's operator; ``address`` and ``name`` are the operator's own words."""

    payment_id: str
    node_id: str
    name: str
    address: str
    amount_ucr: int


@attrs.frozen(kw_only=True)
class Batch:
    """Payments of one month that are handed over together; ``number`` counts from 1, and a repeated one is the same."""

    month: str
    number: int
    payments: tuple[Payment, ...]


@attrs.frozen(kw_only=True)
class Outcome:
    """What became of a payment: ``INSTRUCTED``, ``PAID`` or ``FAILED``; the last gives the node its credits back."""

    payment_id: str
    state: State = attrs.field(validator=attrs.validators.in_([State.INSTRUCTED, State.PAID, State.FAILED]))
    reference: str = ""
    why: str = ""


class Rail(Protocol):
    """Carries out payments."""

    def instruct(self, batch: Batch) -> Iterable[Outcome]:
        """Pay, or have somebody pay, and say what became of each payment; one that is not named stays due.

        It may be a generator; what it has said before it raises counts.  It runs in a thread, or in a command.
        """
        ...


@attrs.frozen(kw_only=True)
class RailSettings:
    """What a rail is made with: the gateway's directory, and the file that the owner named, if any."""

    data_dir: Path
    output: Path | None = None


def load(name: str) -> Callable[[RailSettings], Rail]:
    """Return what makes the rail of this name.

    Raises:
        UsageError: there is none.
        EdgeAgentError: it cannot be loaded.
    """
    if name == MANUAL:
        from edgeagent.gateway.rails.manual import ManualRail

        return ManualRail
    try:
        made: Callable[[RailSettings], Rail] = installed.load(GROUP, name)
    except NotInstalledError as error:
        there = ", ".join(sorted({MANUAL, *error.there}))
        raise UsageError(f"there is no rail {name!r}; installed are: {there}") from None
    except UnusableError as error:
        raise EdgeAgentError(f"the rail {name!r} cannot be loaded: {error}") from None
    return made


def carry_out(rail: Rail, batch: Batch) -> tuple[list[Outcome], str | None]:
    """Have a rail pay a batch; return what it said, and in one line why it did not get to the end, if so."""
    outcomes: list[Outcome] = []
    try:
        for outcome in rail.instruct(batch):
            if not isinstance(outcome, Outcome):
                return outcomes, one_line(f"it said {outcome!r}, which is no outcome", 300)
            outcomes.append(outcome)
    except EdgeAgentError as error:
        return outcomes, str(error)
    except Exception as error:  # somebody else's code: what it has said before counts all the same
        return outcomes, told(error)
    return outcomes, None
