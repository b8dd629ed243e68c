"""What the owner does about trust in results; see ``gateway.data`` for why that needs no running gateway."""

from __future__ import annotations

import attrs

from edgeagent.errors import EdgeAgentError, UsageError
from edgeagent.gateway import comparisons
from edgeagent.gateway.comparisons import NoComparisonError
from edgeagent.gateway.config import GatewaySettings
from edgeagent.gateway.data import owner, reading, transaction
from edgeagent.gateway.store import audit, checks, known, policies
from edgeagent.gateway.store.checks import Name
from edgeagent.gateway.store.known import Known, NoAnswerError
from edgeagent.gateway.store.policies import Set
from edgeagent.gateway.trust import Policy


@attrs.frozen
class Look:
    """Which job types are checked, and how nodes' results stood up."""

    policies: dict[str, Policy]
    names: tuple[Name, ...]


def set_policy(place: GatewaySettings, job_type: str, policy: Policy | None) -> bool:
    """Check results of a job type so from now on, or None: no more; return whether that is new.

    Raises:
        UsageError: not a job type's name, or its comparison is not installed here.
        EdgeAgentError: the database cannot be used.
    """
    if not (0 < len(job_type) <= 100 and job_type.isprintable()):
        raise UsageError("a job type's name has 1 to 100 printable characters")
    if policy is not None:
        try:
            comparisons.comparison(policy.rule)
        except NoComparisonError as error:
            raise UsageError(str(error)) from None
    with transaction(place) as tx:
        return policies.change(tx, job_type, policy, owner())


def look(place: GatewaySettings) -> Look:
    """Return how things are.  Raises as ``data.reading``."""
    with reading(place) as tx:
        return Look(policies.current(tx), tuple(checks.names(tx)))


def know(place: GatewaySettings, job_id: str) -> bool:
    """Use a completed job's result as a known answer; return whether that is new.

    Raises:
        EdgeAgentError: there is no such job, or it has no result to keep.
    """
    with transaction(place) as tx:
        try:
            new = known.add(tx, job_id)
        except NoAnswerError as error:
            raise EdgeAgentError(str(error)) from None
        if new:
            audit.record(tx, owner(), "trust.know", job_id)
        return new


def forget(place: GatewaySettings, job_id: str) -> bool:
    """Ask for a known answer no more; return whether it was used until now.  Raises as ``data.transaction``."""
    with transaction(place) as tx:
        was_used = known.remove(tx, job_id)
        if was_used:
            audit.record(tx, owner(), "trust.forget", job_id)
        return was_used


def known_answers(place: GatewaySettings) -> list[Known]:
    """Return all known answers, oldest first.  Raises as ``data.reading``."""
    with reading(place) as tx:
        return known.every(tx)


def history(place: GatewaySettings) -> list[Set]:
    """Return every policy that was ever set, oldest first.  Raises as ``data.reading``."""
    with reading(place) as tx:
        return policies.history(tx)
