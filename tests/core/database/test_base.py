"""Column types: enums in Python, text in the database."""

from __future__ import annotations

from enum import StrEnum

import pytest
from sqlalchemy import exc, literal, select
from sqlalchemy.dialects import postgresql

from app.core.database.base import TextEnum
from app.core.database.pool import Database


class Colour(StrEnum):
    RED = "RED"
    BLUE = "BLUE"


async def test_a_member_is_written_as_text_and_read_as_the_member(database: Database) -> None:
    column = literal(Colour.RED, TextEnum(Colour))
    async with database.session(None) as db:
        assert (await db.scalars(select(column))).one() is Colour.RED
        assert await db.scalar(select(column.in_([Colour.BLUE, Colour.RED])))


async def test_none_stays_none(database: Database) -> None:
    async with database.session(None) as db:
        assert await db.scalar(select(literal(None, TextEnum(Colour)))) is None


def test_comparisons_use_the_operators_of_text() -> None:
    column = literal(Colour.RED, TextEnum(Colour))
    compiled = (column == Colour.BLUE).compile(dialect=postgresql.asyncpg.dialect())  # type: ignore[no-untyped-call]
    assert str(compiled) == "$1::VARCHAR = $2::VARCHAR"


async def test_a_value_that_is_not_a_member_is_refused(database: Database) -> None:
    with pytest.raises(exc.StatementError, match="'GREEN' is not a valid Colour"):
        async with database.session(None) as db:
            await db.scalar(select(literal("GREEN", TextEnum(Colour))))
