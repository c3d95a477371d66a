"""The base of every row: column types, names of constraints, and the declaration of a table's row level security."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar, Generic, TypeVar
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    DateTime,
    Dialect,
    MetaData,
    Text,
    TypeDecorator,
    Uuid,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase

E = TypeVar("E", bound=StrEnum)

NAMING_CONVENTION = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class TableKind(StrEnum):
    """How the rows of a table are kept apart. A table that declares nothing is `TENANT`."""

    TENANT = "TENANT"  # rows of organisations, under row level security
    UNPROTECTED_TENANT = "UNPROTECTED_TENANT"  # rows of organisations, without content and row level security
    SIGN_IN = "SIGN_IN"  # rows of users, read before the organisation is known, without row level security
    LOCAL = "LOCAL"  # of the service itself, without content and row level security
    DIRECTORY = "DIRECTORY"  # few rows, read before the organisation is known, without row level security


_KIND = "kind"
# The last element of the `__table_args__` of a table that is not `TENANT`.
UNPROTECTED_TENANT_TABLE = {"info": {_KIND: TableKind.UNPROTECTED_TENANT}}
LOCAL_TABLE = {"info": {_KIND: TableKind.LOCAL}}
SIGN_IN_TABLE = {"info": {_KIND: TableKind.SIGN_IN}}
DIRECTORY_TABLE = {"info": {_KIND: TableKind.DIRECTORY}}


class Base(DeclarativeBase):
    """The base of all rows. Strings are `text`, times have a time zone."""

    metadata = MetaData(naming_convention=NAMING_CONVENTION)
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        str: Text,
        int: BigInteger,
        UUID: Uuid,
        datetime: DateTime(timezone=True),
        dict[str, Any]: JSONB,
    }


def find_tables(*kinds: TableKind) -> frozenset[str]:
    """Return the names of the tables of these kinds. Call it when all models are imported (`app/models.py`)."""
    tables = Base.metadata.tables.values()
    return frozenset(table.name for table in tables if table.info.get(_KIND, TableKind.TENANT) in kinds)


class TextEnum(TypeDecorator[E], Generic[E]):
    """A `text` column whose values are members of a `StrEnum` in Python; `one_of` guards it in the database.

    It stays `text` in statements too. The operators of PostgreSQL's enum types are not leakproof, so that under row
    level security they reach no index.
    """

    impl = Text
    cache_ok = True

    def __init__(self, members: type[E]) -> None:
        super().__init__()
        self.members = members

    def process_bind_param(self, value: E | None, _dialect: Dialect) -> str | None:
        """Convert a member, or the value of one, to the stored text."""
        return None if value is None else self.members(value).value

    def result_processor(self, _dialect: Dialect, _coltype: object) -> Callable[[str | None], E | None]:
        """Make the function that converts stored texts to members; a mapping is faster than calling the class."""
        members_by_value: dict[str, E] = {member.value: member for member in self.members}
        return lambda value: None if value is None else members_by_value[value]


def one_of(column: str, values: tuple[str, ...], name: str | None = None) -> CheckConstraint:
    """Make a CHECK that a column has one of the values."""
    listed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({listed})", name=name or column)
