"""Queries of requesters."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import Select, select

from app.requesters.models import Requester


def select_requester_ids(org_id: UUID, user_id: UUID) -> Select[UUID]:
    """Select the ids of an account's requesters."""
    return select(Requester.id).where(Requester.org_id == org_id, Requester.user_id == user_id)
