"""SQL fragments that read `ticket_search`, for the statements of `lists/queries.py`. Nothing else reads the table.

They expect the tickets as `t` and the organisation as `$1`. They return ids of tickets, never the indexed words.

The words of requesters are not in the table. `find_requesters` looks them up first, and the query then contains the
requesters. So a changed or erased name or address has its effect at once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

from app.core.search_texts import Lookup
from app.tickets.search.rules import MAX_REQUESTERS, RequestersByWord, match_word, word_range

if TYPE_CHECKING:
    from app.core.database.pool import Driver

# The number of tickets that are scanned in list order for each ticket of a page. Words in more than 1 of 20 tickets
# fill the page during the scan. Rarer words use the index. If all words are known to be in many tickets, reading all of
# these from the index takes longer than a longer scan.
SCAN_FACTOR = 20
LONG_SCAN_FACTOR = 100
# At most, for a page of any length: words that never occur together fill no page, however long the scan is.
MAX_SCANNED = 2000  # tickets


@dataclass(frozen=True, kw_only=True)
class Search:
    """A search: a `tsquery` over the words of tickets, and over the words of replies if the caller may see them.

    A `query` of `None` contains no words and matches nothing. `index_query` matches more: it is without the common
    words, which are checked on the tickets that it finds. `None` if there are none. `is_common` is whether all are.
    """

    query: str | None
    index_query: str | None = None
    is_common: bool = False
    include_replies: bool = True

    def scan_length(self, limit: int) -> int:
        """Return the number of tickets to scan for a page of `limit` tickets."""
        return min(limit * (LONG_SCAN_FACTOR if self.is_common else SCAN_FACTOR), MAX_SCANNED)


def _parse(query: str) -> str:
    # As a subquery it is parsed once, and is opaque to the planner, which then keeps one generic plan.
    return f"(SELECT {query}::text::tsquery)"


def match_condition(search: Search, query_parameter: str) -> str:
    """Return the condition that the ticket `t` matches; its cost grows with the number of tickets checked.

    Args:
        query_parameter: The placeholder of `search.query` in the statement, such as `$2`.
    """
    lexemes_sql = "s.lexemes || s.replies" if search.include_replies else "s.lexemes"
    return f"""(
        SELECT ({lexemes_sql}) @@ {_parse(query_parameter)}
        FROM ticket_search AS s WHERE s.org_id = $1 AND s.ticket_id = t.id
    )"""  # noqa: S608 - constants and the name of a parameter


def matching_ids(search: Search, query_parameter: str, index_query_parameter: str | None) -> str:
    """Return a statement for the ids of all matching tickets; its cost grows with the number of matches.

    Args:
        query_parameter: The placeholder of `search.query` in the statement, such as `$2`.
        index_query_parameter: The placeholder of `search.index_query`, if there is one.
    """
    conditions = [f"(lexemes || replies) @@ {_parse(index_query_parameter or query_parameter)}"]
    if not search.include_replies:
        conditions.append(f"lexemes @@ {_parse(query_parameter)}")
    elif index_query_parameter:
        # In this form, the index is not used for it.
        conditions.append(f"((lexemes || replies) @@ {_parse(query_parameter)}) IS TRUE")
    return f"SELECT ticket_id AS id FROM ticket_search WHERE org_id = $1 AND {' AND '.join(conditions)}"  # noqa: S608 - as above


def matching_page_ctes(
    search: Search,
    query_parameter: str,
    index_query_parameter: str | None,
    *,
    candidates_sql: str,
    order_by: str,
    limit: int,
) -> str:
    """Return two CTEs that together contain the ids of the first `limit` matching tickets.

    `scanned_matches` scans the first tickets of the list. If they do not fill the page, `all_matches` collects the ids
    of all matching tickets. Otherwise it is empty.

    Args:
        query_parameter: The placeholder of `search.query` in the statement, such as `$2`.
        index_query_parameter: The placeholder of `search.index_query`, if there is one.
        candidates_sql: A statement for `t.id` and the columns of `order_by` of the first candidate tickets, in that
            order: as many as `search.scan_length(limit)`.
        order_by: The columns that the list is ordered by, each with its direction.
        limit: The length of the page.
    """
    return f"""
        WITH scanned_matches AS MATERIALIZED (
            SELECT id FROM ({candidates_sql}) AS t
            WHERE {match_condition(search, query_parameter)} ORDER BY {order_by} LIMIT {limit}
        ), all_matches AS MATERIALIZED (
            {matching_ids(search, query_parameter, index_query_parameter)}
            AND (SELECT count(*) FROM scanned_matches) < {limit}
            AND (SELECT count(*) FROM ({candidates_sql}) AS t) = {search.scan_length(limit)}
        )
    """  # noqa: S608 - as above


# --- requesters ------------------------------------------------------------------------------------------------------

# Several words of a requester may be in a range: a name is also stored together with the other ones.
_MAX_WORDS_IN_RANGE = 10 * MAX_REQUESTERS + 1
# The words of requesters with a word in any of these ranges ($2, $3), or of the requesters of an account ($2). For a
# range with more words than are read, there is a row without a requester, with the beginning of the range.
FIND_REQUESTER_WORDS = f"""
    WITH found AS MATERIALIZED (
        SELECT range.low, in_range.count, in_range.ids
        FROM unnest($2::text[], $3::text[]) AS range (low, high) CROSS JOIN LATERAL (
            SELECT count(*) AS count, (array_agg(DISTINCT requester_id))[1:{MAX_REQUESTERS + 1}] AS ids FROM (
                SELECT requester_id FROM requester_words
                WHERE org_id = $1 AND word >= range.low AND word < range.high LIMIT {_MAX_WORDS_IN_RANGE}
            ) AS several
        ) AS in_range
    )
    SELECT w.word, w.requester_id FROM (SELECT DISTINCT unnest(found.ids) AS requester_id FROM found) AS matching
    JOIN requester_words AS w ON w.org_id = $1 AND w.requester_id = matching.requester_id
    UNION ALL SELECT found.low, NULL FROM found WHERE found.count = {_MAX_WORDS_IN_RANGE}
"""  # noqa: S608 - constants
_FIND_OWN_WORDS = """
    SELECT w.word, w.requester_id
    FROM requesters AS r JOIN requester_words AS w ON w.org_id = $1 AND w.requester_id = r.id
    WHERE r.org_id = $1 AND r.user_id = $2
"""


async def find_requesters(
    driver: Driver, org_id: UUID, lookups: Sequence[Lookup], account_id: UUID | None
) -> tuple[RequestersByWord, frozenset[Lookup]]:
    """Return the requesters whose name or e-mail address matches each of these words, and the words that lack some.

    If more than `MAX_REQUESTERS` match a word, it returns more than that, and not all. The words that lack requesters
    for another reason have too many matches in the names of too few requesters.

    Args:
        account_id: the only account whose requesters are searched; `None` for all requesters.
    """
    if account_id is not None:
        rows = await driver.fetch(_FIND_OWN_WORDS, org_id, account_id)
    else:
        lows, highs = zip(*(word_range(lookup) for lookup in lookups), strict=True)
        rows = await driver.fetch(FIND_REQUESTER_WORDS, org_id, lows, highs)
    found: dict[Lookup, set[UUID]] = defaultdict(set)
    truncated = {row["word"] for row in rows if row["requester_id"] is None}
    for row in rows:
        for lookup in lookups:
            if row["requester_id"] is not None and match_word(lookup, row["word"]):
                found[lookup].add(row["requester_id"])
    by_word = {lookup: sorted(ids) for lookup, ids in found.items()}
    return by_word, frozenset(lookup for lookup in lookups if lookup.word in truncated)
