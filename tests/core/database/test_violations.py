"""Violated constraints are converted into domain errors."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from sqlalchemy import exc, text
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.database.pool import Database
from app.core.database.violations import (
    FOREIGN_KEY_VIOLATION,
    UNIQUE_VIOLATION,
    get_sqlstate,
    raise_on_violation,
)
from app.core.errors import Conflict

TABLES = """
    CREATE TEMP TABLE shelves (name text CONSTRAINT pk_shelves PRIMARY KEY) ON COMMIT DROP;
    CREATE TEMP TABLE books (
        title text CONSTRAINT uq_books_title UNIQUE,
        isbn text CONSTRAINT uq_books_isbn UNIQUE,
        shelf text CONSTRAINT fk_books_shelf REFERENCES shelves
    ) ON COMMIT DROP;
    INSERT INTO shelves VALUES ('fiction'); INSERT INTO books VALUES ('Emma', '1', 'fiction')
"""


class TitleTaken(Conflict):
    code = "title_taken"


class IsbnTaken(Conflict):
    code = "isbn_taken"


class ShelfInUse(Conflict):
    code = "shelf_in_use"


@pytest.fixture
async def db(database: Database) -> AsyncIterator[AsyncSession]:
    async with database.session(None) as db:
        for statement in TABLES.split(";"):
            await db.execute(text(statement))
        yield db
        await db.rollback()


async def add_book(db: AsyncSession, title: str, isbn: str, shelf: str = "fiction") -> None:
    book = {"title": title, "isbn": isbn, "shelf": shelf}
    await db.execute(text("INSERT INTO books VALUES (:title, :isbn, :shelf)"), book)


async def test_a_violation_raises_the_given_error(db: AsyncSession) -> None:
    with pytest.raises(TitleTaken), raise_on_violation(TitleTaken):
        await add_book(db, "Emma", "2")


async def test_a_violation_of_another_kind_passes_unchanged(db: AsyncSession) -> None:
    with pytest.raises(exc.IntegrityError) as caught, raise_on_violation(TitleTaken):
        await add_book(db, "Persuasion", "2", shelf="poetry")
    assert get_sqlstate(caught.value) == FOREIGN_KEY_VIOLATION


async def test_the_kind_of_constraint_can_be_chosen(db: AsyncSession) -> None:
    with pytest.raises(ShelfInUse), raise_on_violation(ShelfInUse, FOREIGN_KEY_VIOLATION):
        await db.execute(text("DELETE FROM shelves"))


@pytest.mark.parametrize(("title", "isbn", "error"), [("Emma", "2", TitleTaken), ("Persuasion", "1", IsbnTaken)])
async def test_two_constraints_of_a_kind_are_distinguished_by_name(
    db: AsyncSession, title: str, isbn: str, error: type[Conflict]
) -> None:
    with (
        pytest.raises(error),
        raise_on_violation(TitleTaken, constraint="uq_books_title"),
        raise_on_violation(IsbnTaken, constraint="uq_books_isbn"),
    ):
        await add_book(db, title, isbn)


async def test_a_violation_of_another_constraint_passes_unchanged(db: AsyncSession) -> None:
    with (
        pytest.raises(exc.IntegrityError) as caught,
        raise_on_violation(TitleTaken, constraint="uq_books_title"),
    ):
        await add_book(db, "Persuasion", "1")
    assert get_sqlstate(caught.value) == UNIQUE_VIOLATION


async def test_errors_other_than_violations_have_a_sqlstate(db: AsyncSession) -> None:
    with pytest.raises(exc.DBAPIError) as caught:
        await db.execute(text("SELECT 1 / 0"))
    assert get_sqlstate(caught.value) == "22012"
