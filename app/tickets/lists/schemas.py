"""Define the request and the response of the list of tickets."""

from __future__ import annotations

from app.core.web.paging import CountedPageQuery, SearchPage
from app.tickets.lists.filters import TicketFilters
from app.tickets.schemas import Ticket


class TicketListQuery(TicketFilters, CountedPageQuery):
    """Select tickets. A repeated filter matches any of its values."""


class TicketPage(SearchPage[Ticket]):
    """A page of tickets."""
