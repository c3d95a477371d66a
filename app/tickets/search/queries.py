"""SQL fragments that read `ticket_search`, for the statements of `lists/queries.py`. Nothing else reads the table.

They expect the tickets as `t` and the organisation as `$1`. They return ids of tickets, never the indexed words.
"""

from __future__ import annotations

from dataclasses import dataclass

# Tickets scanned in list order, for each ticket of a page, before the index collects all matches: words that occur in
# more than every twentieth ticket fill the page during the scan, and only rarer words need the index.
SCAN_FACTOR = 20


@dataclass(frozen=True, kw_only=True)
class Search:
    """A search: a `tsquery` over the words of tickets, and over those of replies if the caller may see them.

    A `query` of `None` contains no words and matches nothing.
    """

    query: str | None
    include_replies: bool = True


def _parse(query: str) -> str:
    # As a subquery it is parsed once, and is opaque to the planner, which then keeps one generic plan.
    return f"(SELECT {query}::text::tsquery)"


def match_condition(search: Search, query: str) -> str:
    """Return the condition that the ticket `t` matches; its cost grows with the number of tickets checked.

    Args:
        query: The statement's parameter for `search.query`.
    """
    lexemes_sql = "s.lexemes || s.replies" if search.include_replies else "s.lexemes"
    return f"""(
        SELECT ({lexemes_sql}) @@ {_parse(query)} FROM ticket_search AS s WHERE s.org_id = $1 AND s.ticket_id = t.id
    )"""  # noqa: S608 - constants and the name of a parameter


def matching_ids(search: Search, query: str) -> str:
    """Return a query for the ids of all matching tickets; its cost grows with the number of matches."""
    # A plain equality on `org_id` would make the planner also read the organisation's part of the primary key.
    own_words_only = "" if search.include_replies else f" AND lexemes @@ {_parse(query)}"
    return f"""
        SELECT ticket_id AS id FROM ticket_search
        WHERE (org_id = $1) IS TRUE AND (lexemes || replies) @@ {_parse(query)}{own_words_only}
    """  # noqa: S608 - as above


def matching_page_ctes(search: Search, query: str, in_order: str, order: str, limit: int) -> str:
    """Return two CTEs, `found` and `others`, whose ids contain the first `limit` matching tickets.

    `found` scans the first tickets of the list; `others` collects all matches if the scan does not fill the page.

    Args:
        in_order: A statement that returns `t.id` and the columns of `order` of all candidate tickets, in that order.
        limit: The length of the page.
    """
    first = f"{in_order} LIMIT {SCAN_FACTOR * limit}"
    return f"""
        WITH found AS MATERIALIZED (
            SELECT id FROM ({first}) AS t WHERE {match_condition(search, query)} ORDER BY {order} LIMIT {limit}
        ), others AS MATERIALIZED (
            {matching_ids(search, query)}
            AND (SELECT count(*) FROM found) < {limit} AND (SELECT count(*) FROM ({first}) AS t) = {SCAN_FACTOR * limit}
        )
    """  # noqa: S608 - as above
