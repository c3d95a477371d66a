"""Menus over HTTP. What the signed-in user sees of them is in `my_menu_routes.py`."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path, Query, Request, Response

from app.access.callers import Caller
from app.access.permissions import Action, Resource
from app.access.requirements import Db, may, secret_key_of
from app.core.fields import EXAMPLE_ID
from app.core.web.openapi import answers
from app.core.web.paging import CountedPageQuery, CursorSigner, InvalidCursor, cut
from app.core.web.routing import Route
from app.menus import queries, service
from app.menus.queries import MenuNotFound
from app.menus.schemas import MenuChange, MenuIn, MenuOut, MenuPage

router = APIRouter(prefix="/menus", tags=["Menus"], route_class=Route)

Reader = Annotated[Caller, may(Resource.MENUS, Action.VIEW)]
Creator = Annotated[Caller, may(Resource.MENUS, Action.CREATE)]
Editor = Annotated[Caller, may(Resource.MENUS, Action.UPDATE)]
Deleter = Annotated[Caller, may(Resource.MENUS, Action.DELETE)]
MenuId = Annotated[UUID, Path(alias="id")]


@router.get(
    "",
    operation_id="listMenus",
    summary="List all menu entries",
    response_model_exclude_unset=True,
    responses=answers(InvalidCursor),
)
async def list_menus(
    wanted: Annotated[CountedPageQuery, Query()], caller: Reader, db: Db, request: Request
) -> MenuPage:
    """Every entry, whoever sees it, newest first; `parentId` and `position` say where in the tree it stands.

    The tree that the signed-in user sees is `GET /me/menu`.
    """
    signer = CursorSigner.of(secret_key_of(request), caller.org_id, "menus", None)
    after = UUID(signer.read(wanted.cursor)[0]) if wanted.cursor else None
    rows, more = cut(await queries.list_page(db, caller.org_id, after=after, limit=wanted.limit + 1), wanted.limit)
    page = MenuPage(
        items=[MenuOut.of(row) for row in rows],
        next_cursor=signer.write(rows[-1].id) if more else None,
    )
    if wanted.include:
        page.total = await queries.count(db, caller.org_id)
    return page


@router.post(
    "",
    operation_id="createMenu",
    summary="Add a menu entry",
    status_code=201,
    responses=answers(
        service.MenuTooDeep, service.TooManyMenus,
        body=True, ok={201: ("Location",)}, location=f"/menus/{EXAMPLE_ID}",
    ),
)  # fmt: skip
async def create_menu(body: MenuIn, caller: Creator, db: Db, response: Response) -> MenuOut:
    """Add an entry, at the top or below another, for everybody who may view its `resource`.

    Without a resource it is for everybody. One with neither a resource nor a `url` is a heading: it is shown with what
    is below it, and not without. There are four levels at most.
    """
    menu = await service.create(db, caller, body.model_dump(exclude_unset=True))
    response.headers["Location"] = f"/menus/{menu.id}"
    return MenuOut.of(menu)


@router.get(
    "/{id}",
    operation_id="getMenu",
    summary="Read a menu entry",
    responses=answers(MenuNotFound),
)
async def get_menu(menu_id: MenuId, caller: Reader, db: Db) -> MenuOut:
    """One entry, and whom it is hidden from."""
    return MenuOut.of(await queries.get_menu(db, caller.org_id, menu_id))


@router.patch(
    "/{id}",
    operation_id="changeMenu",
    summary="Change or move a menu entry",
    responses=answers(MenuNotFound, service.MenuTooDeep, service.MenuCycle, body=True),
)
async def change_menu(menu_id: MenuId, body: MenuChange, caller: Editor, db: Db) -> MenuOut:
    """Change any of its fields. With another `parentId` it moves there, and all that is below it moves along."""
    return MenuOut.of(await service.change(db, caller, menu_id, body.model_dump(exclude_unset=True)))


@router.delete(
    "/{id}",
    operation_id="deleteMenu",
    summary="Delete a menu entry",
    status_code=204,
    responses=answers(MenuNotFound, service.MenuHasChildren),
)
async def delete_menu(menu_id: MenuId, caller: Deleter, db: Db) -> None:
    """Delete an entry that has none below it."""
    await service.delete(db, caller, menu_id)
