"""An open attempt, what nodes say of one, and what that did to its job: what ``store.jobs`` takes and answers with."""

from __future__ import annotations

import attrs

from edgeagent.gateway.jobs import JobState
from edgeagent.gateway.needs import Need
from edgeagent.wire.messages import JobResult, Outcome
from edgeagent.wire.receipts import Settlement


@attrs.frozen(kw_only=True)
class Flight:
    """An open attempt: whose job it is, what it takes of the node that has it, and whether that has started it."""

    attempt_id: str
    job_id: str
    node_id: str
    account_id: str
    need: Need
    accepted: bool = False
    price_ucr: int | None = None  # None: not known here


@attrs.frozen
class Progress:
    """How far an attempt says it is, 0 to 1, and in words; and the last lines that it printed."""

    fraction: float | None = None
    text: str = ""
    lines: tuple[str, ...] = ()


@attrs.frozen
class Stop:
    """An attempt that is to be cancelled now, the node that has it, and why."""

    attempt_id: str
    node_id: str
    reason: str


@attrs.frozen
class News:
    """What became of an attempt whose result was held: the credits for it, and why."""

    attempt_id: str
    node_id: str
    credited_ucr: int
    reason: str
    settlement: Settlement | None = None


@attrs.frozen(kw_only=True)
class Applied:
    """What an event did to a job.

    ``pause_s`` is set when the job waits again, ``stop`` is an attempt that is to be cancelled now, ``outcome`` is how
    the gateway counts the attempt, ``elsewhere`` are the other nodes where the job failed, and ``news`` is for nodes
    whose results were held.  ``right`` and ``wrong`` are nodes whose results were compared.
    """

    job_id: str
    job: JobState
    pause_s: float | None = None
    stop: Stop | None = None
    outcome: Outcome | None = None
    elsewhere: frozenset[str] = frozenset()
    news: tuple[News, ...] = ()
    right: tuple[str, ...] = ()
    wrong: tuple[str, ...] = ()


@attrs.frozen
class Start:
    """An attempt, as the node that says something about it names it."""

    attempt_id: str
    node_id: str


@attrs.frozen
class Told:
    """A result that a node gives, and how far the attempt said it was; ``forged`` where its signature is wrong."""

    node_id: str
    result: JobResult
    progress: Progress = attrs.Factory(Progress)
    forged: bool = False

    @property
    def start(self) -> Start:
        """Which attempt it is of."""
        return Start(self.result.attempt_id, self.node_id)


@attrs.frozen
class Answer:
    """What a result led to: the credits for it, and what it changed; ``held`` while it is to be checked.

    ``settlement`` is what was paid, ``unpaid`` why a completed attempt was not.
    """

    credited_ucr: int
    applied: Applied | None = None
    held: bool = False
    settlement: Settlement | None = None
    unpaid: str = ""
