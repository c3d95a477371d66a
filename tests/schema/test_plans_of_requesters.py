"""Query plans of lists of requesters: each filter reads an index that starts with `org_id`."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from app.requesters import queries
from app.requesters.filters import RequesterFilters
from app.requesters.schemas import RequesterListQuery
from tests.schema.catalog import Connection
from tests.schema.plans import ORG, find_statement_problems

REQUESTER_ID = UUID("00000003-0000-0000-0000-000000000007")
FILTERS: dict[str, dict[str, Any]] = {
    "everything": {},
    "email": {"email": ["customer7@growfin.test"]},
    "email twice": {"email": ["customer7@growfin.test", "admin8@growfin.test"]},
    "externalId": {"externalId": ["c-7"]},
    "q": {"q": "customer12"},
    "q of two words": {"q": "customer12 grow"},
    "q with spellings": {"q": "müller o'connor 089 1234567 山田 ad@grow.test"},
    "all of them": {"email": ["customer7@growfin.test"], "externalId": ["c-7"], "q": "customer7"},
}


def test_every_filter_of_requesters_is_tested() -> None:
    parameters_of_the_operation = {field.alias for field in RequesterListQuery.model_fields.values()}
    assert parameters_of_the_operation - {"include", "limit", "cursor"} == FILTERS["all of them"].keys()


@pytest.mark.parametrize("name", FILTERS)
async def test_a_list_of_requesters_is_read_from_indexes(
    service_connection: Connection, session: Any, name: str
) -> None:
    db, sent_statements = session
    filters = RequesterFilters(**FILTERS[name])
    await queries.list_page(db, ORG, filters, after=None, limit=21)
    await queries.list_page(db, ORG, filters, after=REQUESTER_ID, limit=21)
    await queries.count(db, ORG, filters)

    assert len(sent_statements) == 3
    for sql, parameters in sent_statements:
        assert await find_statement_problems(service_connection, sql, parameters) == [], sql
