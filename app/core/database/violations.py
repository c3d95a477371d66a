"""Violated constraints, as errors of the domain: told apart by SQLSTATE, not by the text of a message."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import exc

UNIQUE_VIOLATION = "23505"
FOREIGN_KEY_VIOLATION = "23503"


@contextmanager
def raise_on_violation(
    error: type[Exception], sqlstate: str = UNIQUE_VIOLATION, *, constraint: str | None = None
) -> Iterator[None]:
    """Raise `error` when a statement in this block violates a constraint. Other violations pass unchanged.

    The transaction has failed then and can only be rolled back.

    Args:
        sqlstate: the kind of constraint.
        constraint: the name of a single constraint. It is needed only where a statement can violate two of a kind.
    """
    try:
        yield
    except exc.IntegrityError as violation:
        if sqlstate_of(violation) != sqlstate or constraint not in {None, _constraint_of(violation)}:
            raise
        raise error from None


def sqlstate_of(error: exc.DBAPIError) -> str | None:
    """Return the SQLSTATE behind an error of SQLAlchemy."""
    return getattr(error.orig, "sqlstate", None)


def _constraint_of(error: exc.DBAPIError) -> str | None:
    # SQLAlchemy wraps the driver's error once more, and copies its SQLSTATE only.
    return getattr(error.orig and error.orig.__cause__, "constraint_name", None)
