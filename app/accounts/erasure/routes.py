"""The erasure of users over HTTP."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path, Request

from app.access.callers import UserCaller
from app.access.errors import PrivilegeEscalation
from app.access.operation_requirements import requires
from app.access.transactions import transaction_refreshing_credentials
from app.access.trust_requirements import Applies
from app.access.user_permissions import Action, Resource
from app.accounts.erasure import service
from app.accounts.users.errors import LastAdmin, UserNotFound
from app.core.web.openapi import responses
from app.core.web.routing import Route

router = APIRouter(tags=["Users"], route_class=Route)

Eraser = Annotated[UserCaller, requires(Resource.USERS, Action.DELETE, fresh=Applies.ALWAYS)]


@router.delete(
    "/users/{id}",
    operation_id="eraseUser",
    summary="Erase a user",
    status_code=204,
    responses=responses(UserNotFound, PrivilegeEscalation, LastAdmin),
)
async def erase_user(user_id: Annotated[UUID, Path(alias="id")], caller: Eraser, request: Request) -> None:
    """Delete all personal data of a user, for good, and sign them out.

    Texts that they wrote stay, with an anonymous author. A new user can sign up with their e-mail address. Tickets
    of an address that they never verified stay as they are, since the address may belong to another person.
    """
    async with transaction_refreshing_credentials(request, caller.org_id, user_id) as db:
        await service.erase(db, caller, user_id)
