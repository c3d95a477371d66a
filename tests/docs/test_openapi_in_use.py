"""The service behaves as the OpenAPI document says: every operation is called with its unchanged example."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import uuid4

import httpx
import pytest
from asgi_lifespan import LifespanManager

from app.main import create_app
from tests.access.world import make_picture
from tests.conftest import copy_database, settings_for
from tests.docs.openapi import BY_ID, DOCUMENT, JSON_MEDIA, find_schema_errors
from tests.docs.tour import Tour
from tests.organisation_client import Desk
from tests.postgres import TestServer


@pytest.fixture(scope="module")
async def http(server: TestServer) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the service on an empty database."""
    name = f"openapi_{uuid4().hex[:8]}"
    await copy_database(server, name)
    async with LifespanManager(create_app(settings_for(server.at(name)))) as manager:
        transport = httpx.ASGITransport(app=manager.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://tessera.test") as client:
            yield client


# Operations whose examples are refused: their token, code, image, provider or id does not exist.
REFUSED = {
    "startSocialSignIn": "provider_not_found",
    "finishSocialSignIn": "provider_not_found",
    "exchangeSocialSignIn": "link_expired",
    "refreshSession": "invalid_refresh_token",
    "resetPassword": "link_expired",
    "verifyEmail": "link_expired",
    "lookUpEmailLink": "link_expired",
    "disownEmail": "link_expired",
    "acceptInvitation": "link_expired",
    "setUpSecondFactor": "email_not_verified",
    "confirmSecondFactor": "second_factor_not_set_up",
    "renewRecoveryCodes": "second_factor_not_set_up",
    "disableSecondFactor": "second_factor_not_set_up",
    "confirmOrganisationDomain": "link_expired",
    "setPicture": "not_an_image",
    "resetUserSecondFactor": "user_not_found",
    "getPicture": "user_not_found",
    "mergeRequester": "requester_not_found",
}


async def test_every_operation_works_with_its_unchanged_example(http: httpx.AsyncClient) -> None:
    """The tour follows the order of the introduction, and sends both credentials as soon as it has them."""
    tour = Tour(http)

    await set_up_organisation(tour)
    mia = await manage_users(tour)
    await manage_roles_and_menus(tour)
    await manage_requesters(tour)
    await work_on_a_ticket(tour)
    await manage_own_account(tour)
    for operation_id, code in REFUSED.items():
        await tour.expect_refusal(operation_id, code)
    await tour.call("eraseUser", resource_id=mia)
    await tour.call("getIndex", "isLive", "isReady", "getMetrics", "getJobs", "signOut")
    await sign_in(tour)
    await tour.call("changePassword", "signOutEverywhere")

    assert tour.called.isdisjoint(REFUSED)
    assert tour.called | REFUSED.keys() == BY_ID.keys()


async def set_up_organisation(tour: Tour) -> None:
    tour.headers["X-Org-Secret"] = (await tour.call("signUpOrganisation"))["secret"]
    await tour.call("signUpAdmin", "signIn")
    await sign_in(tour)
    await tour.call("getOrganisation", "changeOrganisation", "getOrganisationDomain", "verifyOrganisationDomain")


async def sign_in(tour: Tour) -> None:
    tour.headers["Authorization"] = f"Bearer {(await tour.call('signInAdmin'))['jwt']}"


async def manage_users(tour: Tour) -> str:
    """Sign up, invite, approve and change users; return the id of a customer."""
    invited = (await tour.call("inviteUser"))["id"]
    await tour.call("resendInvitation", "cancelInvitation", resource_id=invited)
    await tour.call("rejectUser", resource_id=await sign_up_engineer(tour, "eve@growfin.com"))
    bo = await sign_up_engineer(tour, "bo@growfin.com")
    await tour.call("approveUser", resource_id=bo)
    mia = (await tour.call("signUp"))["id"]
    await tour.call("signInEngineer", "signInCustomer", "listUsers")
    await tour.call("getUser", "setUserRole", "changeUser", "getUserPermissions", "setUserPermissions", resource_id=bo)
    return str(mia)


async def sign_up_engineer(tour: Tour, email: str) -> str:
    """Sign up an engineer, which no example does; return the id."""
    media = DOCUMENT["paths"]["/auth/signup"]["post"]["requestBody"]["content"][JSON_MEDIA]
    answer = await tour.http.post("/auth/signup", json={**media["example"], "role": "ENGINEER", "email": email})
    assert answer.json()["status"] == "PENDING"
    return str(answer.json()["id"])


async def manage_roles_and_menus(tour: Tour) -> None:
    for noun in ("Role", "Menu"):
        made = await tour.call(f"create{noun}")
        await tour.call(f"list{noun}s", f"get{noun}", f"change{noun}", f"delete{noun}", resource_id=made["id"])


async def work_on_a_ticket(tour: Tour) -> None:
    ticket = await tour.call("openTicket")
    assert ticket["adminId"]
    await tour.call("listTickets")
    await tour.call("getTicket", "acceptTicket", "changeTicketStatus", "respondToTicket", resource_id=ticket["id"])
    await tour.call(
        "changeTicket", "changeTicketByPost", "getTicketHistory", "getTicketSchedule", resource_id=ticket["id"]
    )
    await tour.call("advanceClock")
    notification = (await tour.call("listNotifications"))["items"][0]
    await tour.call("getNotification", resource_id=notification["id"])


async def manage_requesters(tour: Tour) -> None:
    made = await tour.call("createRequester")
    await tour.call("listRequesters")
    await tour.call("getRequester", "changeRequester", "eraseRequester", resource_id=made["id"])


async def manage_own_account(tour: Tour) -> None:
    await tour.call("getMe", "changeMe", "getMyMenu", "deletePicture", "reauthenticate")
    await tour.call("forgotPassword", "resendVerification", "changeEmail")
    assert await tour.call("verifyToken") == {"active": False}
    sessions = (await tour.call("listMySessions"))["items"]
    await tour.call("endMySession", resource_id=next(one["id"] for one in sessions if not one["current"]))


async def test_a_response_has_exactly_the_fields_of_its_schema(desk: Desk) -> None:
    ticket = await desk.open()
    await desk.respond(ticket)
    for path, template in (
        (f"/tickets/{ticket['id']}", "/tickets/{id}"),
        (f"/tickets/{ticket['id']}/history", "/tickets/{id}/history"),
        (f"/tickets/{ticket['id']}/schedule", "/tickets/{id}/schedule"),
        ("/tickets?include=total", "/tickets"),
        ("/requesters?include=total", "/requesters"),
        ("/users?include=total", "/users"),
        ("/roles?include=total", "/roles"),
        ("/menus?include=total", "/menus"),
    ):
        media = DOCUMENT["paths"][template]["get"]["responses"]["200"]["content"][JSON_MEDIA]

        assert find_schema_errors((await desk.admin.get(path)).json(), media["schema"], closed=True) == [], path


async def test_the_response_with_a_picture_is_as_documented(desk: Desk) -> None:
    operation = BY_ID["getPicture"]
    put = await desk.api.http.put("/me/picture", files={"file": ("me.png", make_picture())}, headers=desk.admin.headers)
    path = put.json()["pictureUrl"]
    answer = await desk.admin.get(path)
    again = await desk.api.http.get(path, headers=desk.admin.headers | {"If-None-Match": answer.headers["etag"]})

    definition = BY_ID["setPicture"].definition["responses"]["200"]["content"][JSON_MEDIA]
    assert find_schema_errors(put.json(), definition["schema"], closed=True) == []
    assert (answer.status_code, again.status_code) == operation.success_statuses
    assert [answer.headers["content-type"]] == list(operation.definition["responses"]["200"]["content"])
    for one in (answer, again):
        assert operation.definition["responses"][str(one.status_code)]["headers"].keys() <= {"ETag", "Cache-Control"}
        assert {"etag", "cache-control"} <= set(one.headers)
    assert again.content == b""
