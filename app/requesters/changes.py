"""Change requesters, and merge one into another.

A merged requester stays as a row, because its tickets refer to it: it shows the details of the requester that it was
merged into. So a merge costs the same whatever the number of tickets.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from pydantic import MISSING
from pydantic.alias_generators import to_camel
from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncSession

from app.access.callers import Caller
from app.accounts.users.models import User
from app.accounts.users.rules import is_requesters_account
from app.core.changes import Changes
from app.core.clock import real_now
from app.core.database.violations import raise_on_violation
from app.core.ids import new_id
from app.core.outbox.events import record
from app.requesters import service
from app.requesters.errors import RequesterExists, RequesterHasAccount, SelfMerge
from app.requesters.events import RequesterMerged, RequesterUpdated
from app.requesters.models import Requester


@dataclass(frozen=True, kw_only=True)
class RequesterChanges(Changes):
    """New values for fields of a requester."""

    email: str | MISSING = MISSING
    name: str | MISSING | None = MISSING
    locale: str | MISSING | None = MISSING
    external_id: str | MISSING | None = MISSING


async def change(db: AsyncSession, caller: Caller, requester_id: UUID, changes: RequesterChanges) -> Requester:
    """Change a requester. One with a new address belongs to the account that has proved it.

    Raises:
        RequesterNotFound
        RequesterHasAccount: the address is that of the account.
        RequesterExists: another requester has the address or the product's id.
    """
    (requester,) = await service.lock_requesters(db, caller.org_id, requester_id)
    changed_values = changes.values_differing_from(requester)
    if not changed_values:
        return requester
    if "email" in changed_values and requester.user_id is not None:
        raise RequesterHasAccount("The address is that of the requester's account: the user changes it.")
    await _release_from_aliases(db, requester, changed_values)
    for name, value in changed_values.items():
        setattr(requester, name, value)
    with raise_on_violation(RequesterExists):
        await db.flush()
    if "email" in changed_values:
        await service.link_to_account(db, requester)
    await service.store_words(db, [requester])
    await service.show_in_merged(db, requester)
    fields = tuple(to_camel(name) for name in sorted(changed_values))
    record(db, RequesterUpdated(at=caller.now, actor=caller.actor, requester_id=requester.id, fields=fields))
    return requester


async def merge(db: AsyncSession, caller: Caller, requester_id: UUID, into: UUID) -> Requester:
    """Give the tickets, the address and the product's id of a requester to another one, who is returned.

    Raises:
        RequesterNotFound
        SelfMerge: both are the same requester.
        RequesterHasAccount: the merged requester belongs to an account that is not the other one's, or the other one's
            account has not proved its address: anybody could have signed up with it.
    """
    merged, target = await service.lock_requesters(db, caller.org_id, requester_id, into)
    if merged.id == target.id:
        raise SelfMerge
    if merged.user_id not in {None, target.user_id}:
        raise RequesterHasAccount("Merge the other requester into this one, which has an account.")
    if target.user_id is not None and not await _has_proved_address(db, target):
        raise RequesterHasAccount("The account of the other requester has not proved its e-mail address.")
    alias = Requester(
        org_id=merged.org_id, id=new_id(), email=merged.email, owns_email=merged.owns_email,
        external_id=merged.external_id, merged_into_id=target.id, created_at=real_now(),
    )  # fmt: skip
    merged.owns_email, merged.external_id, merged.merged_into_id = False, None, target.id
    await db.flush()  # the address and the product's id are unique
    if alias.owns_email and alias.email == target.email:
        target.owns_email, alias.owns_email = True, False
    if target.external_id is None:
        target.external_id, alias.external_id = alias.external_id, None
    if alias.owns_email or alias.external_id is not None:
        db.add(alias)
    await db.execute(
        update(Requester)
        .where(Requester.org_id == merged.org_id, Requester.merged_into_id == merged.id)
        .values(merged_into_id=target.id)
        .execution_options(synchronize_session=False)
    )
    await service.show_in_merged(db, target)
    record(
        db,
        RequesterMerged(at=caller.now, actor=caller.actor, requester_id=merged.id, into_requester_id=target.id),
    )
    return target


async def _release_from_aliases(db: AsyncSession, requester: Requester, changed_values: Mapping[str, Any]) -> None:
    """Let a requester have an address or a product's id that leads to it because of a merge."""
    aliases = (
        update(Requester)
        .where(Requester.org_id == requester.org_id, Requester.merged_into_id == requester.id)
        .execution_options(synchronize_session=False)
    )
    if "email" in changed_values:
        has_email = (Requester.email == changed_values["email"], Requester.owns_email)
        await db.execute(aliases.where(*has_email).values(owns_email=False))
    if changed_values.get("external_id") is not None:
        has_external_id = Requester.external_id == changed_values["external_id"]
        await db.execute(aliases.where(has_external_id).values(external_id=None))


async def _has_proved_address(db: AsyncSession, requester: Requester) -> bool:
    user = await db.get_one(User, (requester.org_id, requester.user_id))
    return is_requesters_account(user.status, verified=user.email_verified_at is not None)
