"""An organisation, and the callers of every column of `table.py`."""

from __future__ import annotations

import io
from dataclasses import dataclass
from uuid import UUID, uuid4

import pyotp
from PIL import Image
from sqlalchemy import select, update

from app.access.user_permissions import Action, Resource, RoleKind, permission
from app.accounts.roles.models import Role
from app.accounts.single_use_links import service as links
from app.accounts.single_use_links.models import LinkPurpose
from app.accounts.users import creation as users
from app.accounts.users.models import User as UserRow
from app.accounts.users.rules import AccountStatus
from app.core.clock import real_now
from app.core.ids import new_id
from app.core.security import opaque_tokens as tokens
from app.notifications import mails
from app.notifications.mails import MailDraft
from app.organisations.models import SecretKey
from app.requesters import matching
from app.requesters.service import RequesterDetails
from tests.conftest import SECRET_KEY
from tests.organisation_client import JSON, Desk, SignedInUser, create_desk, open_session
from tests.passwords import cheap_hash

VIEW_ALL = sorted(permission(resource, Action.VIEW) for resource in Resource)
PASSWORD = "cobalt-heron-47-lamp"


@dataclass(frozen=True)
class World:
    """`desk` is the organisation, `other` another one; `role_id` is the role of the auditors."""

    desk: Desk
    other: Desk
    revoked_secret: str
    role_id: UUID

    async def create_caller(self, column: str) -> SignedInUser | None:
        """Create a user of this kind and sign them in; return `None` for the kinds that are not users."""
        match column:
            case "foreign_admin":
                return await self.create_user(RoleKind.ADMIN, desk=self.other)
            case "auditor":
                return await self.create_user(RoleKind.ENGINEER, role_id=self.role_id)
            case "stale":
                return await self.create_user(RoleKind.ADMIN)
            case "ADMIN" | "ENGINEER" | "CUSTOMER":
                return await self.create_user(RoleKind(column))
            case _:
                return None

    def headers(self, column: str, caller: SignedInUser | None) -> dict[str, str]:
        """Return the credential of a caller of this kind."""
        if caller is not None:
            return caller.headers
        secrets = {"product": self.desk.secret, "revoked": self.revoked_secret}
        return {"X-Org-Secret": secrets[column]} if column in secrets else {}

    async def create_user(
        self,
        role: RoleKind = RoleKind.CUSTOMER,
        *,
        status: AccountStatus = AccountStatus.ACTIVE,
        role_id: UUID | None = None,
        second_factor: bool = False,
        verified: bool = True,
        desk: Desk | None = None,
    ) -> SignedInUser:
        """Create a user whose password has a cheap hash, and sign them in if they are active."""
        organisation = desk or self.desk
        email = f"p{uuid4().hex}@growfin.test"
        row = UserRow(
            org_id=organisation.id, id=new_id(), first_name="Mia", last_name="Wong", email=email, role_kind=role,
            role_id=role_id,
            second_factor=second_factor,
            status=status, available=False, created_at=real_now(), email_verified_at=real_now() if verified else None,
        )  # fmt: skip
        async with organisation.database.session(organisation.id) as db:
            await users.add_user(db, row, cheap_hash(PASSWORD))
        return (
            await open_session(organisation, row)
            if status is AccountStatus.ACTIVE
            else SignedInUser(row.id, email, organisation.api.http, {}, row.id)
        )

    async def create_requester(self) -> str:
        """Create a requester; return its id."""
        details = RequesterDetails(email=f"c{uuid4().hex}@customer.example")
        async with self.desk.database.session(self.desk.id) as db:
            requester, _ = await matching.find_or_create(db, self.desk.id, details)
        return str(requester.id)

    async def issue_link_token(self, user: SignedInUser, purpose: LinkPurpose) -> str:
        """Issue a link of this purpose to a user; return its token."""
        async with self.desk.database.session(self.desk.id) as db:
            link = links.issue(db, self.desk.id, user.id, user.email, purpose)
        return tokens.make_link_token(SECRET_KEY, self.desk.id, link.id)

    async def queue_notification(self) -> str:
        """Queue a mail of the organisation; return its id in the notification log."""
        draft = MailDraft(recipient="mia@customer.example", subject="Re: It broke")
        async with self.desk.database.session(self.desk.id) as db:
            await mails.queue(db, self.desk.id, [draft])
        return str(draft.id)

    async def create_refresh_token(self) -> str:
        """Sign a new user in; return their refresh token."""
        user = await self.create_user()
        answer = await self.desk.api.http.post("/auth/signin", json={"email": user.email, "password": PASSWORD})
        return str(answer.json()["refreshToken"])

    async def create(self, path: str, body: JSON) -> str:
        """Create something as the organisation's admin; return its path."""
        answer = await self.desk.admin.post(path, body)
        assert answer.status_code == 201, answer.text
        return f"{path}/{answer.json()['id']}"


async def create_world(desk: Desk) -> World:
    """Add a custom role to `desk`. Create another organisation, and a third one whose secret key is revoked."""
    other = await create_desk(desk.api, desk.database)
    async with desk.database.session(desk.id) as db:
        await db.execute(update(UserRow).where(UserRow.org_id == desk.id).values(email_verified_at=real_now()))
    spare = await create_desk(desk.api, desk.database)
    now = real_now()
    role = Role(
        org_id=desk.id, id=new_id(), name="Auditor", kind=RoleKind.ENGINEER, permissions=VIEW_ALL, created_at=now,
        updated_at=now,
    )  # fmt: skip
    async with desk.database.session(desk.id) as db:
        db.add(role)
    async with desk.database.session(spare.id) as db:
        hashed = await db.scalar(select(SecretKey.hash).where(SecretKey.org_id == spare.id))
        await db.execute(update(SecretKey).where(SecretKey.org_id == spare.id).values(revoked_at=now))
        assert hashed is not None
    return World(desk, other, spare.secret, role.id)


def totp_now(secret: str, *, later: int = 0) -> str:
    """Return the code that an authenticator shows, `later` steps of 30 seconds from now."""
    return pyotp.TOTP(secret).at(int(real_now().timestamp()) + 30 * later)


def make_picture() -> bytes:
    """Return a small PNG."""
    file = io.BytesIO()
    Image.new("RGB", (8, 8), "teal").save(file, "PNG")
    return file.getvalue()
