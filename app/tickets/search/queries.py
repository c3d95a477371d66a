"""The one place where `ticket_search` is read: conditions for the statements of `tickets/queries.py`.

They have the tickets as `t`, the organisation as `$1`, and never show what they read, only which tickets it is of.
"""

from __future__ import annotations

from dataclasses import dataclass

# For each ticket of a page, so many are looked at one by one, in the list's own order, before all that have the words
# are gathered: words that more than every twentieth ticket has are found among them, and only rarer ones are gathered.
LOOKED_AT = 20


@dataclass(frozen=True, kw_only=True)
class Search:
    """What is looked for: a `tsquery`, among the words of tickets, and of the answers to them where those are shown.

    Without any word in it, which is `None`, it finds nothing.
    """

    query: str | None
    answers: bool = True


def _read(query: str) -> str:
    # In a query of its own it is read once, and not known to the planner, who then keeps one plan for all.
    return f"(SELECT {query}::text::tsquery)"


def has_words(wanted: Search, query: str) -> str:
    """The condition that the ticket `t` has the words; what it costs grows with the tickets that it is asked of.

    Args:
        query: the parameter of the statement that is `wanted.query`.
    """
    own = "s.lexemes || s.answers" if wanted.answers else "s.lexemes"
    return f"""(
        SELECT ({own}) @@ {_read(query)} FROM ticket_search AS s WHERE s.org_id = $1 AND s.ticket_id = t.id
    )"""  # noqa: S608 - constants, and the name of a parameter


def all_with_words(wanted: Search, query: str) -> str:
    """The ids of the organisation's tickets that have the words; what it costs grows with how many those are."""
    # As a plain equality, the organisation would have the planner read all of its part of the primary key as well.
    own = "" if wanted.answers else f" AND lexemes @@ {_read(query)}"
    return f"""
        SELECT ticket_id AS id FROM ticket_search
        WHERE (org_id = $1) IS TRUE AND (lexemes || answers) @@ {_read(query)}{own}
    """  # noqa: S608 - as above


def page_of_ids(wanted: Search, query: str, in_order: str, order: str, limit: int) -> str:
    """Two CTEs, `found` and `others`, whose ids are the tickets with the words: some page's worth of the first.

    Args:
        in_order: a statement that gives `t.id` and the columns of `order`, of all tickets to look among, in that order.
        limit: the length of the page.
    """
    first = f"{in_order} LIMIT {LOOKED_AT * limit}"
    return f"""
        WITH found AS MATERIALIZED (
            SELECT id FROM ({first}) AS t WHERE {has_words(wanted, query)} ORDER BY {order} LIMIT {limit}
        ), others AS MATERIALIZED (
            {all_with_words(wanted, query)}
            AND (SELECT count(*) FROM found) < {limit} AND (SELECT count(*) FROM ({first}) AS t) = {LOOKED_AT * limit}
        )
    """  # noqa: S608 - as above
