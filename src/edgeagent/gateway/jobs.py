"""What happens to a job: its states, its attempts' states, and one function for each event that can meet them.

A function gets what is stored (``Standing``) and returns what changes (``Change``), or None where the event comes too
late to change anything.  ``store.jobs`` applies a change, money included, in one transaction.  Pure.
"""

from __future__ import annotations

import enum

import attrs

from edgeagent.wire.messages import Outcome

#: Attempts that a job gets at most, and unless it asks for fewer: the first, and three retries.
MAX_ATTEMPTS = 4
#: A job's priority, unless it says otherwise, and the most it can say; the least is 0, and the highest goes first.
USUAL_PRIORITY, MAX_PRIORITY = 5, 9
#: Seconds before the first retry; each later one waits twice as long: 1, 2, 4.
FIRST_PAUSE_S = 1.0
#: Seconds a declined job rests, the first few times; then it rests longer and longer, up to ``LONGEST_PAUSE_S``, so
#: that nodes that decline everything are not asked in a tight loop for ever.
DECLINED_PAUSE_S = 1.0
PATIENT_DECLINES = 4
LONGEST_PAUSE_S = 60.0


class JobState(enum.StrEnum):
    """Where a job is."""

    QUEUED = "QUEUED"
    DISPATCHED = "DISPATCHED"
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


class AttemptState(enum.StrEnum):
    """Where an attempt is."""

    DISPATCHED = "DISPATCHED"
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    DECLINED = "DECLINED"  # never started; not a failure of anybody
    LOST = "LOST"  # its lease ended, or its node forgot it; a late result may still count
    CANCELLED = "CANCELLED"
    HELD = "HELD"  # its valid result waits until another operator's node agrees with it
    DISPUTED = "DISPUTED"  # its result was wrong, as far as comparing says; it pays nothing


class Money(enum.Enum):
    """What happens to the price that was held when the job was submitted."""

    SETTLE = "settle"
    RELEASE = "release"


OPEN_JOBS = frozenset({JobState.QUEUED, JobState.DISPATCHED, JobState.RUNNING})
OPEN_ATTEMPTS = frozenset({AttemptState.DISPATCHED, AttemptState.RUNNING})
#: Attempts that were given up while their job went on; they may still win.
LATE_ATTEMPTS = frozenset({AttemptState.LOST, AttemptState.DECLINED})
#: Outcomes that say something about the node: the job was tried there and did not end well.
BLAMED = frozenset(
    {
        Outcome.FAILED,
        Outcome.EXITED,
        Outcome.SIGNALLED,
        Outcome.TIMEOUT,
        Outcome.CPU_LIMIT,
        Outcome.MEMORY_LIMIT,
        Outcome.DISK_LIMIT,
        Outcome.OUTPUT_LIMIT,
        Outcome.SETUP_FAILED,
    }
)


@attrs.frozen(kw_only=True)
class Standing:
    """What the rules look at: a job and one of its attempts.  An open attempt is always the one its job waits for."""

    job: JobState
    attempt: AttemptState
    retries: int = 0
    max_attempts: int = MAX_ATTEMPTS


@attrs.frozen(kw_only=True)
class Change:
    """What an event does.

    ``pause_s`` is how long a job that is QUEUED again rests; ``stop_current`` says that an attempt other than the
    event's is still open and is to be cancelled.
    """

    attempt: AttemptState
    job: JobState
    retries: int
    pause_s: float = 0.0
    money: Money | None = None
    stop_current: bool = False


def accepted(standing: Standing) -> Change | None:
    """The node starts the attempt."""
    if standing.attempt is not AttemptState.DISPATCHED:
        return None
    return Change(attempt=AttemptState.RUNNING, job=JobState.RUNNING, retries=standing.retries)


def declined(standing: Standing, declines: int) -> Change | None:
    """The attempt never started: the node said no, or the dispatch did not reach it.  Takes no retry.

    Args:
        declines: how many attempts of the job ended so before.
    """
    if standing.attempt not in OPEN_ATTEMPTS:
        return None
    doublings = max(0, declines + 1 - PATIENT_DECLINES)
    pause_s = min(LONGEST_PAUSE_S, DECLINED_PAUSE_S * 2.0 ** min(doublings, 10))
    return Change(attempt=AttemptState.DECLINED, job=JobState.QUEUED, retries=standing.retries, pause_s=pause_s)


def lost(standing: Standing) -> Change | None:
    """The lease ended, or the node came back without the attempt."""
    if standing.attempt not in OPEN_ATTEMPTS:
        return None
    return _again(AttemptState.LOST, standing)


def ended(standing: Standing, outcome: Outcome) -> Change | None:
    """The node reports how the attempt ended.

    The first valid result of a job wins.  One that comes after the attempt was given up counts while the job is
    open if it settles the job; the attempt that runs instead is then cancelled.
    """
    late = standing.attempt in LATE_ATTEMPTS and standing.job in OPEN_JOBS
    if standing.attempt not in OPEN_ATTEMPTS and not late:
        return None
    if outcome is Outcome.COMPLETED:
        return _settled(standing, AttemptState.COMPLETED, JobState.COMPLETED, Money.SETTLE, late)
    if outcome is Outcome.REJECTED:
        return _settled(standing, AttemptState.FAILED, JobState.FAILED, Money.RELEASE, late)
    if late:
        return None
    gone = outcome in {Outcome.LOST, Outcome.CANCELLED}
    return _again(AttemptState.LOST if gone else AttemptState.FAILED, standing)


def held(standing: Standing, *, checked_now: bool) -> Change:
    """A valid result came in time, and is to be checked: the job goes on for another node, with all its retries.

    Args:
        checked_now: an attempt of another operator's node is open already; it goes on, as the check.
    """
    if checked_now:
        return Change(attempt=AttemptState.HELD, job=standing.job, retries=0)
    running = standing.attempt in LATE_ATTEMPTS and standing.job is not JobState.QUEUED
    return Change(attempt=AttemptState.HELD, job=JobState.QUEUED, retries=0, stop_current=running)


def refused(standing: Standing, attempt: AttemptState) -> Change:
    """A valid result came in time, and comparing it gave the job up; ``attempt`` is how its own attempt ends."""
    late = standing.attempt in LATE_ATTEMPTS
    return _settled(standing, attempt, JobState.FAILED, Money.RELEASE, late)


def cancelled(job: JobState, retries: int) -> Change | None:
    """The submitter no longer wants the job; an open attempt of it is cancelled too."""
    return _given_up(job, retries, JobState.CANCELLED)


def overdue(job: JobState, retries: int) -> Change | None:
    """The job's deadline has passed; an open attempt of it is cancelled."""
    return _given_up(job, retries, JobState.FAILED)


def _given_up(job: JobState, retries: int, end: JobState) -> Change | None:
    if job not in OPEN_JOBS:
        return None
    return Change(
        attempt=AttemptState.CANCELLED,
        job=end,
        retries=retries,
        money=Money.RELEASE,
        stop_current=job is not JobState.QUEUED,
    )


def _settled(standing: Standing, attempt: AttemptState, job: JobState, money: Money, late: bool) -> Change:
    stop = late and standing.job is not JobState.QUEUED
    return Change(attempt=attempt, job=job, retries=standing.retries, money=money, stop_current=stop)


def _again(attempt: AttemptState, standing: Standing) -> Change:
    retries = standing.retries
    if retries + 1 >= standing.max_attempts:
        return Change(attempt=attempt, job=JobState.FAILED, retries=retries, money=Money.RELEASE)
    pause_s = FIRST_PAUSE_S * 2**retries
    return Change(attempt=attempt, job=JobState.QUEUED, retries=retries + 1, pause_s=pause_s)
