"""Let the callback of a social sign-in count once, in all processes."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app.authentication.social.errors import StateMismatch
from app.authentication.social.models import UsedSocialState
from app.authentication.social.state import PendingSignIn


async def use_state(db: AsyncSession, org_id: UUID, pending: PendingSignIn) -> None:
    """Use up the state of a sign-in, and with it the nonce. Of two concurrent callbacks, one is refused.

    Raises:
        StateMismatch: It was used before.
    """
    statement = (
        insert(UsedSocialState)
        .values(
            org_id=org_id,
            state_hash=hashlib.sha256(pending.state.encode()).digest(),
            expires_at=datetime.fromtimestamp(pending.expires_at, UTC),
        )
        .on_conflict_do_nothing()
        .returning(UsedSocialState.org_id)
    )
    if await db.scalar(statement) is None:
        raise StateMismatch


async def delete_expired(db: AsyncSession, org_id: UUID, now: datetime, *, batch: int = 1000) -> int:
    """Delete up to `batch` states whose sign-ins have expired by `now` (real time), and return how many."""
    expired = (
        select(UsedSocialState.state_hash)
        .where(UsedSocialState.org_id == org_id, UsedSocialState.expires_at <= now)
        .order_by(UsedSocialState.expires_at)
        .limit(batch)
    )
    deleted = await db.scalars(
        delete(UsedSocialState)
        .where(UsedSocialState.org_id == org_id, UsedSocialState.state_hash.in_(expired))
        .returning(UsedSocialState.org_id)
    )
    return len(deleted.all())
