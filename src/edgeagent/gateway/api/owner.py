"""The owner's page: the network at a glance, and dead letters to queue again; behind an admin token.

A login form takes the token and gives a session's cookie (``gateway.sessions``), which scripts cannot read and other
sites cannot make a browser send.  What changes something is a form with a word that only this session's pages hold.
"""

from __future__ import annotations

import secrets
from datetime import UTC, datetime

from litestar import Request, Response, get, post
from litestar.datastructures import Cookie, State
from litestar.params import FromPath

from edgeagent import __version__
from edgeagent.gateway import auth, sessions, statements
from edgeagent.gateway.api.errors import refuse
from edgeagent.gateway.api.guards import TheHub
from edgeagent.gateway.api.pages import OWNER_HEADERS, templates
from edgeagent.gateway.earnings import DAY_S
from edgeagent.gateway.hub import Hub
from edgeagent.gateway.ledger import CreditsShortError
from edgeagent.gateway.scopes import Scope
from edgeagent.gateway.sessions import COOKIE, Session
from edgeagent.gateway.store import Tx, accounts, checks, oversight, views
from edgeagent.gateway.store import payouts as stored_payouts
from edgeagent.gateway.store.checks import Name
from edgeagent.gateway.store.payouts import Month, Payout
from edgeagent.gateway.store.submissions import FileGoneError, NotDeadError

#: Dead letters on the page.
MAX_LETTERS = 50
#: Nodes, each with a job type, whose results were wrong, on the page.
MAX_DISPUTED = 20
#: Largest form, in bytes.
MAX_FORM_BYTES = 4096

_Request = Request[None, None, State]


@get("/owner", include_in_schema=False)
async def page(request: _Request, hub: TheHub) -> Response[str]:
    """Show the network to its owner, or the form to log in with."""
    session = await _session(request, hub)
    if session is None:
        return _html("login.html", wrong=False)
    return await _glance(hub, session)


@get("/owner/payouts/{month:str}", include_in_schema=False)
async def payouts(request: _Request, hub: TheHub, month: FromPath[str]) -> Response[str]:
    """Show the owner a month's statement, to print."""
    if await _session(request, hub) is None:
        return _html("login.html", wrong=False)
    found = await hub.store.read(_statement, month)
    if found is None:
        raise refuse(404, "this month was not paid; see /owner")
    render = templates.get_template("statement.html").generate
    text = "".join(statements.page(*found, hub.store.clock(), render))
    return Response(text, media_type="text/html", headers=OWNER_HEADERS)


@post("/owner/login", status_code=200, include_in_schema=False, request_max_body_size=MAX_FORM_BYTES)
async def login(request: _Request, hub: TheHub) -> Response[str]:
    """Begin a session for an admin token."""
    _own_site(request)
    form = await request.form()
    hashed = auth.token_sha256(str(form.get("token", "")).strip())
    if not await hub.store.look_up(_administers, hashed):
        return _html("login.html", status_code=403, wrong=True)
    value = hub.tokens.begin_session(hashed, secrets.token_bytes(16))
    answer = _moved()
    answer.cookies.append(_cookie(request, value, int(sessions.LIFE_S)))
    return answer


@post("/owner/logout", status_code=200, include_in_schema=False, request_max_body_size=MAX_FORM_BYTES)
async def logout(request: _Request, hub: TheHub) -> Response[str]:
    """End the session in this browser."""
    await _form(request, hub)
    answer = _moved()
    answer.cookies.append(_cookie(request, "", 0))
    return answer


@post("/owner/requeue", status_code=200, include_in_schema=False, request_max_body_size=MAX_FORM_BYTES)
async def requeue(request: _Request, hub: TheHub) -> Response[str]:
    """Queue a dead letter again, at its account's cost."""
    session, form = await _form(request, hub)
    job_id = form.get("job_id", "")
    try:
        new_id, replayed = await hub.requeue(job_id)
    except LookupError:
        return await _glance(hub, session, f"There is no job {job_id}.", status_code=404)
    except NotDeadError as error:
        return await _glance(hub, session, f"Not queued again: {error}.", status_code=409)
    except FileGoneError as error:
        return await _glance(hub, session, f"Not queued again: its account has {error} no more.", status_code=409)
    except CreditsShortError as error:
        return await _glance(hub, session, f"Not queued again: its account cannot pay; {error}.", status_code=402)
    said = "was queued again before" if replayed else "is queued again"
    return await _glance(hub, session, f"Job {job_id} {said}, as {new_id}.")


async def _session(request: _Request, hub: Hub) -> Session | None:
    """Return the session of the request's cookie, while its token is good."""
    session = hub.tokens.resume_session(request.cookies.get(COOKIE, ""))
    if session is None or not await hub.store.look_up(_administers, session.token_sha256):
        return None
    return session


async def _form(request: _Request, hub: Hub) -> tuple[Session, dict[str, str]]:
    """Return a form that a page of this session sent.

    Raises:
        HTTPException: there is no session, or the form is somebody else's.
    """
    _own_site(request)
    session = await _session(request, hub)
    if session is None:
        raise refuse(401, "the session has ended; log in again: /owner")
    form = {name: value for name, value in (await request.form()).items() if isinstance(value, str)}
    if not sessions.is_own_form(session, form.get("word", "")):
        raise refuse(403, "this form is not of a page of yours; load /owner again")
    return session, form


def _own_site(request: _Request) -> None:
    """Refuse what a browser sends for another site, where it says so; this covers the login, which has no session."""
    if request.headers.get("sec-fetch-site", "same-origin") not in {"same-origin", "none"}:
        raise refuse(403, "another site sent this")


def _administers(tx: Tx, token_sha256: str) -> bool:
    found = accounts.caller(tx, token_sha256)
    return found is not None and Scope.ADMIN in found.scopes


async def _glance(hub: Hub, session: Session, said: str = "", status_code: int = 200) -> Response[str]:
    seen, letters, names, disputed = await hub.store.read(_look)
    months = await hub.store.read(stored_payouts.months)
    days = [(datetime.fromtimestamp(day * DAY_S, UTC).date(), *counts) for day, counts in sorted(seen.done.items())]
    return _html(
        "owner.html",
        status_code=status_code,
        seen=seen,
        days=days,
        letters=letters,
        names=names,
        months=[one.month for one in reversed(months)],
        disputed=disputed,
        links=len(hub.network.sessions()),
        word=session.form_word,
        said=said,
        now=hub.store.clock(),
        most_attempts=oversight.LAST_ATTEMPTS,
        max_letters=MAX_LETTERS,
        most_entries=oversight.LAST_ENTRIES,
    )


def _look(tx: Tx) -> tuple[oversight.Glance, list[views.JobView], dict[str, str], list[Name]]:
    names = {account_id: name for name, account_id in accounts.ids(tx).items()}
    letters = views.dead_letters(tx, limit=MAX_LETTERS)
    return oversight.glance(tx), letters, names, checks.most_disputed(tx, MAX_DISPUTED)


def _statement(tx: Tx, month: str) -> tuple[Month, list[Payout]] | None:
    found = stored_payouts.months(tx, month)
    return (found[0], list(stored_payouts.listed(tx, month))) if found else None


def _moved() -> Response[str]:
    return Response("", status_code=303, media_type="text/html", headers={**OWNER_HEADERS, "Location": "/owner"})


def _cookie(request: _Request, value: str, max_age: int) -> Cookie:
    return Cookie(
        key=COOKIE,
        value=value,
        max_age=max_age,
        path="/owner",
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )


def _html(template: str, status_code: int = 200, **values: object) -> Response[str]:
    html = templates.get_template(template).render(version=__version__, **values)
    return Response(html, status_code=status_code, media_type="text/html", headers=OWNER_HEADERS)
