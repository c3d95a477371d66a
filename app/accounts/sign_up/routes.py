"""Users over HTTP: signing up."""

from __future__ import annotations

from dataclasses import replace

from fastapi import APIRouter, Request, Response

from app.access.dependencies import address_of
from app.access.requirements import Product
from app.access.services import services_of
from app.access.tenant import Tenant
from app.accounts.sign_up.schemas import AdminSignUpRequest, SignUpRequest
from app.accounts.users import creation as service
from app.accounts.users.creation import NewUser
from app.accounts.users.fields import MIA
from app.accounts.users.schemas import User
from app.core.errors import TooMany
from app.core.threads import Busy
from app.core.web.openapi import responses
from app.core.web.routing import Route
from app.organisations import queries as organisations
from app.organisations.queries import OrganisationNotFound

router = APIRouter(tags=["Signing in"], route_class=Route)


@router.post(
    "/auth/admin/signup",
    operation_id="signUpAdmin",
    summary="Sign an admin up",
    status_code=201,
    responses=responses(
        service.EmailTaken, service.WeakPassword, TooMany, Busy,
        body=True, ok={201: ("Location",)}, location="/me",
    ),
)  # fmt: skip
async def sign_up_admin(body: AdminSignUpRequest, caller: Product, request: Request, response: Response) -> User:
    """Make an active admin of the secret's organisation, who is available for tickets at once.

    Tickets that were waiting for somebody are theirs when this answers. The secret comes in the header `X-Org-Secret`
    or in the body.
    """
    services = services_of(request)
    await services.attempts.count_sign_up(address_of(request), caller.org_id)
    new, password_hash = await _hashed(body, caller.tenant, request)
    caller = replace(caller, now=caller.tenant.now())  # hashing took its time
    async with services.database.session(caller.org_id) as db:
        user = await service.sign_up_admin(db, caller, new, password_hash)
    response.headers["Location"] = "/me"
    return User.of(user)


@router.post(
    "/auth/signup",
    operation_id="signUp",
    summary="Sign yourself up",
    status_code=201,
    responses=responses(
        OrganisationNotFound, service.WeakPassword, TooMany, Busy,
        body=True, ok={201: ("Location",)}, location="/me", example_overrides={201: {**MIA, "emailVerified": False}},
    ),
)  # fmt: skip
async def sign_up(body: SignUpRequest, request: Request, response: Response) -> User:
    """Get an account of an organisation, and a mail with a link that proves your e-mail.

    A customer is `ACTIVE` at once. An engineer or an admin is `PENDING` until an admin of the organisation approves.
    Where the e-mail is taken already the answer is the same, nothing changes, and its owner gets a mail instead: keep
    the `id` that signing in tells, rather than this one.
    """
    services = services_of(request)
    database, attempts = services.database, services.attempts
    await attempts.count_sign_up(address_of(request))
    async with database.session(None) as db:
        tenant = await organisations.by_domain(db, body.org)
    request.state.org_id = tenant.id  # for the log
    new, password_hash = await _hashed(body, tenant, request)
    await attempts.count_mail("sign-up", body.email)
    async with database.session(tenant.id) as db:
        user = await service.sign_up(db, tenant, new, body.role, password_hash)
    response.headers["Location"] = "/me"
    return User.of(user)


async def _hashed(body: AdminSignUpRequest | SignUpRequest, tenant: Tenant, request: Request) -> tuple[NewUser, str]:
    """Who signs up, and the hash of their password."""
    password_hash = await service.hash_new_password(
        services_of(request).secret_key, tenant, body.password, body.first_name, body.last_name, email=body.email
    )
    return NewUser(body.first_name, body.last_name, body.email), password_hash
