"""Find, use, cancel and delete single-use links."""

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
        links = [service.issue(db, desk.id, desk.admin.id, desk.admin.email, purpose) for purpose in purposes]
    return [TokenSubject(link.org_id, link.id) for link in links]


async def expire(desk: Desk, links: Collection[TokenSubject]) -> None:
    async with desk.database.session(desk.id) as db:
        conditions = (Link.org_id == desk.id, Link.id.in_([subject.id for subject in links]))
        await db.execute(update(Link).where(*conditions).values(expires_at=real_now()))


async def list_links(desk: Desk) -> set[TokenSubject]:
    async with desk.database.session(desk.id) as db:
        return {TokenSubject(desk.id, id_) for id_ in await db.scalars(select(Link.id).where(Link.org_id == desk.id))}


@pytest.mark.parametrize("purpose", LinkPurpose)
async def test_each_purpose_has_its_lifetime(desk: Desk, purpose: LinkPurpose) -> None:
    [subject] = await issue(desk, purpose)
    async with desk.database.session(desk.id) as db:
        link = await service.find(db, subject, purpose)
    assert link.expires_at - link.created_at == LIFETIMES[purpose]
    assert abs(real_now() - link.created_at) < timedelta(seconds=10)


async def test_finding_a_link_does_not_use_it(desk: Desk) -> None:
    [subject] = await issue(desk, RESET)
    async with desk.database.session(desk.id) as db:
        for _ in range(2):
            assert (await service.find(db, subject, RESET, VERIFY)).id == subject.id
        assert (await service.use(db, subject, RESET)).id == subject.id
        for purposes in ((RESET,), (RESET, VERIFY)):
            with pytest.raises(LinkExpired):
                await service.find(db, subject, *purposes)
    assert await list_links(desk) == set()


async def test_a_link_is_valid_only_for_its_purpose_lifetime_and_organisation(
    api: Api, database: Database, desk: Desk
) -> None:
    other = await create_desk(api, database)
    valid, expired = await issue(desk, RESET, RESET)
    await expire(desk, [expired])
    async with desk.database.session(desk.id) as db:
        for subject, purpose in (
            (valid, VERIFY),
            (expired, RESET),
            (TokenSubject(other.id, valid.id), RESET),
            (TokenSubject(desk.id, uuid4()), RESET),
        ):
            with pytest.raises(LinkExpired):
                await service.find(db, subject, purpose)
            with pytest.raises(LinkExpired):
                await service.use(db, subject, purpose)
    async with other.database.session(other.id) as db:
        with pytest.raises(LinkExpired):
            await service.use(db, valid, RESET)
    assert await list_links(desk) == {valid, expired}


async def test_using_a_link_cancels_all_links_of_its_purpose(desk: Desk) -> None:
    one, _other, another_kind = await issue(desk, RESET, RESET, VERIFY)
    async with desk.database.session(desk.id) as db:
        await service.use(db, one, RESET)
    assert await list_links(desk) == {another_kind}


async def test_only_the_given_purposes_are_cancelled(api: Api, database: Database, desk: Desk) -> None:
    other = await create_desk(api, database)
    foreign = await issue(other, RESET)
    _reset, verify, invitation = await issue(desk, RESET, VERIFY, LinkPurpose.INVITATION)
    async with desk.database.session(desk.id) as db:
        await service.cancel(db, desk.id, desk.admin.id, RESET, LinkPurpose.CHANGE_EMAIL)
    assert (await list_links(desk), await list_links(other)) == ({verify, invitation}, set(foreign))


async def test_expired_links_are_deleted_in_batches(api: Api, database: Database, desk: Desk) -> None:
    other = await create_desk(api, database)
    foreign, valid = await issue(other, RESET), await issue(desk, RESET)
    expired = await issue(desk, RESET, VERIFY, LinkPurpose.INVITATION)
    await expire(desk, expired)
    await expire(other, foreign)
    deleted = []
    for _ in range(3):
        async with desk.database.session(desk.id) as db:
            deleted.append(await service.delete_expired(db, desk.id, real_now(), batch=2))
    assert deleted == [2, 1, 0]
    assert (await list_links(desk), await list_links(other)) == (set(valid), set(foreign))


async def test_housekeeping_deletes_expired_links(server: TestServer, api: Api, database: Database) -> None:
    desks = [await create_desk(api, database) for _ in range(2)]
    for desk in desks:
        await expire(desk, await issue(desk, RESET, VERIFY))
    valid = [await issue(desk, RESET) for desk in desks]
    await JOBS["housekeeping"].run(Worker(settings_for(server), database))
    assert [await list_links(desk) for desk in desks] == [set(links) for links in valid]
