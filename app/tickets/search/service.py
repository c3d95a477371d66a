"""Write the search index."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from uuid import UUID

from sqlalchemy import BigInteger, Text, Uuid, any_, bindparam, literal, select, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncSession

from app.requesters.service import index_new_requesters
from app.tickets.models import Ticket
from app.tickets.search import rules
from app.tickets.search.rules import MAX_WORDS

TICKETS_PER_STATEMENT = 25
_IDS = ARRAY(Uuid)

# A writer that read an older version of the ticket must not overwrite the lexemes of a newer one.
_UPSERT_TICKET_LEXEMES = text(
    """
    INSERT INTO ticket_search (org_id, ticket_id, version, lexemes, replies)
    SELECT :org_id, read.id, read.version, array_to_tsvector(string_to_array(read.lexemes, ' ')), ''
    FROM unnest(:ids, :versions, :lexemes) AS read (id, version, lexemes) ORDER BY read.id
    ON CONFLICT (org_id, ticket_id) DO UPDATE SET version = excluded.version, lexemes = excluded.lexemes
    WHERE ticket_search.version <= excluded.version
    """
)
_ADD_REPLY_LEXEMES = text(
    f"""
    INSERT INTO ticket_search (org_id, ticket_id, version, lexemes, replies)
    SELECT :org_id, read.id, 0, '', array_to_tsvector(string_to_array(read.lexemes, ' '))
    FROM unnest(:ids, :lexemes) AS read (id, lexemes) ORDER BY read.id
    ON CONFLICT (org_id, ticket_id) DO UPDATE SET replies = ticket_search.replies || array_to_tsvector(
        (tsvector_to_array(excluded.replies))[1:greatest(0, {MAX_WORDS} - length(ticket_search.replies))]
    )
    """  # noqa: S608 - a constant; Citus does not find out the type of a parameter here
)
_PARAMETERS = (
    bindparam("org_id", type_=Uuid),
    bindparam("ids", type_=_IDS),
    bindparam("lexemes", type_=ARRAY(Text)),
)
_UPSERT_TICKET_LEXEMES = _UPSERT_TICKET_LEXEMES.bindparams(*_PARAMETERS, bindparam("versions", type_=ARRAY(BigInteger)))
_ADD_REPLY_LEXEMES = _ADD_REPLY_LEXEMES.bindparams(*_PARAMETERS)


async def index(db: AsyncSession, org_id: UUID, ids: Sequence[UUID]) -> None:
    """Index the current number, title, description and requester of tickets."""
    columns = (Ticket.id, Ticket.version, Ticket.number, Ticket.title, Ticket.description, Ticket.requester_id)
    for chunk in _chunks(sorted(ids)):
        conditions = (Ticket.org_id == org_id, Ticket.id == any_(literal(chunk, _IDS)))
        rows = (await db.execute(select(*columns).where(*conditions))).all()
        lexemes_by_ticket = []
        for row in rows:
            await asyncio.sleep(0)  # a long text takes milliseconds; others may go on in between
            lexemes_by_ticket.append(
                rules.ticket_lexemes(org_id, row.number, row.requester_id, row.title, row.description)
            )
        await db.execute(
            _UPSERT_TICKET_LEXEMES,
            {
                "org_id": org_id,
                "ids": [row.id for row in rows],
                "versions": [row.version for row in rows],
                "lexemes": [" ".join(lexemes) for lexemes in lexemes_by_ticket],
            },
        )
        await index_new_requesters(db, org_id, {row.requester_id for row in rows})


async def add_replies(db: AsyncSession, org_id: UUID, messages: Mapping[UUID, Sequence[str]]) -> None:
    """Add the words of replies to the index, up to `MAX_WORDS` for each ticket."""
    for chunk in _chunks(sorted(messages)):
        words = []
        for ticket_id in chunk:
            await asyncio.sleep(0)
            words.append(" ".join(rules.lexemes(org_id, *messages[ticket_id])))
        await db.execute(_ADD_REPLY_LEXEMES, {"org_id": org_id, "ids": chunk, "lexemes": words})


def _chunks(ids: list[UUID]) -> Iterator[list[UUID]]:
    # Small enough that even the longest texts block neither this process nor the database for long.
    return (ids[start : start + TICKETS_PER_STATEMENT] for start in range(0, len(ids), TICKETS_PER_STATEMENT))
