"""Convert violations of constraints into domain errors, by SQLSTATE and not by the text of a message."""

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

    The transaction has then failed and can only be rolled back.

    Args:
        sqlstate: the kind of constraint.
        constraint: the name of the constraint, needed only if the statement can violate two constraints of the kind.
    """
    try:
        yield
    except exc.IntegrityError as violation:
        if get_sqlstate(violation) != sqlstate or constraint not in {None, _constraint_of(violation)}:
            raise
        raise error from None


def get_sqlstate(error: exc.DBAPIError) -> str | None:
    """Return the SQLSTATE of an error of SQLAlchemy; `None` if the server did not report one."""
    return getattr(error.orig, "sqlstate", None)


def _constraint_of(error: exc.DBAPIError) -> str | None:
    # SQLAlchemy wraps the driver's error, and copies only its SQLSTATE.
    return getattr(error.orig and error.orig.__cause__, "constraint_name", None)
