"""Organisations over HTTP."""

from __future__ import annotations

import hmac
from typing import Annotated

import structlog
from fastapi import APIRouter, Header, Request, Response

from app.access.attempt_limits import Limit
from app.access.callers import Caller, UserCaller
from app.access.limited_operations import limited
from app.access.operation_requirements import requires
from app.access.services import get_origins, get_services
from app.access.transactions import Db, transaction_refreshing_credentials
from app.access.trust_requirements import Applies
from app.access.user_permissions import Action, Resource
from app.core.config import Settings
from app.core.errors import TooMany
from app.core.fields import OptionalParameter
from app.core.ids import new_id
from app.core.outbox import relay, timers
from app.core.web.client_address import address_of, describe_client
from app.core.web.openapi import responses
from app.core.web.routing import Route
from app.organisations import service
from app.organisations.errors import DomainTaken, NotASandbox, SignUpClosed, SignUpTokenRequired
from app.organisations.schemas import (
    ClockAdvance,
    ClockAdvanceResult,
    Organisation,
    OrganisationCreate,
    OrganisationCreated,
    OrganisationUpdate,
    fired_timer,
)

WAIT_FOR_BUSY = 3.0  # seconds, for tickets that are locked by other requests

Reader = Annotated[Caller, requires(Resource.ORG, Action.VIEW, secret=True, customers=True)]
Editor = Annotated[UserCaller, requires(Resource.ORG, Action.UPDATE, admin=Applies.SOMETIMES, fresh=Applies.SOMETIMES)]
ClockMover = Annotated[Caller, requires(Resource.ORG, Action.UPDATE, secret=True)]

SignUpToken = Annotated[
    OptionalParameter[str],
    Header(description="The operator's token, which some installations require.", max_length=200),
]

log = structlog.get_logger("tessera.organisations")

router = APIRouter(tags=["Organisations"], route_class=Route)


@router.post(
    "/auth/org/signup",
    operation_id="signUpOrganisation",
    summary="Sign up an organisation",
    status_code=201,
    responses=responses(
        DomainTaken, SignUpClosed, SignUpTokenRequired, TooMany,
        body=True, ok={201: ("Location",)}, location="/org",
    ),
)  # fmt: skip
@limited(Limit.ORGANISATION_SIGN_UP)
async def sign_up(
    body: OrganisationCreate, request: Request, response: Response, x_sign_up_token: SignUpToken = None
) -> OrganisationCreated:
    """Create an organisation and its secret key, which your product posts tickets with.

    The secret key is shown only once: only a hash of it is stored. A sandbox is an organisation whose clock can be
    moved forward, to see within seconds what takes days.

    The organisation gets a default menu. `GET /me/menu` shows each user the entries that their permissions allow, and
    `/menus` changes it.

    The operator of an installation can require a token (`ORG_SIGN_UP=token`), or close it (`ORG_SIGN_UP=closed`).
    """
    services = get_services(request)
    await services.attempts.count_organisation_sign_up(address_of(request))
    _check_sign_up(services.settings, x_sign_up_token)
    org_id = new_id()  # row level security needs it before the organisation exists
    request.state.org_id = org_id  # for the log
    async with services.database.session(org_id) as db:
        organisation, secret = await service.sign_up(db, org_id, body.name, body.domain, sandbox=body.sandbox)
    response.headers["Location"] = "/org"
    return OrganisationCreated(
        id=organisation.id,
        name=organisation.name,
        domain=organisation.domain,
        sandbox=organisation.sandbox,
        secret=secret,
        created_at=organisation.created_at,
    )


def _check_sign_up(settings: Settings, token: str | None) -> None:
    if settings.org_sign_up == "closed":
        raise SignUpClosed
    if settings.org_sign_up == "token":
        assert settings.org_sign_up_token is not None
        expected = settings.org_sign_up_token.get_secret_value()
        if not hmac.compare_digest((token or "").encode(), expected.encode()):
            raise SignUpTokenRequired


@router.get(
    "/org",
    operation_id="getOrganisation",
    summary="Get the organisation's settings and clock",
    responses=responses(),
)
async def get_organisation(caller: Reader, db: Db) -> Organisation:
    """Get the caller's organisation. `now` is the time on its clock: real time, unless a sandbox's was moved."""
    row = await service.get_organisation(db, caller.org_id)
    return Organisation.of(row, caller.now)


@router.patch(
    "/org",
    operation_id="changeOrganisation",
    summary="Change the organisation's settings",
    responses=responses(body=True),
)
async def change_organisation(body: OrganisationUpdate, caller: Editor, request: Request) -> Organisation:
    """Change any of the settings. `autoCloseDays` applies to replies from now on.

    `allowedOrigins` are the origins of your front ends: browsers let their pages call this API (CORS). The origin of
    `appUrl` is always allowed. A change takes effect within seconds; browsers remember a permission for ten minutes.

    `appUrl`, `allowedOrigins`, `supportEmail` and `require2fa` carry trust: links in mails lead to `appUrl`, for
    example. Changing their values takes an admin who has just signed in, and is mailed to all admins. Sending the
    present values is no change.

    With `require2fa`, requests of admins and engineers without a second factor are refused with 403
    `second_factor_required` until they set one up: see `POST /auth/2fa/setup`.
    """
    async with transaction_refreshing_credentials(request, caller.org_id) as db:
        row = await service.change(db, caller, body.changes(), describe_client(request))
    get_origins(request).invalidate()
    return Organisation.of(row, caller.now)


@router.post(
    "/org/clock/advance",
    operation_id="advanceClock",
    summary="Move a sandbox's clock forward",
    responses=responses(NotASandbox, body=True),
)
async def advance_clock(body: ClockAdvance, caller: ClockMover, request: Request) -> ClockAdvanceResult:
    """Move the clock by the sum of days, hours and seconds.

    Everything that comes due on the way has happened, in order, before the response. Sessions, links in mails,
    invitations and limits still follow real time.
    """
    services = get_services(request)
    async with services.database.session(caller.org_id) as db:  # credentials of sandboxes are not cached
        advanced, fired = await service.advance_clock(
            db, caller.tenant, caller.actor, body.total(), services.ticket_timers
        )
    try:
        fired += await timers.run_remaining(
            services.database, caller.org_id, services.ticket_timers, seconds=WAIT_FOR_BUSY
        )
        await relay.catch_up(services.database, caller.org_id, services.subscribers)
    except Exception:
        # The clock has moved. An error would make the client move it again, so the worker does the rest.
        log.warning("advance_left_to_the_worker", org_id=str(caller.org_id), exc_info=True)
    return ClockAdvanceResult(
        now=advanced.now(),
        fired=[fired_timer(advanced, one.kind, one.subject_id, one.due_at) for one in fired],
    )
