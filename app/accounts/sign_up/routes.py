"""Sign-up over HTTP."""

from __future__ import annotations

from dataclasses import replace

from fastapi import APIRouter, Request, Response

from app.access.attempt_limits import Limit
from app.access.limited_operations import limited
from app.access.operation_requirements import Product
from app.access.services import get_services
from app.access.tenant import Tenant
from app.accounts.sign_up import service
from app.accounts.sign_up.schemas import AdminSignUpRequest, SignUpRequest
from app.accounts.users.creation import NewUser, hash_new_password
from app.accounts.users.errors import EmailTaken, WeakPassword
from app.accounts.users.examples import CUSTOMER_USER
from app.accounts.users.schemas import User
from app.core.errors import TooMany
from app.core.threads import Busy
from app.core.web.client_address import address_of
from app.core.web.openapi import responses
from app.core.web.routing import Route
from app.organisations import queries as organisations
from app.organisations.errors import OrganisationNotFound

router = APIRouter(tags=["Signing in"], route_class=Route)


@router.post(
    "/auth/admin/signup",
    operation_id="signUpAdmin",
    summary="Sign up an admin",
    status_code=201,
    responses=responses(
        EmailTaken, WeakPassword, TooMany, Busy,
        body=True, ok={201: ("Location",)}, location="/me",
    ),
)  # fmt: skip
@limited(Limit.SIGN_UP)
async def sign_up_admin(body: AdminSignUpRequest, caller: Product, request: Request, response: Response) -> User:
    """Create an active admin of the secret key's organisation, who is available for tickets at once.

    Tickets that wait for an assignee are assigned before the response. A customer or a waiting sign-up that has the
    e-mail without having verified it is erased. Send the secret key in the header `X-Org-Secret` or in the body.
    """
    services = get_services(request)
    await services.attempts.count_sign_up(address_of(request), caller.org_id)
    new, password_hash = await _hash_password(body, caller.tenant, request)
    caller = replace(caller, now=caller.tenant.now())  # hashing took a while
    async with services.database.session(caller.org_id) as db:
        user = await service.sign_up_admin(db, caller, new, password_hash)
    response.headers["Location"] = "/me"
    return User.of(user)


@router.post(
    "/auth/signup",
    operation_id="signUp",
    summary="Sign up",
    status_code=201,
    responses=responses(
        OrganisationNotFound, WeakPassword, TooMany, Busy,
        body=True, ok={201: ("Location",)}, location="/me",
        example_overrides={201: {**CUSTOMER_USER, "emailVerified": False}},
    ),
)  # fmt: skip
@limited(Limit.SIGN_UP)
async def sign_up(body: SignUpRequest, request: Request, response: Response) -> User:
    """Create your own account in an organisation. A mail with a link verifies your e-mail address.

    A customer is `ACTIVE` at once. An engineer or an admin is `PENDING` until an admin of the organisation approves.
    If the e-mail is taken, the response is the same, but nothing is created and the owner of the address gets a mail
    instead. So do not rely on the `id` of this response: use the one that signing in returns.
    """
    services = get_services(request)
    database, attempts = services.database, services.attempts
    await attempts.count_sign_up(address_of(request))
    async with database.session(None) as db:
        tenant = await organisations.get_by_domain(db, body.org)
    request.state.org_id = tenant.id  # for the log
    new, password_hash = await _hash_password(body, tenant, request)
    sends_mail = await attempts.count_sign_up_mail(tenant.id, body.email, address_of(request))
    async with database.session(tenant.id) as db:
        user = await service.sign_up(
            db, tenant, new, body.role, password_hash, address=address_of(request), sends_mail=sends_mail
        )
    response.headers["Location"] = "/me"
    return User.of(user)


async def _hash_password(
    body: AdminSignUpRequest | SignUpRequest, tenant: Tenant, request: Request
) -> tuple[NewUser, str]:
    """Return the new user and the hash of their password."""
    password_hash = await hash_new_password(
        get_services(request).secret_key, tenant, body.password, body.first_name, body.last_name, email=body.email
    )
    return NewUser(body.first_name, body.last_name, body.email), password_hash
