"""An organisation in a transaction that is rolled back."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from app.access.callers import ProductCaller, UserCaller
from app.accounts.sign_up.service import sign_up_admin
from app.accounts.users.creation import NewUser
from app.authentication.sessions.queries import principal_of
from app.core.database.pool import ORG_ID, run_before_commit
from app.core.ids import new_id
from app.organisations import service as organisations
from app.organisations.queries import as_tenant

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@pytest.fixture
async def caller(connection: AsyncConnection, db: AsyncSession) -> UserCaller:
    """The admin of an organisation that exists only in this transaction, at noon on 1 March."""
    org_id = new_id()
    await connection.execute(text(f"SET LOCAL app.org_id = '{org_id}'"))
    organisation, _ = await organisations.sign_up(db, org_id, "Growfin", f"d{org_id.hex}.test", sandbox=False)
    product = ProductCaller(tenant=as_tenant(organisation), now=NOW)
    ada = await sign_up_admin(db, product, NewUser("Ada", "Lovelace", "ada@growfin.test"), "no hash")
    db.info[ORG_ID] = org_id
    await run_before_commit(db)
    return UserCaller(tenant=product.tenant, user=principal_of(ada, new_id(), authenticated_at=NOW), now=NOW)
