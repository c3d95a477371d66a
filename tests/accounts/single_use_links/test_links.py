"""Links: found, used once, cancelled, and deleted when they are over."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from uuid import uuid4

import pytest
from sqlalchemy import select, update

from app.accounts.single_use_links import service
from app.accounts.single_use_links.errors import LinkExpired
from app.accounts.single_use_links.models import Link, LinkPurpose
from app.accounts.single_use_links.service import LIFETIMES
from app.core.clock import real_now
from app.core.database.pool import Database
from app.core.security.opaque_tokens import TokenSubject
from app.worker import JOBS, Worker
from tests.conftest import settings_for
from tests.organisation_client import Api, Desk, create_desk
from tests.postgres import TestServer

RESET, VERIFY = LinkPurpose.RESET_PASSWORD, LinkPurpose.VERIFY_EMAIL


async def issue(desk: Desk, *purposes: LinkPurpose) -> list[TokenSubject]:
    async with desk.database.session(desk.id) as db:
        made = [service.issue(db, desk.id, desk.admin.id, desk.admin.email, purpose) for purpose in purposes]
    return [TokenSubject(link.org_id, link.id) for link in made]


async def expire(desk: Desk, some: Collection[TokenSubject]) -> None:
    async with desk.database.session(desk.id) as db:
        which = (Link.org_id == desk.id, Link.id.in_([named.id for named in some]))
        await db.execute(update(Link).where(*which).values(expires_at=real_now()))


async def left(desk: Desk) -> set[TokenSubject]:
    async with desk.database.session(desk.id) as db:
        return {TokenSubject(desk.id, id_) for id_ in await db.scalars(select(Link.id).where(Link.org_id == desk.id))}


@pytest.mark.parametrize("purpose", LinkPurpose)
async def test_each_kind_is_valid_for_its_time(desk: Desk, purpose: LinkPurpose) -> None:
    [named] = await issue(desk, purpose)
    async with desk.database.session(desk.id) as db:
        link = await service.find(db, named, purpose)
    assert link.expires_at - link.created_at == LIFETIMES[purpose]
    assert abs(real_now() - link.created_at) < timedelta(seconds=10)


async def test_to_find_one_does_not_use_it_up(desk: Desk) -> None:
    [named] = await issue(desk, RESET)
    async with desk.database.session(desk.id) as db:
        for _ in range(2):
            assert (await service.find(db, named, RESET, VERIFY)).id == named.id
        assert (await service.use(db, named, RESET)).id == named.id
        for purposes in ((RESET,), (RESET, VERIFY)):
            with pytest.raises(LinkExpired):
                await service.find(db, named, *purposes)
    assert await left(desk) == set()


async def test_it_is_found_for_its_purpose_while_it_lasts_and_in_its_organisation(
    api: Api, database: Database, desk: Desk
) -> None:
    other = await create_desk(api, database)
    valid, expired = await issue(desk, RESET, RESET)
    await expire(desk, [expired])
    async with desk.database.session(desk.id) as db:
        for named, purpose in (
            (valid, VERIFY),
            (expired, RESET),
            (TokenSubject(other.id, valid.id), RESET),
            (TokenSubject(desk.id, uuid4()), RESET),
        ):
            with pytest.raises(LinkExpired):
                await service.find(db, named, purpose)
            with pytest.raises(LinkExpired):
                await service.use(db, named, purpose)
    async with other.database.session(other.id) as db:
        with pytest.raises(LinkExpired):
            await service.use(db, valid, RESET)
    assert await left(desk) == {valid, expired}


async def test_to_use_one_uses_up_all_of_its_purpose(desk: Desk) -> None:
    one, _other, another_kind = await issue(desk, RESET, RESET, VERIFY)
    async with desk.database.session(desk.id) as db:
        await service.use(db, one, RESET)
    assert await left(desk) == {another_kind}


async def test_only_what_is_named_is_cancelled(api: Api, database: Database, desk: Desk) -> None:
    other = await create_desk(api, database)
    theirs = await issue(other, RESET)
    _reset, verify, invitation = await issue(desk, RESET, VERIFY, LinkPurpose.INVITATION)
    async with desk.database.session(desk.id) as db:
        await service.cancel(db, desk.id, desk.admin.id, RESET, LinkPurpose.CHANGE_EMAIL)
    assert (await left(desk), await left(other)) == ({verify, invitation}, set(theirs))


async def test_expired_ones_are_deleted_a_batch_at_a_time(api: Api, database: Database, desk: Desk) -> None:
    other = await create_desk(api, database)
    theirs, valid = await issue(other, RESET), await issue(desk, RESET)
    expired = await issue(desk, RESET, VERIFY, LinkPurpose.INVITATION)
    await expire(desk, expired)
    await expire(other, theirs)
    deleted = []
    for _ in range(3):
        async with desk.database.session(desk.id) as db:
            deleted.append(await service.delete_expired(db, desk.id, real_now(), batch=2))
    assert deleted == [2, 1, 0]
    assert (await left(desk), await left(other)) == (set(valid), set(theirs))


async def test_housekeeping_deletes_them(server: TestServer, api: Api, database: Database) -> None:
    desks = [await create_desk(api, database) for _ in range(2)]
    for desk in desks:
        await expire(desk, await issue(desk, RESET, VERIFY))
    valid = [await issue(desk, RESET) for desk in desks]
    await JOBS["housekeeping"].run(Worker(settings_for(server), database))
    assert [await left(desk) for desk in desks] == [set(named) for named in valid]
