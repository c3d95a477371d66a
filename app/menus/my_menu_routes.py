"""The signed-in user's menu over HTTP. It says how long their session lasts, and sessions stand above menus."""

from __future__ import annotations

from fastapi import APIRouter

from app.access.dependencies import Db
from app.access.requirements import CurrentUser
from app.authentication.sessions.schemas import MyMenu
from app.core.web.openapi import responses
from app.core.web.routing import Route
from app.menus import queries as menus
from app.menus.rules import Viewer

router = APIRouter(tags=["Profile"], route_class=Route)


@router.get(
    "/me/menu",
    operation_id="getMyMenu",
    summary="Read the menu that you see",
    responses=responses(),
)
async def get_my_menu(caller: CurrentUser, db: Db) -> MyMenu:
    """The organisation's menu as far as your permissions go, less what is hidden for you or your role.

    It says with each entry what you may do with its resource.
    """
    user = caller.user
    menu = await menus.visible_menu(db, caller.org_id, Viewer(user.id, user.role_id, user.permissions))
    return MyMenu.of(user, menu)
