"""Keep `ticket_search` in step with the tickets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Text, Uuid, any_, bindparam, literal, select, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncSession

from app.accounts.users.rules import is_somebodys
from app.tickets.models import Ticket
from app.tickets.search import rules
from app.tickets.search.rules import MAX_WORDS

CHUNK = 25
_IDS = ARRAY(Uuid)

# Whoever read the ticket before somebody else changed it does not write over what was read after.
_KEEP_OWN = text(
    """
    INSERT INTO ticket_search (org_id, ticket_id, version, lexemes, answers)
    SELECT :org_id, read.id, read.version, array_to_tsvector(string_to_array(read.words, ' ')), ''
    FROM unnest(:ids, :versions, :words) AS read (id, version, words) ORDER BY read.id
    ON CONFLICT (org_id, ticket_id) DO UPDATE SET version = excluded.version, lexemes = excluded.lexemes
    WHERE ticket_search.version <= excluded.version
    """
)
_ADD_ANSWERS = text(
    """
    INSERT INTO ticket_search (org_id, ticket_id, version, lexemes, answers)
    SELECT :org_id, read.id, 0, '', array_to_tsvector(string_to_array(read.words, ' '))
    FROM unnest(:ids, :words) AS read (id, words) ORDER BY read.id
    ON CONFLICT (org_id, ticket_id) DO UPDATE SET answers = ticket_search.answers || array_to_tsvector(
        (tsvector_to_array(excluded.answers))[1:greatest(0, :most - length(ticket_search.answers))]
    )
    """
)
_PARAMETERS = (
    bindparam("org_id", type_=Uuid),
    bindparam("ids", type_=_IDS),
    bindparam("words", type_=ARRAY(Text)),
)
_KEEP_OWN = _KEEP_OWN.bindparams(*_PARAMETERS, bindparam("versions", type_=ARRAY(BigInteger)))
_ADD_ANSWERS = _ADD_ANSWERS.bindparams(*_PARAMETERS, bindparam("most", type_=BigInteger))


async def index(db: AsyncSession, org_id: UUID, ids: Sequence[UUID]) -> None:
    """Let tickets be found by their own words as they are now: number, title, description, requester."""
    columns = (Ticket.id, Ticket.version, Ticket.number, Ticket.title, Ticket.description, Ticket.added_by)
    for some in _in_chunks(sorted(ids)):
        which = (Ticket.org_id == org_id, Ticket.id == any_(literal(some, _IDS)))
        rows = (await db.execute(select(*columns).where(*which))).all()
        words = [rules.lexemes(org_id, row.title, _email(row), row.description, number=row.number) for row in rows]
        await db.execute(
            _KEEP_OWN,
            {
                "org_id": org_id,
                "ids": [row.id for row in rows],
                "versions": [row.version for row in rows],
                "words": [" ".join(some) for some in words],
            },
        )


async def add_answers(db: AsyncSession, org_id: UUID, messages: Mapping[UUID, Sequence[str]]) -> None:
    """Let tickets be found by these answers as well, until there are `MAX_WORDS` of them."""
    for some in _in_chunks(sorted(messages)):
        words = [" ".join(rules.lexemes(org_id, *messages[ticket_id])) for ticket_id in some]
        await db.execute(_ADD_ANSWERS, {"org_id": org_id, "ids": some, "words": words, "most": MAX_WORDS})


def _email(row: Any) -> str:
    return row.added_by if is_somebodys(row.added_by) else ""


def _in_chunks(ids: list[UUID]) -> Iterator[list[UUID]]:
    # So few that even the longest texts hold neither this process up for long, nor the database.
    return (ids[place : place + CHUNK] for place in range(0, len(ids), CHUNK))
