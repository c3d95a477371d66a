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

# The numbers of rows that are fetched. Each has its own prepared statement, and a connection keeps a limited number.
_PAGE_SIZES = (21, 51, 101)


@dataclass(frozen=True, kw_only=True)
class Listing:
    """Which tickets to list, in what order.

    Args:
        own: the requester whose tickets alone are listed.
        filters: values by the names of the fields. Those of one filter are alternatives, and all filters must hold.
    """

    own: UUID | None = None
    filters: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    search: Search | None = None
    sort: TicketSort = TicketSort.CREATED_AT_DESC

    @property
    def is_empty(self) -> bool:
        """Whether nothing can match, since the search text contains no words."""
        return self.search is not None and self.search.query is None


async def read_page(
    driver: Driver, org_id: UUID, wanted: Listing, after: Sequence[Any] | None, limit: int
) -> list[TicketRow]:
    """Read the tickets that follow the position `after` (time, number), with their assignees; at most `limit`."""
    if wanted.is_empty:
        return []
    size = next(size for size in _PAGE_SIZES if size >= limit)
    sql, parameters = page_statement(org_id, wanted, after, size)
    return cast("list[TicketRow]", await driver.fetch(sql, *parameters))[:limit]


def page_statement(org_id: UUID, wanted: Listing, after: Sequence[Any] | None, limit: int) -> tuple[str, Sequence[Any]]:
    """Return the statement that reads a page, with its parameters. Each combination of filters has its own plan.

    The limit is a literal: PostgreSQL keeps a generic plan only if it knows that the statement returns few rows.
    """
    parameters = Parameters([org_id])
    conditions = _conditions(wanted, parameters)
    column = wanted.sort.column
    direction, beyond = ("DESC", "<") if wanted.sort.is_descending else ("ASC", ">")
    if after is not None:
        at, number = (parameters.add(part) for part in after)
        conditions.append(f"(t.{column}, t.number) {beyond} ({at}, {number})")
    order = f"{column} {direction}, number {direction}"
    ctes = ""
    if wanted.search and not wanted.own:
        in_order = f"SELECT id, {column}, number FROM tickets AS t WHERE {' AND '.join(conditions)} ORDER BY {order}"  # noqa: S608 - every value is a parameter
        ctes = matching_page_ctes(wanted.search, parameters.add(wanted.search.query), in_order, order, limit)
        conditions.append("t.id = ANY(ARRAY(SELECT id FROM found UNION ALL SELECT id FROM others))")
    sql = f"""
        {ctes}
        SELECT {COLUMNS} FROM (
            SELECT * FROM tickets AS t WHERE {" AND ".join(conditions)} ORDER BY {order} LIMIT {limit:d}
        ) AS t {ASSIGNEE} ORDER BY {order}
    """  # noqa: S608 - as above
    return sql, parameters


async def count_tickets(driver: Driver, org_id: UUID, wanted: Listing) -> int:
    """Count the tickets that match."""
    if wanted.is_empty:
        return 0
    parameters = Parameters([org_id])
    conditions, ctes = _conditions(wanted, parameters), ""
    if wanted.search and not wanted.own:
        ctes = f"WITH found AS MATERIALIZED ({matching_ids(wanted.search, parameters.add(wanted.search.query))})"
        conditions.append("t.id IN (SELECT id FROM found)")
    sql = f"{ctes} SELECT count(*) FROM tickets AS t WHERE {' AND '.join(conditions)}"  # noqa: S608 - as above
    return int(await driver.fetchval(sql, *parameters))


def _conditions(wanted: Listing, parameters: Parameters) -> list[str]:
    conditions = ["t.org_id = $1"]
    if wanted.own is not None:
        conditions.append(f"t.requester_user_id = {parameters.add(wanted.own)}")
        if wanted.search:
            # Each of the requester's tickets is checked, so that the duration reveals nothing about other tickets.
            conditions.append(match_condition(wanted.search, parameters.add(wanted.search.query)))
    conditions += [OPERATORS[name].condition(values, parameters) for name, values in wanted.filters.items()]
    return conditions
