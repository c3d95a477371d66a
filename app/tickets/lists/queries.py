"""SQL that reads a page of the list of tickets, and counts the list. It contains only the filters that are used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

from app.tickets.lists.filters import OPERATORS, TicketSort
from app.tickets.lists.operators import HasRequester, Parameters, has_requester, requesters_of_account
from app.tickets.rows import TicketRow
from app.tickets.search.queries import Search, match_condition, matching_ids, matching_page_ctes
from app.tickets.statements import COLUMNS, JOINS

if TYPE_CHECKING:
    from app.core.database.pool import Driver

# Page sizes plus one row, which shows whether there is a next page. Each has its own prepared statement, and a
# connection keeps a limited number.
_PAGE_SIZES = (21, 51, 101)


@dataclass(frozen=True, kw_only=True)
class Listing:
    """Which tickets to list, in what order.

    Args:
        account_id: the only account whose tickets are listed; `None` for all tickets.
        filters: the values of each filter, by the name of its field. A ticket must match one value of every filter.
    """

    account_id: UUID | None = None
    filters: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    search: Search | None = None
    sort: TicketSort = TicketSort.CREATED_AT_DESC

    @property
    def matches_nothing(self) -> bool:
        """Whether nothing can match, since the search text contains no words."""
        return self.search is not None and self.search.query is None


async def read_page(
    driver: Driver, org_id: UUID, listing: Listing, after: Sequence[Any] | None, limit: int
) -> list[TicketRow]:
    """Read the tickets that follow the position `after` (time, number), with their assignees; at most `limit`."""
    if listing.matches_nothing:
        return []
    size = next(size for size in _PAGE_SIZES if size >= limit)
    sql, parameters = page_statement(org_id, listing, after, size)
    return cast("list[TicketRow]", await driver.fetch(sql, *parameters))[:limit]


def page_statement(
    org_id: UUID, listing: Listing, after: Sequence[Any] | None, limit: int
) -> tuple[str, Sequence[Any]]:
    """Return the statement that reads a page, with its parameters. Each combination of filters has its own plan.

    The limit is a literal: PostgreSQL keeps a generic plan only if it knows that the statement returns few rows.
    """
    parameters = Parameters([org_id])
    selection = _select_tickets(listing, parameters)
    column = listing.sort.column
    direction, beyond = ("DESC", "<") if listing.sort.is_descending else ("ASC", ">")
    if after is not None:
        at, number = (parameters.add(part) for part in after)
        selection.conditions.append(f"(t.{column}, t.number) {beyond} ({at}, {number})")
    order_by = f"{column} {direction}, number {direction}"
    ctes, page_sql = "", selection.first("t.*", order_by, limit)
    if listing.search and not listing.account_id:
        candidates_sql = selection.first(f"t.id, t.{column}, t.number", order_by, listing.search.scan_length(limit))
        # These define `scanned_matches` and `all_matches`.
        queries = _add_queries(listing.search, parameters)
        ctes = matching_page_ctes(
            listing.search, *queries, candidates_sql=candidates_sql, order_by=order_by, limit=limit
        )
        matches = "t.id = ANY(ARRAY(SELECT id FROM scanned_matches UNION ALL SELECT id FROM all_matches))"
        page_sql = f"""
            SELECT * FROM tickets AS t WHERE {selection.condition} AND {matches} ORDER BY {order_by} LIMIT {limit:d}
        """  # noqa: S608 - every value is a parameter
    sql = f"{ctes} SELECT {COLUMNS} FROM ({page_sql}) AS t {JOINS} ORDER BY t.{column} {direction}, number {direction}"  # noqa: S608 - as above
    return sql, parameters


async def count_tickets(driver: Driver, org_id: UUID, listing: Listing) -> int:
    """Count the tickets that match."""
    if listing.matches_nothing:
        return 0
    parameters = Parameters([org_id])
    selection, ctes = _select_tickets(listing, parameters), ""
    if listing.search and not listing.account_id:
        ctes = (
            f"WITH matches AS MATERIALIZED ({matching_ids(listing.search, *_add_queries(listing.search, parameters))})"
        )
        selection.conditions.append("t.id IN (SELECT id FROM matches)")
    sql = f"{ctes} SELECT count(*) FROM tickets AS t WHERE {selection.condition}"  # noqa: S608 - as above
    return int(await driver.fetchval(sql, *parameters))


@dataclass(frozen=True)
class _Selection:
    """Which tickets `t` to read: those that meet all conditions and are of a requester in each of `requesters`.

    Args:
        requesters: statements for ids of requesters.
    """

    conditions: list[str]
    requesters: Sequence[str]

    @property
    def condition(self) -> str:
        """All conditions in one."""
        return " AND ".join([*self.conditions, *(has_requester(one) for one in self.requesters)])

    def first(self, columns: str, order_by: str, limit: int) -> str:
        """Return a statement for the first tickets in an order.

        Of each requester it reads the first tickets through the index: no index has those of several in their order.
        """
        if not self.requesters:
            return f"SELECT {columns} FROM tickets AS t WHERE {self.condition} ORDER BY {order_by} LIMIT {limit:d}"  # noqa: S608 - as above
        ids, *others = self.requesters
        conditions = [*self.conditions, *(has_requester(one) for one in others), "t.requester_id = wanted.requester_id"]
        return f"""
            SELECT {columns} FROM ({ids}) AS wanted (requester_id) CROSS JOIN LATERAL (
                SELECT * FROM tickets AS t
                WHERE {" AND ".join(conditions)} ORDER BY {order_by} LIMIT {limit:d}
            ) AS t ORDER BY {order_by} LIMIT {limit:d}
        """  # noqa: S608 - as above


def _add_queries(search: Search, parameters: Parameters) -> tuple[str, str | None]:
    """Add the query to the parameters, and the one for the index if it differs; return their placeholders."""
    return parameters.add(search.query), parameters.add(search.index_query) if search.index_query else None


def _select_tickets(listing: Listing, parameters: Parameters) -> _Selection:
    conditions, requesters = ["t.org_id = $1"], []
    if listing.account_id is not None:
        requesters.append(requesters_of_account(parameters.add(listing.account_id)))
        if listing.search:
            # Each of the requester's tickets is checked, so that the duration reveals nothing about other tickets.
            conditions.append(match_condition(listing.search, parameters.add(listing.search.query)))
    for name, values in listing.filters.items():
        operator = OPERATORS[name]
        if isinstance(operator, HasRequester):
            requesters.append(operator.requesters(values, parameters))
        else:
            conditions.append(operator.condition(values, parameters))
    return _Selection(conditions, requesters)
