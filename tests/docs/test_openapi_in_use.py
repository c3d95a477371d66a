"""The OpenAPI document, tried out as it stands: what it says is what the service does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import uuid4

import httpx
import pytest
from asgi_lifespan import LifespanManager

from app.main import create_app
from tests.access.world import make_picture
from tests.conftest import copy_database, settings_for
from tests.docs.openapi import BY_ID, DOCUMENT, JSON_MEDIA, mistakes
from tests.docs.tour import Tour
from tests.organisation_client import Desk
from tests.postgres import TestServer


@pytest.fixture(scope="module")
async def own(server: TestServer) -> AsyncIterator[httpx.AsyncClient]:
    """The service on a database where nobody has signed up yet."""
    name = f"openapi_{uuid4().hex[:8]}"
    await copy_database(server, name)
    async with LifespanManager(create_app(settings_for(server.at(name)))) as manager:
        transport = httpx.ASGITransport(app=manager.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://tessera.test") as client:
            yield client


# Their examples hold a token, a code, an image, a provider or an id that nobody has.
REFUSED = {
    "startSocialSignIn": "provider_not_found",
    "finishSocialSignIn": "provider_not_found",
    "exchangeSocialSignIn": "link_expired",
    "refreshSession": "invalid_refresh_token",
    "resetPassword": "link_expired",
    "verifyEmail": "link_expired",
    "acceptInvitation": "link_expired",
    "confirmSecondFactor": "wrong_code",
    "renewRecoveryCodes": "second_factor_not_set_up",
    "disableSecondFactor": "second_factor_not_set_up",
    "setPicture": "not_an_image",
    "resetUserSecondFactor": "user_not_found",
    "getPicture": "user_not_found",
}


async def test_every_operation_works_with_its_example_as_it_stands(own: httpx.AsyncClient) -> None:
    """A tour in the order that the description gives, with both credentials from when they are known."""
    tour = Tour(own)

    await found_an_organisation(tour)
    mia = await let_users_in(tour)
    await arrange_roles_and_menus(tour)
    await work_on_a_ticket(tour)
    await look_after_ones_account(tour)
    for operation_id, code in REFUSED.items():
        await tour.is_refused(operation_id, code)
    await tour.go("eraseUser", thing=mia)
    await tour.go("getIndex", "isLive", "isReady", "getMetrics", "getJobs", "signOut")
    await sign_in(tour)
    await tour.go("changePassword", "signOutEverywhere")

    assert tour.gone.isdisjoint(REFUSED)
    assert tour.gone | REFUSED.keys() == BY_ID.keys()


async def found_an_organisation(tour: Tour) -> None:
    tour.headers["X-Org-Secret"] = (await tour.go("signUpOrganisation"))["secret"]
    await tour.go("signUpAdmin", "signIn")
    await sign_in(tour)
    await tour.go("getOrganisation", "changeOrganisation")


async def sign_in(tour: Tour) -> None:
    tour.headers["Authorization"] = f"Bearer {(await tour.go('signInAdmin'))['jwt']}"


async def let_users_in(tour: Tour) -> str:
    """Returns the id of one of them."""
    invited = (await tour.go("inviteUser"))["id"]
    await tour.go("resendInvitation", "cancelInvitation", thing=invited)
    await tour.go("rejectUser", thing=await a_sign_up(tour, "eve@growfin.com"))
    bo = await a_sign_up(tour, "bo@growfin.com")
    await tour.go("approveUser", thing=bo)
    mia = (await tour.go("signUp"))["id"]
    await tour.go("signInEngineer", "signInCustomer", "listUsers")
    await tour.go("getUser", "setUserRole", "changeUser", "getUserPermissions", "setUserPermissions", thing=bo)
    return str(mia)


async def a_sign_up(tour: Tour, email: str) -> str:
    """The id of somebody who waits for approval, as nobody in the examples does."""
    media = DOCUMENT["paths"]["/auth/signup"]["post"]["requestBody"]["content"][JSON_MEDIA]
    answer = await tour.http.post("/auth/signup", json={**media["example"], "role": "ENGINEER", "email": email})
    assert answer.json()["status"] == "PENDING"
    return str(answer.json()["id"])


async def arrange_roles_and_menus(tour: Tour) -> None:
    for noun in ("Role", "Menu"):
        made = await tour.go(f"create{noun}")
        await tour.go(f"list{noun}s", f"get{noun}", f"change{noun}", f"delete{noun}", thing=made["id"])


async def work_on_a_ticket(tour: Tour) -> None:
    ticket = await tour.go("openTicket")
    assert ticket["adminId"]
    await tour.go("listTickets")
    await tour.go("getTicket", "acceptTicket", "changeTicketStatus", "respondToTicket", thing=ticket["id"])
    await tour.go("changeTicket", "changeTicketByPost", "getTicketHistory", "getTicketSchedule", thing=ticket["id"])
    await tour.go("advanceClock")
    notification = (await tour.go("listNotifications"))["items"][0]
    await tour.go("getNotification", thing=notification["id"])


async def look_after_ones_account(tour: Tour) -> None:
    await tour.go("getMe", "changeMe", "getMyMenu", "deletePicture", "setUpSecondFactor")
    await tour.go("forgotPassword", "resendVerification", "changeEmail")
    assert await tour.go("verifyToken") == {"active": False}
    sessions = (await tour.go("listMySessions"))["items"]
    await tour.go("endMySession", thing=next(one["id"] for one in sessions if not one["current"]))


async def test_an_answer_has_the_fields_of_its_schema_and_no_others(desk: Desk) -> None:
    ticket = await desk.open()
    await desk.respond(ticket)
    for path, template in (
        (f"/tickets/{ticket['id']}", "/tickets/{id}"),
        (f"/tickets/{ticket['id']}/history", "/tickets/{id}/history"),
        (f"/tickets/{ticket['id']}/schedule", "/tickets/{id}/schedule"),
        ("/tickets?include=total", "/tickets"),
        ("/users?include=total", "/users"),
        ("/roles?include=total", "/roles"),
        ("/menus?include=total", "/menus"),
    ):
        media = DOCUMENT["paths"][template]["get"]["responses"]["200"]["content"][JSON_MEDIA]

        assert mistakes((await desk.admin.get(path)).json(), media["schema"], closed=True) == [], path


async def test_a_picture_is_answered_as_documented(desk: Desk) -> None:
    operation = BY_ID["getPicture"]
    put = await desk.api.http.put("/me/picture", files={"file": ("me.png", make_picture())}, headers=desk.admin.headers)
    path = put.json()["pictureUrl"]
    answer = await desk.admin.get(path)
    again = await desk.api.http.get(path, headers=desk.admin.headers | {"If-None-Match": answer.headers["etag"]})

    said = BY_ID["setPicture"].said["responses"]["200"]["content"][JSON_MEDIA]
    assert mistakes(put.json(), said["schema"], closed=True) == []
    assert (answer.status_code, again.status_code) == operation.good
    assert [answer.headers["content-type"]] == list(operation.said["responses"]["200"]["content"])
    for one in (answer, again):
        assert operation.said["responses"][str(one.status_code)]["headers"].keys() <= {"ETag", "Cache-Control"}
        assert {"etag", "cache-control"} <= set(one.headers)
    assert again.content == b""
