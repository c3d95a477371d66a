"""SQL fragments that read `ticket_search`, for the statements of `lists/queries.py`. Nothing else reads the table.

They expect the tickets as `t` and the organisation as `$1`. They return ids of tickets, never the indexed words.
"""

from __future__ import annotations

from dataclasses import dataclass

# The number of tickets that are scanned in list order for each ticket of a page. Words in more than 1 of 20 tickets
# fill the page during the scan. Rarer words use the index.
SCAN_FACTOR = 20


@dataclass(frozen=True, kw_only=True)
class Search:
    """A search: a `tsquery` over the words of tickets, and over the words of replies if the caller may see them.

    A `query` of `None` contains no words and matches nothing.
    """

    query: str | None
    include_replies: bool = True


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


def matching_ids(search: Search, query_parameter: str) -> str:
    """Return a statement for the ids of all matching tickets; its cost grows with the number of matches."""
    ticket_words_condition = "" if search.include_replies else f" AND lexemes @@ {_parse(query_parameter)}"
    return f"""
        SELECT ticket_id AS id FROM ticket_search
        WHERE org_id = $1 AND (lexemes || replies) @@ {_parse(query_parameter)}{ticket_words_condition}
    """  # noqa: S608 - as above


def matching_page_ctes(search: Search, query_parameter: str, candidates_sql: str, order_by: str, limit: int) -> str:
    """Return two CTEs that together contain the ids of the first `limit` matching tickets.

    `scanned_matches` scans the first tickets of the list. If they do not fill the page, `all_matches` collects the ids
    of all matching tickets. Otherwise it is empty.

    Args:
        candidates_sql: A statement for `t.id` and the columns of `order_by` of all candidate tickets, in that order.
        order_by: The columns that the list is ordered by, each with its direction.
        limit: The length of the page.
    """
    first = f"{candidates_sql} LIMIT {SCAN_FACTOR * limit}"
    return f"""
        WITH scanned_matches AS MATERIALIZED (
            SELECT id FROM ({first}) AS t
            WHERE {match_condition(search, query_parameter)} ORDER BY {order_by} LIMIT {limit}
        ), all_matches AS MATERIALIZED (
            {matching_ids(search, query_parameter)}
            AND (SELECT count(*) FROM scanned_matches) < {limit}
            AND (SELECT count(*) FROM ({first}) AS t) = {SCAN_FACTOR * limit}
        )
    """  # noqa: S608 - as above
