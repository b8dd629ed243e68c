"""Puts the REST API together."""

from __future__ import annotations

import functools
from typing import cast

import trio
from litestar import Litestar, Router
from litestar.datastructures import State
from litestar.di import Provide
from litestar.exceptions import (
    HTTPException,
    MethodNotAllowedException,
    NotFoundException,
    ValidationException,
)

from edgeagent.gateway.api import (
    attempts,
    board,
    describe,
    errors,
    events,
    figures,
    files,
    guards,
    jobs,
    month_statements,
    nodes,
    own,
    owner,
    payout,
    profile,
    public,
    submissions,
    throttles,
    uploading,
    uploads,
)
from edgeagent.gateway.api.documents import Bodies, JsonRequest
from edgeagent.gateway.api.figures import JobCounts
from edgeagent.gateway.api.shared import Shared, give
from edgeagent.gateway.api.throttles import Throttles
from edgeagent.gateway.asgi import App, Receive, Scope, Send
from edgeagent.gateway.blocking import BlobsUnavailableError
from edgeagent.gateway.boards import Boards
from edgeagent.gateway.hub import Hub
from edgeagent.gateway.store import StoreUnavailableError
from edgeagent.wire.urls import API_PREFIX

#: Largest body of a request, in bytes, but for files.
MAX_BODY_BYTES = 256 << 10


def application(hub: Hub) -> App:
    """Return the REST API over ``hub``."""
    rest = cast(App, _litestar())
    shared = Shared(
        hub=hub,
        throttles=Throttles(hub.settings.ceilings),
        boards=Boards(hub.store),
        job_counts=JobCounts(hub.store),
        bodies=Bodies(),
    )

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        uploading.take_method(scope)
        give(shared, scope)
        await rest(scope, receive, send)

    return app


@functools.cache
def _litestar() -> Litestar:
    """Return the API of whichever gateway a request is for; to make it takes longer than a hundred requests."""
    versioned = Router(
        path=API_PREFIX,
        route_handlers=[
            # Before the controllers: the first one counts.
            jobs.options,
            profile.options,
            files.options,
            uploads.options,
            uploads.options_of_attempt,
            uploads.options_of_one,
            nodes.NodesController,
            jobs.JobsController,
            submissions.SubmissionsController,
            events.events,
            jobs.account,
            own.standing_of,
            own.earnings_of,
            own.verdicts_of,
            payout.change_payout_address,
            payout.payout_address_of,
            month_statements.corrections_of,
            month_statements.statements_of_all,
            month_statements.statement_of,
            month_statements.inclusion_of,
            month_statements.consistency_of,
            profile.profile,
            profile.change_profile,
            files.FilesController,
            uploads.UploadsController,
            uploads.AttemptUploadsController,
            attempts.get_input,
            attempts.get_payload,
        ],
    )
    return Litestar(
        route_handlers=[
            versioned,
            board.board,
            board.page,
            board.node_page,
            owner.page,
            owner.payouts,
            owner.login,
            owner.logout,
            owner.requeue,
            public.file,
            public.jwks,
            public.health,
            public.ready,
            figures.metrics,
        ],
        state=State({"describing": trio.Lock()}),
        dependencies={
            "hub": Provide(guards.hub),
            "boards": Provide(board.boards),
            "account_id": Provide(guards.account_id),
            "node": Provide(guards.node),
        },
        guards=[throttles.visiting],
        exception_handlers={
            HTTPException: errors.http_error,
            NotFoundException: throttles.nowhere,
            MethodNotAllowedException: throttles.nowhere,
            ValidationException: errors.invalid,
            StoreUnavailableError: errors.unavailable,
            BlobsUnavailableError: errors.unavailable,
            Exception: errors.bug,
        },
        before_send=[uploading.mark],
        request_class=JsonRequest,
        request_max_body_size=MAX_BODY_BYTES,
        openapi_config=describe.config(),
        logging_config=None,
    )
