"""How far a node's word is taken: which results are checked, what results that were compared say, and about whom.

A policy belongs to a job type.  Where one holds, a node's first results are all run a second time by somebody else,
and later ones the more rarely the longer it has been right; one wrong result and it begins anew.  A result that is to
be checked waits (``AttemptState.HELD``) until another operator's node agrees with it; ``store.checks`` keeps it and
asks here.  docs/design/trust.md has the reasons.  Pure.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Sequence
from typing import Any

import attrs
from attrs.validators import ge, le

from edgeagent.gateway.comparisons import Rule

#: Results that must agree where one is checked, and so the most that a job pays for.
QUORUM = 2
#: Results of which no two agree, after which the job is given up: it cannot be checked by comparing.
MAX_RESULTS = 4


def _share(instance: object, attribute: attrs.Attribute[float], value: float) -> None:
    if not 0 <= value <= 1:
        raise ValueError(f"{attribute.name} is a share, from 0 to 1")


@attrs.frozen(kw_only=True)
class Policy:
    """How the results of one job type are checked.

    Attributes:
        sure_after: results in a row that others agreed with, up to which all of a node's are checked (BOINC: 10).
        least: the share that is checked however long a node was right: nobody is ever past being caught.
        known: known-answer jobs for each job that is submitted; such a job waits for no second node.
        rule: when two results are the same.
    """

    sure_after: int = attrs.field(default=10, validator=[ge(1), le(1_000_000)])
    least: float = attrs.field(default=0.05, validator=_share)
    known: float = attrs.field(default=0.0, validator=_share)
    rule: Rule = attrs.field(factory=Rule)

    def share(self, streak: int) -> float:
        """Return the share of a node's results that is checked after ``streak`` in a row that were right.

        It falls as ``sure_after / streak``, so the checks of a node that is always right grow as the logarithm of its
        results, until ``least`` takes over.  Were it to fall faster, a good name would be cheap to earn and abuse.
        """
        return 1.0 if streak <= self.sure_after else max(self.least, self.sure_after / streak)


@attrs.frozen(kw_only=True)
class Reputation:
    """How a node's results of one type stood up: how many others agreed with, how many not, and how many in a row."""

    agreed: int = 0
    disputed: int = 0
    streak: int = 0

    def after(self, *, right: bool) -> Reputation:
        """Return this with a result more that was compared."""
        if right:
            return Reputation(agreed=self.agreed + 1, disputed=self.disputed, streak=self.streak + 1)
        return Reputation(agreed=self.agreed, disputed=self.disputed + 1, streak=0)


@attrs.frozen(kw_only=True)
class Output:
    """A file that an attempt left: what it is called, and what is in it."""

    name: str
    size_bytes: int
    sha256: str


@attrs.frozen(kw_only=True)
class Result:
    """A valid result, as it is compared; ``outputs`` in the order of their names."""

    attempt_id: str
    node_id: str
    operator: str
    value: Any = None
    result_ref: str | None = None
    outputs: tuple[Output, ...] = ()


class Ruling(enum.Enum):
    """What becomes of a job of which results were compared."""

    AGREED = "agreed"  # it is completed
    OPEN = "open"  # another operator's node is asked
    SPLIT = "split"  # it is given up


@attrs.frozen(kw_only=True)
class Verdict:
    """What comparing said.

    Attributes:
        accepted: the result that the job gets: the first of those that agree.
        right: those that agree, ``QUORUM`` of them, who are paid, ``accepted`` first.
        wrong: those that agree with none of these; it counts against their nodes.
        spared: those that a comparison with tolerance puts near enough not to be called wrong.
    """

    ruling: Ruling
    right: tuple[Result, ...] = ()
    wrong: tuple[Result, ...] = ()
    spared: tuple[Result, ...] = ()

    @property
    def accepted(self) -> Result:
        """The result that the job gets, where the results agreed."""
        return self.right[0]


def judge(held: Sequence[Result], new: Result, same: Callable[[Result, Result], bool]) -> Verdict:
    """Return what a new result says together with those that were held before, of which no two agree.

    The first that ``new`` agrees with wins: with whom it agrees, not how many agree, is decided, so a result is never
    taken on the word of one operator alone.

    Args:
        held: in the order in which they came, each of another operator, and none of ``new``'s.
    """
    for one in held:
        if same(one, new):
            others = [other for other in held if other is not one]
            near = [other for other in others if same(other, new) or same(other, one)]
            wrong = tuple(other for other in others if other not in near)
            return Verdict(ruling=Ruling.AGREED, right=(one, new), wrong=wrong, spared=tuple(near))
    split = len(held) + 1 >= MAX_RESULTS
    return Verdict(ruling=Ruling.SPLIT if split else Ruling.OPEN)


def check_label(text: str) -> str:
    """Return an operator's label.

    Raises:
        ValueError: it is none; the text says how to write one.
    """
    if re.fullmatch(r"[A-Za-z0-9._]([A-Za-z0-9._-]{0,39})?", text) is None:
        raise ValueError("an operator's label has 1 to 40 letters, digits, points, dashes or underscores")
    return text


def operator_of(node_id: str, label: str) -> str:
    """Return who answers for a node: the label that the owner gave it, or else the node itself."""
    return label or node_id
