"""Searches with common words, which PostgreSQL's statistics name."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from app.core.database.pool import Database
from app.tickets.lists.queries import Listing, count_tickets, read_page
from app.tickets.search.common_words import CommonWords
from app.tickets.search.queries import Search
from app.tickets.search.rules import index_query, is_common, query
from tests.conftest import connect
from tests.organisation_client import Desk
from tests.postgres import TestServer
from tests.tickets.rows import insert_many
from tests.tickets.search.searching import SCANNED_TICKETS, set_titles

TICKETS = SCANNED_TICKETS + 180


@pytest.fixture
async def analysed(desk: Desk, server: TestServer) -> Desk:
    """An organisation whose tickets all have common words, and some have rarer ones, after ANALYZE."""
    await insert_many(desk, TICKETS)
    titles = {number: "Cannot export" + (" refund" if number <= 5 else "") for number in range(1, TICKETS + 1)}
    await set_titles(desk, titles)
    connection = await connect(server.superuser_url)
    try:
        await connection.execute("ANALYZE ticket_search")
    finally:
        await connection.close()
    return desk


async def test_a_search_with_common_words_finds_the_same(analysed: Desk, database: Database) -> None:
    common_words = CommonWords(database)
    assert common_words.counts().count(analysed.id.hex[-8:] + "export", with_longer=True) == 0  # read in the background
    await common_words.refresh()
    counts, org_id = common_words.counts(), analysed.id
    assert counts.count(org_id.hex[-8:] + "export", with_longer=True) > TICKETS * 0.7

    text = "cannot export refund"
    reduced = index_query(org_id, text, "T", {}, counts)
    prefix = org_id.hex[-8:]
    assert reduced == f"'{prefix}refund':*"
    full = query(org_id, text, "T")
    for replies in (True, False):
        for words, expected in ((full, 5), (f"{full} & '{prefix}other'", 0)):
            search = Search(query=words, index_query=reduced, include_replies=replies)
            for one in (search, replace(search, is_common=True)):
                async with database.driver(org_id) as driver:
                    assert len(await read_page(driver, org_id, Listing(search=one), None, 21)) == expected
                    assert await count_tickets(driver, org_id, Listing(search=one)) == expected
    assert is_common(org_id, "cannot export", {}, counts)
    assert not is_common(org_id, text, {}, counts)


async def test_a_failure_to_read_the_statistics_is_no_failure_of_the_search() -> None:
    broken = CommonWords(Database("postgresql+asyncpg://nobody@127.0.0.1:1/none", pool_size=1))

    assert broken.counts().count("x", with_longer=True) == 0
    await asyncio.sleep(0)
    await broken.refresh()
    assert broken.counts().count("x", with_longer=True) == 0
    await broken.database.dispose()
