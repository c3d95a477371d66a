"""Menu entries over HTTP. The signed-in user's own menu is in `my_menu_routes.py`."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path, Query, Request, Response

from app.access.callers import UserCaller
from app.access.operation_requirements import requires
from app.access.services import get_services
from app.access.transactions import Db
from app.access.user_permissions import Action, Resource
from app.core.fields import EXAMPLE_ID
from app.core.web.openapi import responses
from app.core.web.paging import CountedPageQuery, InvalidCursor, Paging
from app.core.web.routing import Route
from app.menus import queries, service
from app.menus.errors import MenuCycle, MenuEntryHasChildren, MenuEntryNotFound, MenuTooDeep, TooManyMenuEntries
from app.menus.schemas import Menu, MenuCreate, MenuPage, MenuUpdate

router = APIRouter(prefix="/menus", tags=["Menus"], route_class=Route)

Reader = Annotated[UserCaller, requires(Resource.MENUS, Action.VIEW)]
Creator = Annotated[UserCaller, requires(Resource.MENUS, Action.CREATE)]
Editor = Annotated[UserCaller, requires(Resource.MENUS, Action.UPDATE)]
Deleter = Annotated[UserCaller, requires(Resource.MENUS, Action.DELETE)]
MenuId = Annotated[UUID, Path(alias="id")]


@router.get(
    "",
    operation_id="listMenus",
    summary="List all menu entries",
    response_model_exclude_unset=True,
    responses=responses(InvalidCursor),
)
async def list_menus(
    page_query: Annotated[CountedPageQuery, Query()], caller: Reader, db: Db, request: Request, response: Response
) -> MenuPage:
    """List all entries, newest first, including those that you do not see.

    `parentId` and `position` give the place in the tree. `GET /me/menu` returns the tree that you see.
    """
    paging = Paging.of(request, page_query, get_services(request).secret_key, caller.org_id, "menus")
    rows = await queries.list_page(db, caller.org_id, after=paging.after(UUID), limit=paging.fetch_limit)
    total = await queries.count(db, caller.org_id) if page_query.include else None
    return paging.page(response, MenuPage, rows, Menu.of, position=lambda row: (row.id,), total=total)


@router.post(
    "",
    operation_id="createMenu",
    summary="Add a menu entry",
    status_code=201,
    responses=responses(
        MenuTooDeep, TooManyMenuEntries,
        body=True, ok={201: ("Location",)}, location=f"/menus/{EXAMPLE_ID}",
    ),
)  # fmt: skip
async def create_menu(body: MenuCreate, caller: Creator, db: Db, response: Response) -> Menu:
    """Add an entry, at the top or below another, for all users who may view its `resource`.

    An entry without a resource is for all users. An entry with neither a resource nor a `url` is a heading: it is shown
    only if an entry below it is. There are four levels at most.
    """
    menu = await service.create(db, caller, body.fields())
    response.headers["Location"] = f"/menus/{menu.id}"
    return Menu.of(menu)


@router.get(
    "/{id}",
    operation_id="getMenu",
    summary="Get a menu entry",
    responses=responses(MenuEntryNotFound),
)
async def get_menu(menu_id: MenuId, caller: Reader, db: Db) -> Menu:
    """Get an entry, with the roles and users that it is hidden for."""
    return Menu.of(await queries.get_menu_entry(db, caller.org_id, menu_id))


@router.patch(
    "/{id}",
    operation_id="changeMenu",
    summary="Change or move a menu entry",
    responses=responses(MenuEntryNotFound, MenuTooDeep, MenuCycle, body=True),
)
async def change_menu(menu_id: MenuId, body: MenuUpdate, caller: Editor, db: Db) -> Menu:
    """Change any of its fields. With a new `parentId`, the entry moves there together with all entries below it."""
    return Menu.of(await service.change(db, caller, menu_id, body.fields()))


@router.delete(
    "/{id}",
    operation_id="deleteMenu",
    summary="Delete a menu entry",
    status_code=204,
    responses=responses(MenuEntryNotFound, MenuEntryHasChildren),
)
async def delete_menu(menu_id: MenuId, caller: Deleter, db: Db) -> None:
    """Delete an entry that has no entries below it."""
    await service.delete(db, caller, menu_id)
