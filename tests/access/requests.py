"""A valid request for each operation. Each call makes a new resource for it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

from app.access.user_permissions import RoleKind
from app.accounts.roles.rules import ENGINEER
from app.accounts.single_use_links.models import LinkPurpose
from app.accounts.users.rules import AccountStatus
from tests.access.world import PASSWORD, World, make_picture, totp_now
from tests.organisation_client import JSON, SignedInUser

NEW_PASSWORD = "walnut-otter-83-kite"


@dataclass(frozen=True)
class Request:
    """A request without its credential."""

    path: str
    body: JSON | None = None
    files: dict[str, Any] | None = None


# Makes the request of a caller; `caller` is `None` unless it is a user.
Make = Callable[[World, SignedInUser | None], Awaitable[Request]]


def _fixed(path: str, body: JSON | None = None) -> Make:
    async def make(_world: World, _caller: SignedInUser | None) -> Request:
        return Request(path, body)

    return make


def _unique() -> str:
    return uuid4().hex


def _user_fields() -> JSON:
    return {"firstName": "Mia", "lastName": "Wong", "email": f"n{_unique()}@growfin.test"}


# --- organisations and signing in ------------------------------------------------------------------------------------


async def _sign_up_organisation(_world: World, _caller: SignedInUser | None) -> Request:
    return Request("/auth/org/signup", {"name": "Fyle", "domain": f"f{_unique()}.test"})


async def _sign_up(world: World, _caller: SignedInUser | None) -> Request:
    return Request(
        "/auth/signup", {**_user_fields(), "org": world.desk.domain, "role": "ENGINEER", "password": PASSWORD}
    )


async def _sign_up_admin(_world: World, _caller: SignedInUser | None) -> Request:
    return Request("/auth/admin/signup", {**_user_fields(), "password": PASSWORD})


def _sign_in(path: str, role: RoleKind) -> Make:
    async def make(world: World, _caller: SignedInUser | None) -> Request:
        return Request(path, {"email": (await world.create_user(role)).email, "password": PASSWORD})

    return make


def _link(path: str, purpose: LinkPurpose, status: AccountStatus = AccountStatus.ACTIVE, **more: str) -> Make:
    async def make(world: World, _caller: SignedInUser | None) -> Request:
        user = await world.create_user(status=status)
        return Request(path, {"token": await world.issue_link_token(user, purpose), **more})

    return make


async def _confirm_domain(world: World, _caller: SignedInUser | None) -> Request:
    postmaster = replace(await world.create_user(), email=f"postmaster@f{_unique()}.test")
    token = await world.issue_link_token(postmaster, LinkPurpose.VERIFY_DOMAIN)
    return Request("/org/domain/confirm", {"token": token})


async def _verify_domain(_world: World, _caller: SignedInUser | None) -> Request:
    return Request("/org/domain/verify", {"method": "EMAIL", "domain": f"f{_unique()}.test"})


async def _refresh(world: World, _caller: SignedInUser | None) -> Request:
    return Request("/auth/refresh", {"refreshToken": await world.create_refresh_token()})


async def _end_session(_world: World, caller: SignedInUser | None) -> Request:
    return Request(f"/me/sessions/{caller.session_id if caller else uuid4()}")


async def _forgot(world: World, _caller: SignedInUser | None) -> Request:
    return Request("/auth/password/forgot", {"email": (await world.create_user()).email})


async def _resend(world: World, _caller: SignedInUser | None) -> Request:
    return Request("/auth/email/resend", {"email": (await world.create_user(verified=False)).email})


async def _verify_email(world: World, _caller: SignedInUser | None) -> Request:
    user = await world.create_user(verified=False)
    token = await world.issue_link_token(user, LinkPurpose.VERIFY_EMAIL)
    return Request("/auth/email/verify", {"token": token, "account": str(user.id)})


async def _disown_email(world: World, _caller: SignedInUser | None) -> Request:
    user = await world.create_user(verified=False)
    return Request("/auth/email/disown", {"token": await world.issue_link_token(user, LinkPurpose.VERIFY_EMAIL)})


async def _change_email(_world: World, _caller: SignedInUser | None) -> Request:
    return Request("/auth/email/change", {"email": f"n{_unique()}@growfin.test", "password": PASSWORD})


def _second_factor(path: str, *, confirmed: bool) -> Make:
    async def make(world: World, caller: SignedInUser | None) -> Request:
        if caller is None:
            return Request(path, {"code": "000000"})
        setup = await world.desk.api.http.post("/auth/2fa/setup", headers=caller.headers)
        secret = setup.json()["secret"]
        if not confirmed:
            return Request(path, {"code": totp_now(secret)})
        code = {"code": totp_now(secret)}
        response = await world.desk.api.http.post("/auth/2fa/confirm", json=code, headers=caller.headers)
        assert response.status_code == 200, response.text
        return Request(path, {"code": totp_now(secret, later=1)})

    return make


# --- users ----------------------------------------------------------------------------------------------------------


def _user(
    path: str, body: JSON | None = None, status: AccountStatus = AccountStatus.ACTIVE, *, second_factor: bool = False
) -> Make:
    async def make(world: World, _caller: SignedInUser | None) -> Request:
        user = await world.create_user(status=status, second_factor=second_factor)
        return Request(path.replace("{id}", str(user.id)), body)

    return make


async def _invite(_world: World, _caller: SignedInUser | None) -> Request:
    return Request("/users", {**_user_fields(), "role": "ENGINEER"})


async def _set_picture(_world: World, _caller: SignedInUser | None) -> Request:
    return Request("/me/picture", files={"file": ("me.png", make_picture(), "image/png")})


async def _get_picture(world: World, _caller: SignedInUser | None) -> Request:
    user = await world.create_user(RoleKind.ENGINEER)
    request = await _set_picture(world, None)
    response = await user.http.put(request.path, files=request.files, headers=user.headers)
    assert response.status_code == 200, response.text
    return Request(f"/users/{user.id}/picture")


def _role(body: JSON | None = None) -> Make:
    async def make(world: World, _caller: SignedInUser | None) -> Request:
        return Request(await world.create("/roles", {"name": _unique(), "permissions": []}), body)

    return make


async def _create_role(_world: World, _caller: SignedInUser | None) -> Request:
    return Request("/roles", {"name": _unique(), "permissions": [{"resource": "tickets", "view": True}]})


def _menu(body: JSON | None = None) -> Make:
    async def make(world: World, _caller: SignedInUser | None) -> Request:
        return Request(await world.create("/menus", {"name": "Reports", "url": "/reports"}), body)

    return make


# --- tickets ---------------------------------------------------------------------------------------------------------


async def _open_ticket(_world: World, caller: SignedInUser | None) -> Request:
    body = {"title": "It broke", "description": "All of it."}
    return Request("/tickets", body if caller else {**body, "addedBy": "mia@customer.example"})


def _ticket(path: str, body: JSON | None = None) -> Make:
    async def make(world: World, _caller: SignedInUser | None) -> Request:
        return Request(path.replace("{id}", (await world.desk.open())["id"]), body)

    return make


async def _notification(world: World, _caller: SignedInUser | None) -> Request:
    return Request(f"/notifications/{await world.queue_notification()}")


_TITLE = {"title": "It broke again"}

# --- requesters ------------------------------------------------------------------------------------------------------


async def _create_requester(_world: World, _caller: SignedInUser | None) -> Request:
    return Request("/requesters", {"email": f"c{_unique()}@customer.example"})


def _requester(path: str, body: JSON | None = None) -> Make:
    async def make(world: World, _caller: SignedInUser | None) -> Request:
        return Request(path.format(id=await world.create_requester()), body)

    return make


async def _merge_requester(world: World, _caller: SignedInUser | None) -> Request:
    merged, into = await world.create_requester(), await world.create_requester()
    return Request(f"/requesters/{merged}/merge", {"into": into})


REQUESTS: dict[str, Make] = {
    "signUpOrganisation": _sign_up_organisation,
    "getOrganisation": _fixed("/org"),
    "changeOrganisation": _fixed("/org", {"autoCloseDays": 31}),
    "advanceClock": _fixed("/org/clock/advance", {"seconds": 1}),
    "getOrganisationDomain": _fixed("/org/domain"),
    "verifyOrganisationDomain": _verify_domain,
    "confirmOrganisationDomain": _confirm_domain,
    "signUp": _sign_up,
    "signUpAdmin": _sign_up_admin,
    "signIn": _sign_in("/auth/signin", RoleKind.CUSTOMER),
    "signInAdmin": _sign_in("/auth/admin/signin", RoleKind.ADMIN),
    "signInEngineer": _sign_in("/auth/engineer/signin", RoleKind.ENGINEER),
    "signInCustomer": _sign_in("/auth/customer/signin", RoleKind.CUSTOMER),
    "startSocialSignIn": _fixed("/auth/oidc/nowhere/start?org=growfin.com"),
    "finishSocialSignIn": _fixed("/auth/oidc/nowhere/callback?code=1&state=2"),
    "exchangeSocialSignIn": _link("/auth/oidc/exchange", LinkPurpose.SIGN_IN),
    "refreshSession": _refresh,
    "signOut": _fixed("/auth/signout"),
    "reauthenticate": _fixed("/auth/reauthenticate", {"password": PASSWORD}),
    "signOutEverywhere": _fixed("/auth/signout-all"),
    "verifyToken": _fixed("/auth/verify", {"token": "not-one"}),
    "listMySessions": _fixed("/me/sessions"),
    "endMySession": _end_session,
    "forgotPassword": _forgot,
    "resetPassword": _link("/auth/password/reset", LinkPurpose.RESET_PASSWORD, newPassword=NEW_PASSWORD),
    "changePassword": _fixed("/auth/password/change", {"currentPassword": PASSWORD, "newPassword": NEW_PASSWORD}),
    "verifyEmail": _verify_email,
    "lookUpEmailLink": _link("/auth/email/lookup", LinkPurpose.VERIFY_EMAIL),
    "disownEmail": _disown_email,
    "resendVerification": _resend,
    "changeEmail": _change_email,
    "setUpSecondFactor": _fixed("/auth/2fa/setup"),
    "confirmSecondFactor": _second_factor("/auth/2fa/confirm", confirmed=False),
    "disableSecondFactor": _second_factor("/auth/2fa/disable", confirmed=True),
    "renewRecoveryCodes": _second_factor("/auth/2fa/recovery-codes", confirmed=True),
    "acceptInvitation": _link(
        "/auth/invitation/accept", LinkPurpose.INVITATION, AccountStatus.INVITED, password=NEW_PASSWORD
    ),
    "getMe": _fixed("/me"),
    "changeMe": _fixed("/me", {"firstName": "Maya"}),
    "setPicture": _set_picture,
    "deletePicture": _fixed("/me/picture"),
    "getPicture": _get_picture,
    "getMyMenu": _fixed("/me/menu"),
    "listUsers": _fixed("/users"),
    "getUser": _user("/users/{id}"),
    "inviteUser": _invite,
    "resendInvitation": _user("/users/{id}/invitation", status=AccountStatus.INVITED),
    "cancelInvitation": _user("/users/{id}/invitation", status=AccountStatus.INVITED),
    "changeUser": _user("/users/{id}", {"status": "SUSPENDED"}),
    "eraseUser": _user("/users/{id}"),
    "approveUser": _user("/users/{id}/approve", status=AccountStatus.PENDING),
    "rejectUser": _user("/users/{id}/reject", {"reason": "Unknown here."}, status=AccountStatus.PENDING),
    "setUserRole": _user("/users/{id}/role", {"roleId": str(ENGINEER.id)}),
    "resetUserSecondFactor": _user("/users/{id}/2fa", second_factor=True),
    "getUserPermissions": _user("/users/{id}/permissions"),
    "setUserPermissions": _user(
        "/users/{id}/permissions", {"granted": [], "denied": [{"resource": "tickets", "create": True}]}
    ),
    "listRoles": _fixed("/roles"),
    "createRole": _create_role,
    "getRole": _role(),
    "changeRole": _role({"permissions": [{"resource": "tickets", "view": True}]}),
    "deleteRole": _role(),
    "listMenus": _fixed("/menus"),
    "createMenu": _fixed("/menus", {"name": "Reports", "url": "/reports"}),
    "getMenu": _menu(),
    "changeMenu": _menu({"name": "Figures"}),
    "deleteMenu": _menu(),
    "listRequesters": _fixed("/requesters"),
    "createRequester": _create_requester,
    "getRequester": _requester("/requesters/{id}"),
    "changeRequester": _requester("/requesters/{id}", {"name": "Mia"}),
    "mergeRequester": _merge_requester,
    "eraseRequester": _requester("/requesters/{id}"),
    "openTicket": _open_ticket,
    "listTickets": _fixed("/tickets"),
    "getTicket": _ticket("/tickets/{id}"),
    "changeTicket": _ticket("/tickets/{id}", _TITLE),
    "changeTicketByPost": _ticket("/tickets/{id}", _TITLE),
    "changeTicketStatus": _ticket("/tickets/{id}/change_status", {"status": "IN_PROGRESS"}),
    "acceptTicket": _ticket("/tickets/{id}/accept"),
    "respondToTicket": _ticket("/tickets/{id}/respond", {"message": "Fixed."}),
    "getTicketHistory": _ticket("/tickets/{id}/history"),
    "getTicketSchedule": _ticket("/tickets/{id}/schedule"),
    "listNotifications": _fixed("/notifications"),
    "getNotification": _notification,
    "getJobs": _fixed("/jobs"),
    "getIndex": _fixed("/"),
    "isLive": _fixed("/health/live"),
    "isReady": _fixed("/health/ready"),
    "getMetrics": _fixed("/metrics"),
}
