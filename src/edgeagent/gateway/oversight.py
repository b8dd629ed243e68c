"""What the owner sees of all jobs, and does to them; see ``gateway.data`` for why that needs no running gateway."""

from __future__ import annotations

import attrs

from edgeagent.errors import EdgeAgentError
from edgeagent.gateway import bell
from edgeagent.gateway.announcement import steady_now
from edgeagent.gateway.config import GatewaySettings
from edgeagent.gateway.data import owner, transaction
from edgeagent.gateway.jobs import JobState
from edgeagent.gateway.ledger import CreditsShortError
from edgeagent.gateway.store import Tx, accounts, audit, submissions, views
from edgeagent.gateway.store.views import JobView


@attrs.frozen
class Owned:
    """A job, and the name of the account that submitted it."""

    account: str
    job: JobView


def list_jobs(
    place: GatewaySettings, *, state: JobState | None, job_type: str | None, account: str | None, limit: int
) -> list[Owned]:
    """Return the jobs of every account, or of one, newest first.

    Raises:
        EdgeAgentError: there is no such account, or the database cannot be used.
    """
    with transaction(place) as tx:
        account_id = _account(tx, account)
        wanted = None if state is None else state.value
        return _owned(tx, views.list_jobs(tx, account_id, state=wanted, job_type=job_type, limit=limit))


def dead_letters(place: GatewaySettings, *, account: str | None, limit: int) -> list[Owned]:
    """Return FAILED jobs that were not queued again, newest first.  Raises as ``list_jobs``."""
    with transaction(place) as tx:
        return _owned(tx, views.dead_letters(tx, _account(tx, account), limit=limit))


def requeue(place: GatewaySettings, job_id: str) -> tuple[str, bool]:
    """Submit a dead letter again at its account's cost; return the new job's id, and whether it is new.

    Raises:
        EdgeAgentError: there is no such job, it has not failed, its account cannot pay or has a file of it no more, or
            the database cannot be used.
    """
    with transaction(place) as tx:
        try:
            submitted = submissions.requeue(tx, job_id, steady_now(place.data_dir, tx.now))
        except LookupError:
            raise EdgeAgentError(f"there is no job {job_id!r}; see: edgeagent gateway jobs dead") from None
        except submissions.NotDeadError as error:
            raise EdgeAgentError(str(error)) from None
        except submissions.FileGoneError as error:
            raise EdgeAgentError(f"its account has not the file {error} any more, which it needs") from None
        except CreditsShortError as error:
            raise EdgeAgentError(f"the account cannot pay for it: {error}") from None
        if not submitted.replayed:
            audit.record(tx, owner(), "job.requeue", job_id, f"as {submitted.job_ids[0]}")
    bell.ring(place.data_dir)
    return submitted.job_ids[0], not submitted.replayed


def _account(tx: Tx, name: str | None) -> str | None:
    if name is None:
        return None
    try:
        return accounts.ids(tx)[name]
    except KeyError:
        raise EdgeAgentError(f"there is no account {name!r}; see: edgeagent gateway token list") from None


def _owned(tx: Tx, found: list[JobView]) -> list[Owned]:
    names = {account_id: name for name, account_id in accounts.ids(tx).items()}
    return [Owned(names[job.account_id], job) for job in found]
