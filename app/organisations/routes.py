"""Organisations over HTTP."""

from __future__ import annotations

from typing import Annotated

import structlog
from fastapi import APIRouter, Depends, Request, Response
from sqlalchemy.ext.asyncio import AsyncSession

from app.access.callers import Caller
from app.access.permissions import Action, Resource
from app.access.requirements import Db, acting_at_once, address_of, database_of, may, tenant_session
from app.core.errors import TooMany
from app.core.ids import new_id
from app.core.outbox import relay, timers
from app.core.web.limits import network_of
from app.core.web.openapi import answers
from app.core.web.routing import Route
from app.organisations import service
from app.organisations.schemas import (
    ClockAdvance,
    ClockAdvanced,
    OrganisationChange,
    OrganisationCreated,
    OrganisationIn,
    OrganisationOut,
    fired_timer,
)

WAIT_FOR_BUSY = 3.0  # seconds, for tickets that somebody is changing at the moment

Reader = Annotated[Caller, may(Resource.ORG, Action.VIEW, secret=True, customers=True)]
Editor = Annotated[Caller, may(Resource.ORG, Action.UPDATE)]
ClockMover = Annotated[Caller, may(Resource.ORG, Action.UPDATE, secret=True)]

log = structlog.get_logger("tessera.organisations")

router = APIRouter(tags=["Organisations"], route_class=Route)


async def _within_the_limit(request: Request) -> None:
    address = network_of(address_of(request))
    await request.app.state.limiter.hit(request.app.state.settings.sign_up_limit, "org-sign-up", address)


async def _new_organisation(request: Request) -> None:
    # Row level security wants to know the organisation before it exists.
    request.state.org_id = new_id()


@router.post(
    "/auth/org/signup",
    operation_id="signUpOrganisation",
    summary="Sign an organisation up",
    status_code=201,
    responses=answers(service.DomainTaken, TooMany, body=True, ok={201: ("Location",)}),
    dependencies=[Depends(_within_the_limit), Depends(_new_organisation)],
)
async def sign_up(
    body: OrganisationIn,
    request: Request,
    response: Response,
    db: Annotated[AsyncSession, Depends(tenant_session, scope="function")],
) -> OrganisationCreated:
    """Make an organisation and its secret, which your product posts tickets with.

    The secret is shown this once: only a hash of it is kept. A sandbox is an organisation whose clock can be moved
    forward, to see within seconds what takes days.

    A default menu comes with it, which `GET /me/menu` shows to each user as far as their permissions reach, and
    `/menus` changes.
    """
    organisation, secret = await service.sign_up(db, request.state.org_id, body.name, body.domain, sandbox=body.sandbox)
    response.headers["Location"] = "/org"
    return OrganisationCreated(
        id=organisation.id,
        name=organisation.name,
        domain=organisation.domain,
        sandbox=organisation.sandbox,
        secret=secret,
        created_at=organisation.created_at,
    )


@router.get(
    "/org",
    operation_id="getOrganisation",
    summary="Read the organisation's settings and clock",
    responses=answers(),
)
async def get_organisation(caller: Reader, db: Db) -> OrganisationOut:
    """The caller's own organisation. `now` is its clock: real time, unless a sandbox's was moved."""
    row = await service.read(db, caller.org_id)
    return OrganisationOut.of(row, caller.now)


@router.patch(
    "/org",
    operation_id="changeOrganisation",
    summary="Change the organisation's settings",
    responses=answers(body=True),
)
async def change_organisation(body: OrganisationChange, caller: Editor, request: Request) -> OrganisationOut:
    """Change any of the settings. `autoCloseDays` counts for tickets answered from now on.

    With `require2fa`, admins and engineers without a second factor are refused with 403 `second_factor_required` until
    they have one: see `POST /auth/2fa/setup`.
    """
    async with acting_at_once(request, caller.org_id) as db:
        row = await service.change(db, caller.tenant, caller.actor, body.model_dump(exclude_unset=True))
    return OrganisationOut.of(row, caller.now)


@router.post(
    "/org/clock/advance",
    operation_id="advanceClock",
    summary="Move a sandbox's clock forward",
    responses=answers(service.NotASandbox, body=True),
)
async def advance_clock(body: ClockAdvance, caller: ClockMover, request: Request) -> ClockAdvanced:
    """Move the clock by the sum of days, hours and seconds.

    Everything that comes due on the way has happened, in order, when this answers. What keeps accounts safe goes by
    real time all the same: sessions, links in mails, invitations, limits.
    """
    state = request.app.state
    database = database_of(request)
    async with acting_at_once(request, caller.org_id) as db:
        advanced, fired = await service.advance_clock(
            db, caller.tenant, caller.actor, body.total(), state.ticket_timers
        )
    try:
        fired += await timers.run_rest(database, caller.org_id, state.ticket_timers, seconds=WAIT_FOR_BUSY)
        await relay.catch_up(database, caller.org_id, state.subscribers)
    except Exception:
        # The clock has moved: an error now would have the client move it again. The worker does what is left.
        log.warning("advance_left_to_the_worker", org_id=str(caller.org_id), exc_info=True)
    return ClockAdvanced(
        now=advanced.now(),
        fired=[fired_timer(advanced, one.kind, one.subject_id, one.due_at) for one in fired],
    )
