"""The common words of the search index, by PostgreSQL's own statistics.

A search reads from the index only for its rarer words, and checks the common ones on the tickets that it found: reading
where a word is that all tickets have takes longer than everything else.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

import structlog

from app.access.services import Services
from app.core.database.pool import Database
from app.tickets.search.rules import NO_COUNTS, LexemeCounts

REFRESH_INTERVAL = 600  # seconds
RETRY_DELAY = 30  # seconds

# The statistics of an expression, such as the indexed one, belong to the index: only the owner of the table reads them.
_READ = """
    SELECT lexeme, max(frequency * greatest(reltuples, 0)) AS count
    FROM pg_stats JOIN pg_class ON pg_class.oid = 'ticket_search'::regclass, LATERAL unnest(
        most_common_elems::text::text[], most_common_elem_freqs
    ) AS common (lexeme, frequency)
    WHERE schemaname = relnamespace::regnamespace::text AND tablename = 'ticket_search'
          AND attname IN ('lexemes', 'replies') AND lexeme IS NOT NULL
    GROUP BY lexeme
"""

log = structlog.get_logger("tessera.search")


@dataclass
class CommonWords:
    """The present counts, which are read again in the background when a search uses them after a while."""

    database: Database
    _counts: LexemeCounts = NO_COUNTS
    _due: float = 0
    _task: asyncio.Task[None] | None = field(default=None, repr=False)

    def counts(self) -> LexemeCounts:
        """Return what is known, at once."""
        now = time.monotonic()
        if now >= self._due:
            self._due = now + RETRY_DELAY
            self._task = asyncio.create_task(self.refresh())
        return self._counts

    async def refresh(self) -> None:
        """Read the counts."""
        try:
            async with self.database.driver(None) as driver:
                rows = await driver.fetch(_READ)
        except Exception as error:  # noqa: BLE001 - a search works without, and asks again
            log.warning("common_words_not_read", error=type(error).__name__)
            return
        self._counts = LexemeCounts({row["lexeme"]: row["count"] for row in rows})
        self._due = time.monotonic() + REFRESH_INTERVAL


@dataclass(frozen=True, kw_only=True)
class SearchServices(Services):
    """The services of the search."""

    common_words: CommonWords
