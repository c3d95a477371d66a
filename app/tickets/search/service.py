"""Keep `ticket_search` in step with the tickets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from uuid import UUID

from sqlalchemy import BigInteger, Text, Uuid, any_, bindparam, literal, select, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncSession

from app.tickets.models import Ticket
from app.tickets.search import rules
from app.tickets.search.rules import MAX_WORDS

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
    ON CONFLICT (org_id, ticket_id) DO UPDATE SET answers = ticket_search.answers || excluded.answers
    WHERE length(ticket_search.answers || excluded.answers) <= :most
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
    rows = (
        await db.execute(
            select(Ticket.id, Ticket.version, Ticket.number, Ticket.title, Ticket.description, Ticket.added_by).where(
                Ticket.org_id == org_id, Ticket.id == any_(literal(ids, _IDS))
            )
        )
    ).all()
    if rows:
        await db.execute(
            _KEEP_OWN,
            {
                "org_id": org_id,
                "ids": [row.id for row in rows],
                "versions": [row.version for row in rows],
                "words": [
                    " ".join(rules.lexemes(org_id, row.title, row.added_by, row.description, number=row.number))
                    for row in rows
                ],
            },
        )


async def add_answers(db: AsyncSession, org_id: UUID, messages: Mapping[UUID, Sequence[str]]) -> None:
    """Let tickets be found by these answers as well, until there are `MAX_WORDS` of them."""
    if messages:
        await db.execute(
            _ADD_ANSWERS,
            {
                "org_id": org_id,
                "ids": list(messages),
                "words": [" ".join(rules.lexemes(org_id, *texts)) for texts in messages.values()],
                "most": MAX_WORDS,
            },
        )
