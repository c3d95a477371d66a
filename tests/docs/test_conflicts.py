"""Refusals that depend on the state of the data have the documented codes."""

from __future__ import annotations

import socket
from typing import NamedTuple
from uuid import UUID

import pytest

from app.access.user_permissions import RoleKind
from app.accounts.roles.rules import ADMIN, ENGINEER
from app.accounts.users.rules import AccountStatus
from app.core.database.pool import Database
from tests.access.world import PASSWORD, World, create_world, totp_now
from tests.authentication.social.openid import running_service
from tests.docs.openapi import BY_ID
from tests.notifications.users import add_user as add_user_without_password
from tests.organisation_client import JSON, Api, Desk, SignedInUser, create_desk, open_session
from tests.postgres import TestServer

OTHER_PASSWORD = "walnut-otter-83-kite"
ALL_OF = {"view": True, "create": True, "update": True, "delete": True}


class Case(NamedTuple):
    """A request that must be refused with this code."""

    operation_id: str
    code: str
    resource_id: UUID | str = ""
    body: JSON | None = None


async def check_cases(api: Api, caller: SignedInUser | None, *cases: Case) -> None:
    for case in cases:
        operation = BY_ID[case.operation_id]
        headers = caller.headers if caller else {}
        path = operation.path.replace("{id}", str(case.resource_id))
        answer = await api.http.request(operation.method, path, json=case.body, headers=headers)

        assert answer.is_client_error, f"{case}: {answer.text}"
        assert answer.json()["code"] == case.code, f"{case}: {answer.text}"
        assert operation.documents(answer.status_code, case.code), f"{case}: {answer.text}"


@pytest.fixture
async def world(desk: Desk) -> World:
    return await create_world(desk)


async def test_conflicts_of_organisations_and_tickets_are_documented(api: Api, database: Database) -> None:
    desk = await create_desk(api, database, sandbox=False)
    other = await desk.another_admin("bo@growfin.test")
    accepted, closed = (await desk.open())["id"], (await desk.open())["id"]
    await desk.admin.post(f"/tickets/{accepted}/accept")
    await desk.admin.post(f"/tickets/{closed}/change_status", {"status": "CLOSED"})
    product = SignedInUser(desk.id, "", api.http, {"X-Org-Secret": desk.secret}, desk.id)
    name = {"firstName": "A", "lastName": "B", "email": other.email, "password": PASSWORD}

    await check_cases(
        api,
        other,
        Case("signUpOrganisation", "domain_taken", body={"name": "Growfin", "domain": desk.domain}),
        Case("advanceClock", "not_a_sandbox", body={"days": 1}),
        Case("acceptTicket", "already_accepted", accepted),
        Case("acceptTicket", "ticket_closed", closed),
        Case("respondToTicket", "ticket_closed", closed, {"message": "Hello"}),
        Case("changeTicket", "org_mismatch", closed, {"orgId": str(other.id)}),
        Case("changeTicketByPost", "assignee_not_active", closed, {"adminId": str(desk.id)}),
    )
    await check_cases(
        api,
        product,
        Case("signUpAdmin", "email_taken", body=name),
        Case("signUpAdmin", "weak_password", body=name | {"password": "password123"}),
    )


async def test_conflicts_of_users_are_documented(world: World) -> None:
    customer, pending = (
        await world.create_user(),
        await world.create_user(RoleKind.ENGINEER, status=AccountStatus.PENDING),
    )
    admin, api = world.desk.admin, world.desk.api
    invitation = {"firstName": "A", "lastName": "B", "email": customer.email, "role": "CUSTOMER"}

    await check_cases(
        api,
        admin,
        Case("inviteUser", "email_taken", body=invitation),
        Case("resendInvitation", "not_invited", customer.id),
        Case("cancelInvitation", "not_invited", customer.id),
        Case("approveUser", "not_pending", customer.id),
        Case("rejectUser", "not_pending", customer.id),
        Case("changeUser", "not_active_yet", pending.id, {"status": "SUSPENDED"}),
        Case("changeUser", "customer_not_available", customer.id, {"available": True}),
        Case("changeUser", "last_admin", admin.id, {"status": "SUSPENDED"}),
        Case("setUserRole", "last_admin", admin.id, {"roleId": str(ENGINEER.id)}),
        Case(
            "setUserPermissions", "last_admin", admin.id, {"granted": [], "denied": [{"resource": "org", "view": True}]}
        ),
        Case("eraseUser", "last_admin", admin.id),
        Case("resetUserSecondFactor", "second_factor_not_set_up", customer.id),
        Case("setUserRole", "invalid_input", customer.id, {"roleId": str(customer.id)}),
    )
    await check_cases(api, customer, Case("changeTicket", "not_for_customers", customer.id, {"status": "CLOSED"}))


async def test_privilege_escalations_are_documented(world: World) -> None:
    permissions = [{"resource": resource, **ALL_OF} for resource in ("users", "roles")]
    path = await world.create("/roles", {"name": "Clerk", "permissions": permissions})
    clerk = await world.create_user(RoleKind.ENGINEER, role_id=UUID(path.removeprefix("/roles/")))
    waiting = await world.create_user(RoleKind.ADMIN, status=AccountStatus.PENDING)
    invited = await world.create_user(RoleKind.ADMIN, status=AccountStatus.INVITED)
    admin, too_much = world.desk.admin, [{"resource": "org", "view": True}]
    invitation = {"firstName": "A", "lastName": "B", "email": "new@growfin.test", "role": "ADMIN"}

    await check_cases(
        world.desk.api,
        clerk,
        *(
            Case(operation_id, "privilege_escalation", resource_id, body)
            for operation_id, resource_id, body in (
                ("inviteUser", "", invitation),
                ("resendInvitation", invited.id, None),
                ("cancelInvitation", invited.id, None),
                ("approveUser", waiting.id, None),
                ("rejectUser", waiting.id, None),
                ("changeUser", admin.id, {"available": False}),
                ("eraseUser", admin.id, None),
                ("resetUserSecondFactor", admin.id, None),
                ("setUserRole", clerk.id, {"roleId": str(ADMIN.id)}),
                ("setUserPermissions", clerk.id, {"granted": too_much, "denied": []}),
                ("createRole", "", {"name": "More", "permissions": too_much}),
                ("changeRole", world.role_id, {"name": "Other"}),
                ("deleteRole", world.role_id, None),
            )
        ),
    )


async def test_conflicts_of_roles_and_menus_are_documented(world: World) -> None:
    await world.create_caller("auditor")
    menus = [await world.create("/menus", {"name": "Reports"})]
    for _ in range(3):
        menus.append(await world.create("/menus", {"name": "Reports", "parentId": menus[-1].removeprefix("/menus/")}))
    top, *_, deepest = (path.removeprefix("/menus/") for path in menus)

    await check_cases(
        world.desk.api,
        world.desk.admin,
        Case("createRole", "role_name_taken", body={"name": "Auditor"}),
        Case("changeRole", "role_name_taken", world.role_id, {"name": "Admin"}),
        Case("changeRole", "built_in_role", ENGINEER.id, {"name": "Other"}),
        Case("deleteRole", "built_in_role", ENGINEER.id),
        Case("deleteRole", "role_in_use", world.role_id),
        Case("createMenu", "menu_too_deep", body={"name": "Reports", "parentId": deepest}),
        Case("changeMenu", "menu_cycle", top, {"parentId": deepest}),
        Case("deleteMenu", "menu_has_children", top),
    )


async def test_refusals_about_the_callers_own_account_are_documented(world: World) -> None:
    user, api = await world.create_user(RoleKind.ADMIN), world.desk.api
    without_password = await open_session(world.desk, await add_user_without_password(world.desk))

    def passwords(current: str, new: str) -> JSON:
        return {"currentPassword": current, "newPassword": new}

    await check_cases(
        api,
        user,
        Case("changePassword", "wrong_password", body=passwords(OTHER_PASSWORD, PASSWORD)),
        Case("changePassword", "same_password", body=passwords(PASSWORD, PASSWORD)),
        Case("changePassword", "weak_password", body=passwords(PASSWORD, "password123")),
        Case("changeEmail", "wrong_password", body={"email": "new@growfin.test", "password": OTHER_PASSWORD}),
        Case("changeEmail", "same_email", body={"email": user.email, "password": PASSWORD}),
        Case("confirmSecondFactor", "second_factor_not_set_up", body={"code": "000000"}),
    )
    await check_cases(
        api, without_password, Case("changePassword", "no_password", body=passwords(PASSWORD, OTHER_PASSWORD))
    )


async def test_refusals_about_the_second_factor_are_documented(world: World) -> None:
    user, api = await world.create_user(RoleKind.ADMIN), world.desk.api
    secret = (await user.post("/auth/2fa/setup")).json()["secret"]
    assert (await user.post("/auth/2fa/confirm", {"code": totp_now(secret)})).status_code == 200
    assert (await user.patch("/org", {"require2fa": True})).status_code == 200
    signing_in: JSON = {"email": user.email, "password": PASSWORD}

    await check_cases(
        api,
        user,
        Case("setUpSecondFactor", "second_factor_active"),
        Case("confirmSecondFactor", "second_factor_active", body={"code": "000000"}),
        Case("renewRecoveryCodes", "wrong_code", body={"code": totp_now(secret)}),  # used a moment ago
        Case("disableSecondFactor", "second_factor_mandatory", body={"recoveryCode": "AAAAA-AAAAA"}),
        Case("signIn", "totp_required", body=signing_in),
        Case("signIn", "totp_invalid", body=signing_in | {"recoveryCode": "AAAAA-AAAAA"}),
    )


async def test_refusals_of_sign_up_and_sign_in_are_documented(world: World) -> None:
    customer, api = await world.create_user(), world.desk.api
    signing_up = {"firstName": "A", "lastName": "B", "email": "new@growfin.test", "password": PASSWORD}
    cases = [
        Case("signIn", "wrong_email_or_password", body={"email": customer.email, "password": OTHER_PASSWORD}),
        Case("signInAdmin", "wrong_role", body={"email": customer.email, "password": PASSWORD}),
        Case("signUp", "organisation_not_found", body=signing_up | {"org": f"not-{world.desk.domain}"}),
        Case("signUp", "weak_password", body=signing_up | {"org": world.desk.domain, "password": "password123"}),
    ]
    for status in (AccountStatus.PENDING, AccountStatus.REJECTED, AccountStatus.SUSPENDED):
        user = await world.create_user(status=status)
        body = {"email": user.email, "password": PASSWORD}
        cases += [Case(name, f"account_{status.lower()}", body=body) for name in ("signIn", "signInCustomer")]

    await check_cases(api, None, *cases)


async def test_refusals_of_social_sign_in_are_documented(desk: Desk, server: TestServer) -> None:
    async with running_service(server, google=f"http://127.0.0.1:{find_closed_port()}") as service:
        for operation_id, query, code in (
            ("startSocialSignIn", {"org": f"not-{desk.domain}"}, "organisation_not_found"),
            ("startSocialSignIn", {"org": desk.domain}, "provider_unavailable"),
            ("finishSocialSignIn", {"code": "1", "state": "2"}, "state_mismatch"),
        ):
            operation = BY_ID[operation_id]
            path = operation.path.replace("{provider}", "google")
            answer = await service.api.http.get(path, params=query)

            assert answer.json()["code"] == code
            assert operation.documents(answer.status_code, code)


def find_closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
