"""Users, and what they sign in with."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey, ForeignKeyConstraint, Index, Text, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import Mapped, mapped_column, relationship
from sqlalchemy.orm.attributes import set_committed_value

from app.access.permissions import TICKET_WORK, Permissions, RoleKind, effective
from app.accounts.roles.models import CustomRole
from app.accounts.roles.rules import BUILT_IN, BuiltInRole
from app.accounts.users.rules import AccountStatus
from app.core.database.base import Base, TextEnum, one_of

# Whose turn it can be: `takes_tickets`, as the rotation's index says it.
AVAILABLE = f"available AND works_on_tickets AND status = '{AccountStatus.ACTIVE}' AND role <> '{RoleKind.CUSTOMER}'"


class User(Base):
    """Somebody of an organisation.

    `role` is what they are to it. `role_id` names a role of the organisation's own, and nothing for the built-in one;
    `granted` and `denied` are permissions on top of it; `works_on_tickets` says whether all in all they may see and
    change tickets. `available` is their own switch: whether they want new tickets. `muted` names the mails they do not
    want.
    """

    __tablename__ = "users"

    org_id: Mapped[UUID] = mapped_column(ForeignKey("organisations.id"), primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    first_name: Mapped[str]
    last_name: Mapped[str]
    email: Mapped[str]
    email_verified_at: Mapped[datetime | None]
    role: Mapped[RoleKind] = mapped_column(TextEnum(RoleKind))
    role_id: Mapped[UUID | None]
    granted: Mapped[list[str]] = mapped_column(ARRAY(Text), default=list, server_default=text("'{}'"))
    denied: Mapped[list[str]] = mapped_column(ARRAY(Text), default=list, server_default=text("'{}'"))
    status: Mapped[AccountStatus] = mapped_column(TextEnum(AccountStatus))
    status_reason: Mapped[str | None]
    available: Mapped[bool]
    works_on_tickets: Mapped[bool] = mapped_column(default=True, server_default=text("true"))
    second_factor: Mapped[bool] = mapped_column(default=False, server_default=text("false"))
    bio: Mapped[str | None]
    timezone: Mapped[str | None]
    locale: Mapped[str | None]
    muted: Mapped[list[str]] = mapped_column(ARRAY(Text), default=list, server_default=text("'{}'"))
    picture_at: Mapped[datetime | None]
    created_at: Mapped[datetime]

    custom_role: Mapped[CustomRole | None] = relationship(lazy="raise", viewonly=True)

    __table_args__ = (
        UniqueConstraint("org_id", "email"),
        ForeignKeyConstraint(["org_id", "role_id"], ["roles.org_id", "roles.id"]),
        one_of("role", tuple(RoleKind)),
        one_of("status", tuple(AccountStatus)),
        Index("ix_users_org_id_role_id", "org_id", "role", "id"),
        Index("ix_users_org_id_status_id", "org_id", "status", "id"),
        Index("ix_users_of_role", "org_id", "role_id", postgresql_where=text("role_id IS NOT NULL")),
        # The rotation walks this one, in its fixed order.
        Index("ix_users_available", "org_id", "role", "id", postgresql_where=text(AVAILABLE)),
    )

    @property
    def effective_role_id(self) -> UUID:
        """The id of the user's role: of their custom role, or else of the built-in role of their kind."""
        return self.role_id or BUILT_IN[self.role].id

    @property
    def designation(self) -> str:
        """The name of their role; the row was read with `custom_role`."""
        return self.custom_role.name if self.role_id and self.custom_role else BUILT_IN[self.role].name

    @property
    def role_permissions(self) -> Permissions:
        """What their role gives them; the row was read with `custom_role`."""
        if self.role_id and self.custom_role:
            return frozenset(self.custom_role.permissions)
        return BUILT_IN[self.role].permissions

    @property
    def permissions(self) -> Permissions:
        """What they may do, all in all; the row was read with `custom_role`."""
        return effective(self.role_permissions, frozenset(self.granted), frozenset(self.denied))

    @property
    def picture_url(self) -> str | None:
        """Where their picture is, if they have one."""
        return f"/users/{self.id}/picture" if self.picture_at else None

    @hybrid_property
    def may_be_assigned(self) -> bool:
        """Whether tickets may be theirs; of the class, the condition in SQL."""
        return (self.status == AccountStatus.ACTIVE) & (self.role != RoleKind.CUSTOMER) & self.works_on_tickets

    @hybrid_property
    def takes_tickets(self) -> bool:
        """Whether new tickets go to them now; of the class, the condition in SQL."""
        return self.available & self.may_be_assigned

    def assign_role(self, role: BuiltInRole | CustomRole) -> None:
        """Assign a role; permission overrides stay."""
        own = role if isinstance(role, CustomRole) else None
        self.role, self.role_id = role.role, own.id if own else None
        set_committed_value(self, "custom_role", own)
        self.refresh_derived_permissions()

    def set_permission_overrides(self, granted: Permissions, denied: Permissions) -> None:
        """Replace the permissions granted and denied on top of the role; `custom_role` must be loaded."""
        self.granted, self.denied = sorted(granted), sorted(denied)
        self.refresh_derived_permissions()

    def refresh_derived_permissions(self) -> None:
        """Update the columns derived from the user's permissions; `custom_role` must be loaded."""
        self.works_on_tickets = self.permissions >= TICKET_WORK


class Credential(Base):
    """What is needed to sign in, found by e-mail before the organisation is known: a directory table.

    Who was invited, or signs in elsewhere, may have no password.
    """

    __tablename__ = "credentials"

    org_id: Mapped[UUID] = mapped_column(primary_key=True)
    user_id: Mapped[UUID] = mapped_column(primary_key=True)
    email: Mapped[str]
    password_hash: Mapped[str | None]

    __table_args__ = (
        UniqueConstraint("org_id", "email"),
        Index("ix_credentials_email", "email"),
    )


class UserWord(Base):
    """A word of somebody's name or e-mail, folded, so that users are found by the beginnings of words."""

    __tablename__ = "user_words"

    org_id: Mapped[UUID] = mapped_column(primary_key=True)
    word: Mapped[str] = mapped_column(Text(collation="C"), primary_key=True)
    user_id: Mapped[UUID] = mapped_column(primary_key=True)

    __table_args__ = (
        ForeignKeyConstraint(["org_id", "user_id"], ["users.org_id", "users.id"]),
        Index("ix_user_words_org_id_user_id", "org_id", "user_id"),
    )
