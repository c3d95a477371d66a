"""Copies of a generated organisation, to have many organisations within a minute."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.core.ids import new_id
from app.core.security.secret_keys import generate_secret_key, hash_secret_key

if TYPE_CHECKING:
    from app.core.database.pool import Driver


@dataclass(frozen=True)
class Organisation:
    """A generated tenant. `admins` are the ids of active, available users."""

    id: str
    domain: str
    secret: str
    admins: list[str]

    def customer(self, number: int) -> str:
        """Return the e-mail of a customer; numbers start at 1."""
        return f"customer{number}@{self.domain}"


# The tables of a generated organisation: each after those that it refers to.
_TABLES = (
    "organisations", "secret_keys", "counters", "relays", "users", "credentials", "user_words", "requesters",
    "requester_words", "tickets", "comments", "timers", "ticket_search",
)  # fmt: skip
_COLUMNS = "SELECT attname FROM pg_attribute WHERE attrelid = $1::text::regclass AND attnum > 0 AND NOT attisdropped"

_OTHER_DOMAIN = "replace(original.{column}, $2::text, copy.domain)"
_OTHER_PREFIX = """
    array_to_tsvector(string_to_array(replace(
        array_to_string(tsvector_to_array(original.{column}), ' '), right($1::text, 8), right(copy.id::text, 8)
    ), ' '))
"""
# The values that differ between an organisation and its copy. Ids do not, since keys begin with the organisation.
_DIFFERENT = {
    ("organisations", "id"): "copy.id",
    ("organisations", "name"): _OTHER_DOMAIN,
    ("organisations", "domain"): _OTHER_DOMAIN,
    ("secret_keys", "hash"): "copy.hash",
    ("users", "email"): _OTHER_DOMAIN,
    ("credentials", "email"): _OTHER_DOMAIN,
    ("user_words", "word"): _OTHER_DOMAIN,
    ("requesters", "email"): _OTHER_DOMAIN,
    ("ticket_search", "lexemes"): _OTHER_PREFIX,
    ("ticket_search", "replies"): _OTHER_PREFIX,
}


async def make(connection: Driver, original: Organisation, numbers: Iterable[int]) -> list[Organisation]:
    """Copy an organisation with its users and tickets. The connection must see all organisations."""
    made = [Organisation(str(new_id()), f"company{n}.example", generate_secret_key(), original.admins) for n in numbers]
    if not made:
        return []
    await connection.execute("CREATE TEMPORARY TABLE copies (id uuid, domain text, hash bytea)")
    rows = [(one.id, one.domain, hash_secret_key(one.secret)) for one in made]
    await connection.copy_records_to_table("copies", records=rows)
    await connection.execute("ANALYZE copies")
    for table in _TABLES:
        columns = [column for (column,) in await connection.fetch(_COLUMNS, table)]
        await connection.execute(_copy_statement(table, columns), original.id, original.domain)
    await connection.execute("ANALYZE")
    return made


def _copy_statement(table: str, columns: Iterable[str]) -> str:
    values = {column: f"original.{column}" for column in columns}
    if "org_id" in values:
        values["org_id"] = "copy.id"
    values |= {
        column: value.format(column=column) for (of_table, column), value in _DIFFERENT.items() if of_table == table
    }
    organisation = "id" if table == "organisations" else "org_id"
    return f"""
        INSERT INTO {table} ({", ".join(values)}) SELECT {", ".join(values.values())}
        FROM {table} AS original CROSS JOIN copies AS copy
        WHERE original.{organisation} = $1::text::uuid AND $2::text <> ''
        """
