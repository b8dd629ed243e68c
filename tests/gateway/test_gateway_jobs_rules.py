"""The rules of a job: one table per event."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeagent.gateway import jobs
from edgeagent.gateway.jobs import (
    BLAMED,
    LATE_ATTEMPTS,
    MAX_ATTEMPTS,
    MAX_PRIORITY,
    OPEN_ATTEMPTS,
    OPEN_JOBS,
    USUAL_PRIORITY,
    AttemptState,
    Change,
    JobState,
    Money,
    Standing,
)
from edgeagent.wire.messages import Outcome

#: Retries when the last attempt runs.
LAST = MAX_ATTEMPTS - 1
#: What can be stored: an open attempt is the one its job waits for.
STANDINGS = [
    Standing(job=JobState.DISPATCHED, attempt=AttemptState.DISPATCHED),
    Standing(job=JobState.RUNNING, attempt=AttemptState.RUNNING),
    *(
        Standing(job=job, attempt=attempt)
        for job in JobState
        for attempt in AttemptState
        if attempt not in OPEN_ATTEMPTS
    ),
]


def standing(job: JobState, attempt: AttemptState, retries: int = 0) -> Standing:
    return Standing(job=job, attempt=attempt, retries=retries)


def test_a_job_gets_four_attempts_with_pauses_of_1_2_and_4_seconds() -> None:
    """Unless it asks for fewer: the numbers of the design, counted out."""
    pauses, retries = [], 0
    while (change := jobs.lost(standing(JobState.RUNNING, AttemptState.RUNNING, retries))) is not None:
        if change.job is JobState.FAILED:
            break
        pauses.append(change.pause_s)
        retries = change.retries

    assert pauses == [1, 2, 4]


def test_a_priority_is_0_to_9_and_5_unless_said() -> None:
    """As the submitters' documentation says."""
    assert (USUAL_PRIORITY, MAX_PRIORITY) == (5, 9)


@pytest.mark.parametrize("outcome", Outcome)
def test_what_counts_against_a_node(outcome: Outcome) -> None:
    """How a job ended there; not what was completed, what the job is to blame for, or what nobody is."""
    nobodys = {"completed", "rejected", "cancelled", "fetch_failed", "lost"}

    assert (outcome in BLAMED) == (outcome.value not in nobodys)


@pytest.mark.parametrize("outcome", [Outcome.CANCELLED, Outcome.LOST])
def test_an_attempt_that_its_node_gave_up_is_lost_and_not_failed(outcome: Outcome) -> None:
    """A node that stops says so of what still ran; what it finished after all may count."""
    change = jobs.ended(standing(JobState.RUNNING, AttemptState.RUNNING), outcome)

    assert change is not None
    assert change.attempt is AttemptState.LOST


@pytest.mark.parametrize("attempt", AttemptState)
def test_which_attempts_may_still_win(attempt: AttemptState) -> None:
    """Those that run, and those that were given up without a word of how they ended."""
    job = JobState.RUNNING if attempt is not AttemptState.DISPATCHED else JobState.DISPATCHED
    wins = jobs.ended(standing(job, attempt), Outcome.COMPLETED) is not None

    assert wins == (attempt.value in {"DISPATCHED", "RUNNING", "LOST", "DECLINED"})


@pytest.mark.parametrize("attempt", [AttemptState.RUNNING, AttemptState.LOST])
def test_a_result_that_is_held_leaves_its_check_all_retries(attempt: AttemptState) -> None:
    """What failed before somebody completed the job says nothing about the check."""
    change = jobs.held(standing(JobState.RUNNING, attempt, 2), checked_now=False)

    assert (JobState.QUEUED, 0) == (change.job, change.retries)


def test_accepting_starts_a_dispatched_attempt() -> None:
    """DISPATCHED becomes RUNNING, for the job and for its attempt."""
    change = jobs.accepted(standing(JobState.DISPATCHED, AttemptState.DISPATCHED, 2))

    assert Change(attempt=AttemptState.RUNNING, job=JobState.RUNNING, retries=2) == change


@pytest.mark.parametrize("before", [one for one in STANDINGS if one.attempt is not AttemptState.DISPATCHED])
def test_accepting_anything_else_changes_nothing(before: Standing) -> None:
    """An attempt that runs, ended or was given up is not started again."""
    assert jobs.accepted(before) is None


def test_declining_puts_the_job_back_without_taking_a_retry() -> None:
    """A decline is nobody's failure; the job rests a second."""
    change = jobs.declined(standing(JobState.DISPATCHED, AttemptState.DISPATCHED, 1), 0)

    assert Change(attempt=AttemptState.DECLINED, job=JobState.QUEUED, retries=1, pause_s=1.0) == change


def test_a_job_that_everybody_declines_rests_longer_and_longer() -> None:
    """Four times for a second, then twice as long each time, and never more than a minute."""
    pauses = [
        change.pause_s
        for declines in (0, 1, 2, 3, 4, 5, 9, 10_000)
        if (change := jobs.declined(standing(JobState.DISPATCHED, AttemptState.DISPATCHED), declines)) is not None
    ]

    assert pauses == [1, 1, 1, 1, 2, 4, 60, 60]


@pytest.mark.parametrize("most", range(1, MAX_ATTEMPTS + 1))
def test_a_job_gets_as_many_attempts_as_it_asked_for(most: int) -> None:
    """The last of them that fails fails the job."""
    ends = [
        jobs.lost(Standing(job=JobState.RUNNING, attempt=AttemptState.RUNNING, retries=retries, max_attempts=most))
        for retries in range(most)
    ]

    assert [JobState.QUEUED] * (most - 1) + [JobState.FAILED] == [end.job for end in ends if end is not None]


@pytest.mark.parametrize("state", JobState)
def test_a_deadline_fails_what_is_open(state: JobState) -> None:
    """The money goes back, and an open attempt is stopped; what has ended stays as it is."""
    change = jobs.overdue(state, 1)

    if state in OPEN_JOBS:
        assert change is not None
        assert (JobState.FAILED, Money.RELEASE) == (change.job, change.money)
        assert change.stop_current == (state is not JobState.QUEUED)
    else:
        assert change is None


@pytest.mark.parametrize(("retries", "pause_s"), [(0, 1.0), (1, 2.0), (2, 4.0)])
@pytest.mark.parametrize("outcome", [*sorted(BLAMED), Outcome.CANCELLED, Outcome.LOST])
def test_a_failed_attempt_is_retried_after_1_2_4_seconds(retries: int, pause_s: float, outcome: Outcome) -> None:
    """Whatever went wrong, the job goes back to the queue, and each time rests twice as long."""
    change = jobs.ended(standing(JobState.RUNNING, AttemptState.RUNNING, retries), outcome)

    assert change is not None
    assert (JobState.QUEUED, retries + 1, pause_s, None) == (change.job, change.retries, change.pause_s, change.money)


@pytest.mark.parametrize("outcome", sorted(BLAMED))
def test_the_fourth_failed_attempt_fails_the_job(outcome: Outcome) -> None:
    """Three retries, then FAILED, and the price goes back."""
    change = jobs.ended(standing(JobState.RUNNING, AttemptState.RUNNING, LAST), outcome)

    assert Change(attempt=AttemptState.FAILED, job=JobState.FAILED, retries=LAST, money=Money.RELEASE) == change


def test_a_lost_attempt_is_retried_like_a_failed_one() -> None:
    """A lease that ended takes a retry, and the last one fails the job."""
    first = jobs.lost(standing(JobState.DISPATCHED, AttemptState.DISPATCHED))
    last = jobs.lost(standing(JobState.RUNNING, AttemptState.RUNNING, LAST))

    assert first is not None
    assert last is not None
    assert (AttemptState.LOST, JobState.QUEUED, 1.0) == (first.attempt, first.job, first.pause_s)
    assert (AttemptState.LOST, JobState.FAILED, Money.RELEASE) == (last.attempt, last.job, last.money)


def test_a_rejected_job_fails_at_once() -> None:
    """When the plugin says that the job itself is bad, no retry can help."""
    change = jobs.ended(standing(JobState.RUNNING, AttemptState.RUNNING), Outcome.REJECTED)

    assert Change(attempt=AttemptState.FAILED, job=JobState.FAILED, retries=0, money=Money.RELEASE) == change


@pytest.mark.parametrize("attempt", sorted(OPEN_ATTEMPTS))
def test_a_completed_attempt_completes_and_pays(attempt: AttemptState) -> None:
    """Also without a JobAccept, which can be lost with a link."""
    change = jobs.ended(standing(JobState(attempt.value), attempt), Outcome.COMPLETED)

    assert Change(attempt=AttemptState.COMPLETED, job=JobState.COMPLETED, retries=0, money=Money.SETTLE) == change


@pytest.mark.parametrize("attempt", sorted(LATE_ATTEMPTS))
@pytest.mark.parametrize(
    ("job", "stop"), [(JobState.QUEUED, False), (JobState.DISPATCHED, True), (JobState.RUNNING, True)]
)
def test_a_late_result_wins_while_the_job_is_open(attempt: AttemptState, job: JobState, stop: bool) -> None:
    """It completes and pays; the attempt that runs instead is stopped."""
    change = jobs.ended(standing(job, attempt), Outcome.COMPLETED)

    assert change is not None
    assert (JobState.COMPLETED, Money.SETTLE, stop) == (change.job, change.money, change.stop_current)


@pytest.mark.parametrize("attempt", sorted(LATE_ATTEMPTS))
def test_a_late_failure_changes_nothing(attempt: AttemptState) -> None:
    """The attempt was counted when it was given up."""
    assert jobs.ended(standing(JobState.RUNNING, attempt), Outcome.FAILED) is None


@pytest.mark.parametrize("job", sorted(set(JobState) - OPEN_JOBS))
@pytest.mark.parametrize("attempt", sorted(set(AttemptState) - OPEN_ATTEMPTS))
@pytest.mark.parametrize("outcome", list(Outcome))
def test_nothing_moves_a_job_that_has_ended(job: JobState, attempt: AttemptState, outcome: Outcome) -> None:
    """A second result, whatever it says, neither pays nor changes the job."""
    assert jobs.ended(standing(job, attempt), outcome) is None
    assert jobs.cancelled(job, 0) is None


@pytest.mark.parametrize(
    ("job", "stop"), [(JobState.QUEUED, False), (JobState.DISPATCHED, True), (JobState.RUNNING, True)]
)
def test_cancelling_gives_the_price_back_and_stops_what_runs(job: JobState, stop: bool) -> None:
    """An open job can be cancelled at any time."""
    change = jobs.cancelled(job, 1)

    assert change is not None
    assert (JobState.CANCELLED, Money.RELEASE, stop) == (change.job, change.money, change.stop_current)


@given(st.sampled_from(STANDINGS), st.sampled_from(list(Outcome)), st.integers(0, LAST))
def test_money_moves_exactly_when_a_job_ends(before: Standing, outcome: Outcome, retries: int) -> None:
    """No event both leaves a job open and moves its price, and none ends it without."""
    before = standing(before.job, before.attempt, retries)
    events = (jobs.accepted(before), jobs.declined(before, retries), jobs.lost(before), jobs.ended(before, outcome))

    for change in [*events, jobs.cancelled(before.job, retries)]:
        if change is not None:
            assert before.job in OPEN_JOBS
            assert (change.job not in OPEN_JOBS) == (change.money is not None)
            assert (change.money is Money.SETTLE) == (change.job is JobState.COMPLETED)
            assert change.retries <= LAST
