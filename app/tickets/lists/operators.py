"""The operators of filters: each makes an SQL condition from the values of a filter."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Literal
from uuid import UUID

from sqlalchemy.orm import InstrumentedAttribute

from app.core.database.filters import Operator
from app.tickets.models import Ticket

NONE: Literal["none"] = "none"  # no assignee


class Parameters(list[Any]):
    """The parameters of a statement."""

    def add(self, value: object) -> str:
        """Add a parameter; return its place in the statement."""
        self.append(value)
        return f"${len(self)}"


# The requester that a row leads to, and those that were merged into it. An array, and not a join, because a join may
# read the requesters of the whole organisation.
_LEADS_TO = "SELECT coalesce(merged_into_id, id) AS id FROM requesters WHERE org_id = $1 AND {0}"
_MERGED_WITH = (
    f"{_LEADS_TO} UNION SELECT id FROM requesters WHERE org_id = $1 AND merged_into_id = ANY(ARRAY({_LEADS_TO}))"  # noqa: S608 - constants
)
_REQUESTERS_BY_ID = _MERGED_WITH.format("id = {0}")
_REQUESTERS_BY_EMAIL = _MERGED_WITH.format("owns_email AND email = {0}")
_REQUESTERS_BY_ACCOUNT = "SELECT id FROM requesters WHERE org_id = $1 AND user_id = {}"
# All requesters of an account have the account's address.
_REQUESTERS_BY_EMAIL_OF_ACCOUNT = (
    "SELECT r.id FROM users AS u JOIN requesters AS r ON r.org_id = $1 AND r.user_id = u.id "
    "WHERE u.org_id = $1 AND u.email = {}"
)


def requesters_of_account(parameter: str) -> str:
    """Return a statement for the ids of an account's requesters.

    Args:
        parameter: the placeholder of the account's id.
    """
    return _REQUESTERS_BY_ACCOUNT.format(parameter)


def has_requester(requesters_sql: str) -> str:
    """Return the condition that the ticket `t` is of one of these requesters."""
    return f"t.requester_id = ANY(ARRAY({requesters_sql}))"


class TicketOperator(Operator, ABC):
    """Makes a condition on tickets `t` of the organisation `$1` from the values of a filter."""

    @abstractmethod
    def condition(self, values: Sequence[Any], parameters: Parameters) -> str:
        """Return a condition that holds if any of `values` matches. `values` is not empty."""


def _any_of(values: Sequence[Any], parameters: Parameters, sql_type: str) -> str:
    # With an array of one value, PostgreSQL neither reads an index in the order of the list nor keeps a generic plan.
    if len(values) == 1:
        return f"{parameters.add(values[0])}::{sql_type}"
    return f"ANY({parameters.add(list(values))}::{sql_type}[])"


def _is_any_of(column: str, values: Sequence[Any], parameters: Parameters, sql_type: str) -> str:
    return f"t.{column} = {_any_of(values, parameters, sql_type)}"


def _join_with_or(conditions: Sequence[str]) -> str:
    return conditions[0] if len(conditions) == 1 else f"({' OR '.join(conditions)})"


class IsAnyOf(TicketOperator):
    """The column, of text, has any of the values."""

    def __init__(self, column: InstrumentedAttribute[Any]) -> None:
        self.columns = (column,)

    def condition(self, values: Sequence[Any], parameters: Parameters) -> str:
        """Compare the column."""
        return _is_any_of(self.columns[0].key, values, parameters, "text")


class Compares(TicketOperator):
    """The column is before (`<`) or after (`>`) the value."""

    def __init__(self, column: InstrumentedAttribute[Any], operator: Literal["<", ">"]) -> None:
        self.columns, self.operator = (column,), operator

    def condition(self, values: Sequence[Any], parameters: Parameters) -> str:
        """Compare the column."""
        return _join_with_or([f"t.{self.columns[0].key} {self.operator} {parameters.add(value)}" for value in values])


class HasAssignee(TicketOperator):
    """The assignee has any of these ids or e-mail addresses; `none` matches tickets without one."""

    columns = (Ticket.assignee_id,)

    def condition(self, values: Sequence[Any], parameters: Parameters) -> str:
        """Compare the assignee."""
        ids = [value for value in values if isinstance(value, UUID)]
        emails = [value for value in values if isinstance(value, str) and value != NONE]
        conditions = []
        if ids:
            conditions.append(_is_any_of("assignee_id", ids, parameters, "uuid"))
        if len(emails) == 1:
            email = parameters.add(emails[0])
            conditions.append(f"t.assignee_id = (SELECT id FROM users WHERE org_id = $1 AND email = {email})")  # noqa: S608 - the name of a parameter
        elif emails:
            email = f"ANY({parameters.add(emails)}::text[])"
            assignees_sql = f"SELECT id FROM users WHERE org_id = $1 AND email = {email}"  # noqa: S608 - as above
            conditions.append(f"t.assignee_id = ANY(ARRAY({assignees_sql}))")
        if NONE in values:
            conditions.append("t.assignee_id IS NULL")
        return _join_with_or(conditions)


class HasRequester(TicketOperator):
    """The requester has any of these e-mail addresses or ids, or an account with any of these ids."""

    columns = (Ticket.requester_id,)

    def condition(self, values: Sequence[Any], parameters: Parameters) -> str:
        """Compare the requester."""
        return has_requester(self.requesters(values, parameters))

    def requesters(self, values: Sequence[Any], parameters: Parameters) -> str:
        """Return a statement for the ids of the requesters."""
        ids = [value for value in values if isinstance(value, UUID)]
        emails = [value for value in values if isinstance(value, str)]
        statements = []
        if ids:
            any_id = _any_of(ids, parameters, "uuid")
            statements += [_REQUESTERS_BY_ID.format(any_id), _REQUESTERS_BY_ACCOUNT.format(any_id)]
        if emails:
            any_email = _any_of(emails, parameters, "text")
            statements += [_REQUESTERS_BY_EMAIL.format(any_email), _REQUESTERS_BY_EMAIL_OF_ACCOUNT.format(any_email)]
        return " UNION ".join(statements)
