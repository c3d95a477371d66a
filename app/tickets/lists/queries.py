"""SQL that reads a page of the list of tickets, and counts the list. It contains only the filters that are used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

from app.tickets.lists.filters import OPERATORS, TicketSort
from app.tickets.lists.operators import Parameters
from app.tickets.rows import TicketRow
from app.tickets.search.queries import Search, match_condition, matching_ids, matching_page_ctes
from app.tickets.statements import ASSIGNEE, COLUMNS

if TYPE_CHECKING:
    from app.core.database.pool import Driver

# Page sizes plus one row, which shows whether there is a next page. Each has its own prepared statement, and a
# connection keeps a limited number.
_PAGE_SIZES = (21, 51, 101)


@dataclass(frozen=True, kw_only=True)
class Listing:
    """Which tickets to list, in what order.

    Args:
        requester_id: the only requester whose tickets are listed; `None` for all.
        filters: the values of each filter, by the name of its field. A ticket must match one value of every filter.
    """

    requester_id: UUID | None = None
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
    conditions = _conditions(listing, parameters)
    column = listing.sort.column
    direction, beyond = ("DESC", "<") if listing.sort.is_descending else ("ASC", ">")
    if after is not None:
        at, number = (parameters.add(part) for part in after)
        conditions.append(f"(t.{column}, t.number) {beyond} ({at}, {number})")
    order_by = f"{column} {direction}, number {direction}"
    ctes = ""
    if listing.search and not listing.requester_id:
        candidates_sql = (
            f"SELECT id, {column}, number FROM tickets AS t WHERE {' AND '.join(conditions)} ORDER BY {order_by}"  # noqa: S608 - every value is a parameter
        )
        query_parameter = parameters.add(listing.search.query)
        # These define `scanned_matches` and `all_matches`.
        ctes = matching_page_ctes(listing.search, query_parameter, candidates_sql, order_by, limit)
        conditions.append("t.id = ANY(ARRAY(SELECT id FROM scanned_matches UNION ALL SELECT id FROM all_matches))")
    sql = f"""
        {ctes}
        SELECT {COLUMNS} FROM (
            SELECT * FROM tickets AS t WHERE {" AND ".join(conditions)} ORDER BY {order_by} LIMIT {limit:d}
        ) AS t {ASSIGNEE} ORDER BY {order_by}
    """  # noqa: S608 - as above
    return sql, parameters


async def count_tickets(driver: Driver, org_id: UUID, listing: Listing) -> int:
    """Count the tickets that match."""
    if listing.matches_nothing:
        return 0
    parameters = Parameters([org_id])
    conditions, ctes = _conditions(listing, parameters), ""
    if listing.search and not listing.requester_id:
        ctes = f"WITH matches AS MATERIALIZED ({matching_ids(listing.search, parameters.add(listing.search.query))})"
        conditions.append("t.id IN (SELECT id FROM matches)")
    sql = f"{ctes} SELECT count(*) FROM tickets AS t WHERE {' AND '.join(conditions)}"  # noqa: S608 - as above
    return int(await driver.fetchval(sql, *parameters))


def _conditions(listing: Listing, parameters: Parameters) -> list[str]:
    conditions = ["t.org_id = $1"]
    if listing.requester_id is not None:
        conditions.append(f"t.requester_user_id = {parameters.add(listing.requester_id)}")
        if listing.search:
            # Each of the requester's tickets is checked, so that the duration reveals nothing about other tickets.
            conditions.append(match_condition(listing.search, parameters.add(listing.search.query)))
    conditions += [OPERATORS[name].condition(values, parameters) for name, values in listing.filters.items()]
    return conditions
