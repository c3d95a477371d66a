"""Read many rows by their ids."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Label, Select, Uuid, func, literal, literal_column, select, true
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import InstrumentedAttribute

from app.core.database.base import Base


def select_by_ids(
    model: type[Base], org_id: UUID, ids: Sequence[UUID], columns: Sequence[InstrumentedAttribute[Any] | Label[Any]]
) -> Select[Any]:
    """Select columns of an organisation's rows with these ids, by one probe of the primary key for each id.

    With `id = ANY (…)`, the planner may prefer to read all rows of the organisation, if outdated statistics say that
    it has few. A `LATERAL` subquery with a limit makes it probe an index for each id. That is the primary key only if
    all other indexes of the table are partial, with conditions that these queries do not meet (see `Delivery`).

    Args:
        model: a table with the primary key `(org_id, id)`.
        ids: distinct; a repeated id would return its row twice.
        columns: columns of the model.
    """
    table_columns = model.__table__.c
    parameter = literal(list(ids), ARRAY(Uuid))
    wanted = func.unnest(parameter).table_valued("id").render_derived("wanted")
    found = (
        select(*columns)
        .where(table_columns.org_id == org_id, table_columns.id == wanted.c.id)
        .limit(literal_column("1"))
        .lateral("found")
    )
    return select(found).select_from(wanted.join(found, true()))
