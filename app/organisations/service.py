"""Sign organisations up, change their settings, and move the clock of sandboxes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from pydantic import MISSING
from pydantic.alias_generators import to_camel
from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncSession

from app.access.callers import UserCaller, ensure_admin, ensure_freshly_authenticated
from app.access.tenant import Tenant
from app.core.changes import Changes
from app.core.clock import real_now
from app.core.database.violations import raise_on_violation
from app.core.errors import BadInput, NotFound
from app.core.ids import new_id
from app.core.outbox import timers
from app.core.outbox.events import SYSTEM, Actor, ReactionOnly, record
from app.core.outbox.models import Counter, Relay
from app.core.security.secret_keys import generate_secret_key, hash_secret_key
from app.organisations import queries
from app.organisations.errors import DomainTaken, NotASandbox
from app.organisations.events import ClockAdvanced, OrganisationSignedUp, OrganisationUpdated
from app.organisations.models import Organisation, SecretKey
from app.organisations.rules import TRUSTED_SETTINGS

DEFAULT_AUTO_CLOSE_DAYS = 30
MAX_TOTAL_OFFSET = timedelta(days=36_500)
# The names in the API that `to_camel` does not derive from the names of columns.
_API_NAMES = {"require_2fa": "require2fa"}


@dataclass(frozen=True, kw_only=True)
class OrganisationChanges(Changes):
    """The settings to change."""

    name: str | MISSING = MISSING
    auto_close_days: int | MISSING = MISSING
    timezone: str | MISSING = MISSING
    support_email: str | MISSING | None = MISSING
    app_url: str | MISSING | None = MISSING
    allowed_origins: list[str] | MISSING = MISSING
    ticket_path: str | MISSING = MISSING
    require_2fa: bool | MISSING = MISSING


async def sign_up(db: AsyncSession, org_id: UUID, name: str, domain: str, *, sandbox: bool) -> tuple[Organisation, str]:
    """Create the organisation `org_id`; return it and its secret key, of which only a hash is stored.

    Raises:
        DomainTaken
    """
    now = real_now()
    organisation = Organisation(
        id=org_id,
        name=name,
        domain=domain,
        sandbox=sandbox,
        clock_offset=timedelta(0),
        auto_close_days=DEFAULT_AUTO_CLOSE_DAYS,
        timezone="UTC",
        created_at=now,
    )
    secret = generate_secret_key()
    db.add(organisation)
    with raise_on_violation(DomainTaken):
        await db.flush()
    db.add(SecretKey(org_id=org_id, id=new_id(), hash=hash_secret_key(secret), created_at=now))
    db.add_all([Counter(org_id=org_id), Relay(org_id=org_id)])
    record(db, OrganisationSignedUp(at=now, actor=SYSTEM))
    return organisation, secret


async def get_organisation(db: AsyncSession, org_id: UUID) -> Organisation:
    """Return the organisation's row.

    Raises:
        NotFound
    """
    organisation = await db.get(Organisation, org_id)
    if organisation is None:
        raise NotFound
    return organisation


async def change(db: AsyncSession, caller: UserCaller, changes: OrganisationChanges, client: str) -> Organisation:
    """Change settings. Values that are already set change nothing.

    Args:
        client: describes the client that sends the changes, in a mail to all admins.

    Raises:
        NotFound
        AdminRequired, ReauthenticationRequired: one of `TRUSTED_SETTINGS` would change.
    """
    await queries.lock_organisation(db, caller.org_id)
    organisation = await db.get(Organisation, caller.org_id, populate_existing=True)
    if organisation is None:
        raise NotFound
    values = changes.values_differing_from(organisation)
    settles_app_url = organisation.unconfirmed_app_url is not None and changes.app_url is not MISSING
    if settles_app_url or values.keys() & TRUSTED_SETTINGS:
        ensure_admin(caller)
        ensure_freshly_authenticated(caller)
    if settles_app_url:
        organisation.unconfirmed_app_url = None
    changed = {}
    for name, value in values.items():
        changed[get_api_name(name)] = {"from": getattr(organisation, name), "to": value}
        setattr(organisation, name, value)
    if changed:
        event = OrganisationUpdated(
            at=caller.tenant.now(), actor=caller.actor, changes=changed, client=ReactionOnly(client)
        )
        record(db, event)
    return organisation


def get_api_name(setting: str) -> str:
    """Return the name in the API of a column with a setting."""
    return _API_NAMES.get(setting) or to_camel(setting)


async def advance_clock(
    db: AsyncSession, tenant: Tenant, actor: Actor, by: timedelta, handlers: timers.Handlers
) -> tuple[Tenant, list[timers.Due]]:
    """Move a sandbox's clock forward, and run everything that comes due on the way, in order.

    Args:
        handlers: the timers that run on the organisation's clock.

    Raises:
        NotASandbox
        BadInput: the clock would be too far ahead.
    """
    if not tenant.sandbox:
        raise NotASandbox
    if tenant.clock_offset + by > MAX_TOTAL_OFFSET:
        raise BadInput.of_field("days", "The clock can be at most a hundred years ahead of real time.")
    await queries.lock_organisation(db, tenant.id)
    await db.execute(
        update(Organisation)
        .where(Organisation.id == tenant.id)
        .values(clock_offset=Organisation.clock_offset + by)
        .execution_options(synchronize_session=False)
    )
    advanced_tenant = await queries.get_tenant(db, tenant.id)
    await timers.bring_forward(db, tenant.id, list(handlers), by)
    fired = await timers.run_due_in_order(db, tenant.id, handlers, real_now())
    record(db, ClockAdvanced(at=advanced_tenant.now(), actor=actor, seconds=int(by.total_seconds())))
    return advanced_tenant, fired
