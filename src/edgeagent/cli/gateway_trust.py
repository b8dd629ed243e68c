"""``edgeagent gateway trust``: the owner says which results are checked, and how."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from edgeagent.cli.groups import Group
from edgeagent.cli.options import as_json, print_json
from edgeagent.cli.place import at_gateway

if TYPE_CHECKING:
    from edgeagent.gateway.config import GatewaySettings
    from edgeagent.gateway.trust import Policy

Json = dict[str, Any]
_SHARE = click.FloatRange(0, 1)


@click.group(cls=Group)
def trust() -> None:
    """Check results: run jobs again on other operators' nodes, compare, pay only for what agrees.

    Off for every job type until it is set here.  A job whose type is checked sets aside twice its
    price, and pays for each result that was confirmed: one or two.  docs/trust.md says more.
    """


@trust.command(name="set")
@at_gateway
@click.argument("job_type")
@click.option(
    "--sure-after",
    type=click.IntRange(1, 1_000_000),
    default=10,
    show_default=True,
    help="Confirmed results in a row up to which all of a node's are checked; then ever fewer.",
)
@click.option(
    "--least", type=_SHARE, default=0.05, show_default=True, help="The share of results that is always checked."
)
@click.option(
    "--known", type=_SHARE, default=0.0, show_default=True, help="Known-answer jobs for each job that is submitted."
)
@click.option(
    "--ignore",
    multiple=True,
    metavar="FIELD",
    help="A field of the value that may differ; may be given more than once.  [default: the timings of the job types "
    "that come with edgeagent]",
)
@click.option("--tolerance", type=_SHARE, default=0.0, show_default=True, help="How far numbers may be apart.")
@click.option("--names-only", is_flag=True, help="Compare what files are called, not what is in them.")
@click.option("--comparison", default="", metavar="NAME", help="Let an installed comparison decide instead.")
@as_json
def set_(
    place: GatewaySettings,
    job_type: str,
    sure_after: int,
    least: float,
    known: float,
    ignore: tuple[str, ...],
    tolerance: float,
    names_only: bool,
    comparison: str,
    as_json: bool,
) -> None:
    """Check results of JOB_TYPE, of jobs that are submitted from now on."""
    from edgeagent.gateway import trusting
    from edgeagent.gateway.comparisons import TIMINGS, Rule
    from edgeagent.gateway.trust import Policy

    rule = Rule(
        ignore=ignore or TIMINGS.get(job_type, ()), tolerance=tolerance, files=not names_only, installed=comparison
    )
    policy = Policy(sure_after=sure_after, least=least, known=known, rule=rule)
    _said(job_type, policy, trusting.set_policy(place, job_type, policy), as_json)


@trust.command()
@at_gateway
@click.argument("job_type")
@as_json
def off(place: GatewaySettings, job_type: str, as_json: bool) -> None:
    """Check results of JOB_TYPE no more; results that wait already are still compared."""
    from edgeagent.gateway import trusting

    _said(job_type, None, trusting.set_policy(place, job_type, None), as_json)


@trust.command()
@at_gateway
@as_json
def show(place: GatewaySettings, as_json: bool) -> None:
    """Show which job types are checked, and how each node's results have stood up."""
    from edgeagent.gateway import trusting

    seen = trusting.look(place)
    if as_json:
        policies = [{"job_type": name, **_policy(one)} for name, one in sorted(seen.policies.items())]
        names = [
            {
                "node_id": one.node_id,
                "name": one.name,
                "operator": one.operator,
                "job_type": one.job_type,
                "agreed": one.reputation.agreed,
                "disputed": one.reputation.disputed,
                "streak": one.reputation.streak,
                "checked_share": one.share,
            }
            for one in seen.names
        ]
        print_json("trust/1", {"policies": policies, "nodes": names})
        return
    if not seen.policies:
        click.echo("No job type is checked.")
    for name, policy in sorted(seen.policies.items()):
        click.echo(f"{name}: {_in_words(policy)}")
    for one in seen.names:
        share = "not checked" if one.share is None else f"{one.share:.0%} checked"
        counts = f"{one.reputation.agreed} agreed, {one.reputation.disputed} disputed, {one.reputation.streak} in a row"
        click.echo(f"  {one.name}  {one.job_type}  {counts}  {share}")


@trust.command()
@at_gateway
@as_json
def history(place: GatewaySettings, as_json: bool) -> None:
    """Show every policy that was ever set, oldest first."""
    from edgeagent.gateway import trusting

    found = [(_time(one.since), one.job_type, one.policy) for one in trusting.history(place)]
    if as_json:
        rows = [
            {"since": since, "job_type": name, "policy": None if one is None else _policy(one)}
            for since, name, one in found
        ]
        print_json("trust-history/1", {"policies": rows})
        return
    for since, name, policy in found:
        click.echo(f"{since}  {name}: {'off' if policy is None else _in_words(policy)}")


@trust.group()
def known() -> None:
    """Known answers: jobs whose result you vouch for, submitted again among others (set TYPE --known SHARE).

    Each asks again for the account that had submitted it, and costs what any job costs; keep an
    account for them, and look at the result before you add it.
    """


@known.command()
@at_gateway
@click.argument("job_id", metavar="JOB")
@as_json
def add(place: GatewaySettings, job_id: str, as_json: bool) -> None:
    """Use the result of the COMPLETED job JOB as a known answer."""
    from edgeagent.gateway import trusting

    new = trusting.know(place, job_id)
    if as_json:
        print_json("known-answer/1", {"job_id": job_id, "used": True, "changed": new})
    else:
        click.echo("Added." if new else "Nothing to change; it was used already.")


@known.command()
@at_gateway
@click.argument("job_id", metavar="JOB")
@as_json
def remove(place: GatewaySettings, job_id: str, as_json: bool) -> None:
    """Ask for the result of JOB no more."""
    from edgeagent.gateway import trusting

    was_used = trusting.forget(place, job_id)
    if as_json:
        print_json("known-answer/1", {"job_id": job_id, "used": False, "changed": was_used})
    else:
        click.echo("Removed." if was_used else "Nothing to change; it was not used.")


@known.command(name="list")
@at_gateway
@as_json
def list_(place: GatewaySettings, as_json: bool) -> None:
    """Show the known answers, and what became of the jobs that asked for them: FAILED are wrong or did not end."""
    from edgeagent.gateway import trusting

    found = trusting.known_answers(place)
    if as_json:
        rows = [
            {
                "job_id": one.job_id,
                "job_type": one.job_type,
                "account": one.account,
                "used": one.used,
                "asked": one.asked,
            }
            for one in found
        ]
        print_json("known-answers/1", {"known": rows})
        return
    for one in found:
        asked = ", ".join(f"{count} {state}" for state, count in one.asked.items()) or "not asked yet"
        click.echo(f"{one.job_id}  {one.job_type}  {one.account}  {asked}{'' if one.used else '  (removed)'}")


def _said(job_type: str, policy: Policy | None, changed: bool, as_json: bool) -> None:
    if as_json:
        document = None if policy is None else _policy(policy)
        print_json("trust-policy/1", {"job_type": job_type, "policy": document, "changed": changed})
    elif not changed:
        click.echo("Nothing to change; it was so already.")
    else:
        click.echo(f"{job_type}: {'off' if policy is None else _in_words(policy)}")


def _policy(policy: Policy) -> Json:
    rule = policy.rule
    return {
        "sure_after": policy.sure_after,
        "least": policy.least,
        "known": policy.known,
        "ignore": list(rule.ignore),
        "tolerance": rule.tolerance,
        "files": rule.files,
        "comparison": rule.installed,
    }


def _in_words(policy: Policy) -> str:
    rule = policy.rule
    words = [f"all of a node's first {policy.sure_after} results, then fewer, {policy.least:.0%} at least"]
    if policy.known:
        words.append(f"a known answer for {policy.known:.0%} of jobs")
    if rule.installed:
        return "; ".join([*words, f"compared by {rule.installed}"])
    if rule.ignore:
        words.append(f"{', '.join(rule.ignore)} may differ")
    if rule.tolerance:
        words.append(f"numbers may be {rule.tolerance:g} of the larger apart")
    if not rule.files:
        words.append("files are compared by name")
    return "; ".join(words)


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
