"""The signed-in user's menu over HTTP."""

from __future__ import annotations

from fastapi import APIRouter

from app.access.operation_requirements import CurrentUser
from app.access.transactions import Db
from app.core.web.openapi import responses
from app.core.web.routing import Route
from app.menus import queries
from app.menus.rules import Viewer
from app.menus.schemas import MyMenu

router = APIRouter(tags=["Profile"], route_class=Route)


@router.get(
    "/me/menu",
    operation_id="getMyMenu",
    summary="Get your menu",
    responses=responses(),
)
async def get_my_menu(caller: CurrentUser, db: Db) -> MyMenu:
    """Get the entries of the organisation's menu that you may view and that are not hidden for you or your role.

    Each entry says what you may do with its resource.
    """
    user = caller.user
    menu = await queries.visible_menu(db, caller.org_id, Viewer(user.id, user.role_id, user.permissions))
    return MyMenu.of(user, menu)
