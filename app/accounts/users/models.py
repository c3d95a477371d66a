"""Users, their credentials, and their search words: the words of name and e-mail that `q` finds."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey, ForeignKeyConstraint, Index, Text, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import Mapped, mapped_column, relationship
from sqlalchemy.orm.attributes import set_committed_value

from app.access.user_permissions import Permissions, RoleKind, can_work_on_tickets, combine_permissions
from app.accounts.roles.models import AnyRole, Role
from app.accounts.roles.rules import BUILT_IN
from app.accounts.users.errors import CustomerNotAvailable
from app.accounts.users.rules import AccountStatus, can_be_available
from app.core.database.base import SIGN_IN_TABLE, Base, TextEnum, one_of

# `User.receives_new_tickets` as SQL, for the index that round-robin assignment reads.
RECEIVES_NEW_TICKETS_SQL = (
    f"available AND works_on_tickets AND status = '{AccountStatus.ACTIVE}' AND role_kind <> '{RoleKind.CUSTOMER}'"
)


class User(Base):
    """A user of an organisation.

    `role_id` is the id of a custom role, and `None` for the built-in role of the kind `role_kind`. `granted` and
    `denied` are permissions on top of the role; `works_on_tickets` is derived from all of them: whether the user may
    see and change tickets. `available` is whether the user wants to be assigned new tickets. `muted` has the
    kinds of mail that they do not want.
    """

    __tablename__ = "users"

    org_id: Mapped[UUID] = mapped_column(ForeignKey("organisations.id"), primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    first_name: Mapped[str]
    last_name: Mapped[str]
    email: Mapped[str]
    email_verified_at: Mapped[datetime | None]
    role_kind: Mapped[RoleKind] = mapped_column(TextEnum(RoleKind))
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

    role: Mapped[Role | None] = relationship(lazy="raise", viewonly=True)

    __table_args__ = (
        ForeignKeyConstraint(["org_id", "role_id"], ["roles.org_id", "roles.id"]),
        one_of("role_kind", tuple(RoleKind)),
        one_of("status", tuple(AccountStatus)),
        # The condition is always true. It keeps PostgreSQL from treating `email` as a key column: an update of the
        # e-mail would then lock the row `FOR UPDATE` and block the checks of foreign keys to it. Opening a ticket locks
        # the organisation's counter while the assignee is checked, and erasing the assignee waits for the counter: a
        # deadlock.
        Index("ix_users_org_id_email", "org_id", "email", unique=True, postgresql_where=text("email IS NOT NULL")),
        Index("ix_users_org_id_role_kind_id", "org_id", "role_kind", "id"),
        Index("ix_users_org_id_status_id", "org_id", "status", "id"),
        Index("ix_users_org_id_role_id", "org_id", "role_id", postgresql_where=text("role_id IS NOT NULL")),
        # Round-robin assignment follows the order of this index.
        Index("ix_users_available", "org_id", "role_kind", "id", postgresql_where=text(RECEIVES_NEW_TICKETS_SQL)),
    )

    @property
    def full_name(self) -> str:
        """The user's name in full. The last name may be empty."""
        return f"{self.first_name} {self.last_name}".rstrip()

    @property
    def effective_role_id(self) -> UUID:
        """The id of the user's role, custom or built-in."""
        return self.role_id or BUILT_IN[self.role_kind].id

    @property
    def role_name(self) -> str:
        """The name of the user's role; `role` must be loaded."""
        return self._effective_role.name

    @property
    def role_permissions(self) -> Permissions:
        """The permissions that the user's role allows; `role` must be loaded."""
        return frozenset(self._effective_role.permissions)

    @property
    def _effective_role(self) -> AnyRole:
        return self.role if self.role_id and self.role else BUILT_IN[self.role_kind]

    @property
    def permissions(self) -> Permissions:
        """The effective permissions of the user; `role` must be loaded."""
        return combine_permissions(self.role_permissions, frozenset(self.granted), frozenset(self.denied))

    @property
    def picture_url(self) -> str | None:
        """The path of the user's picture; `None` if there is none."""
        return f"/users/{self.id}/picture" if self.picture_at else None

    @hybrid_property
    def is_assignable(self) -> bool:
        """Whether tickets may be assigned to the user. On the class: the same condition in SQL."""
        return (self.status == AccountStatus.ACTIVE) & (self.role_kind != RoleKind.CUSTOMER) & self.works_on_tickets

    @hybrid_property
    def receives_new_tickets(self) -> bool:
        """Whether new tickets are assigned to the user now. On the class: the same condition in SQL."""
        return self.available & self.is_assignable

    def activate(self) -> None:
        """Make the account active. Admins and engineers also become available for tickets."""
        self.status, self.status_reason = AccountStatus.ACTIVE, None
        self.available = can_be_available(self.role_kind)

    def set_available(self, available: bool) -> None:
        """Set whether the user wants to be assigned new tickets.

        Raises:
            CustomerNotAvailable: customers are never assigned tickets.
        """
        if available and not can_be_available(self.role_kind):
            raise CustomerNotAvailable
        self.available = available

    def assign_role(self, role: AnyRole) -> None:
        """Assign a role; permission overrides stay. Customers are never available."""
        custom = role if isinstance(role, Role) else None
        self.role_kind, self.role_id = role.kind, custom.id if custom else None
        set_committed_value(self, "role", custom)
        self.available = self.available and can_be_available(role.kind)
        self.refresh_derived_permissions()

    def set_permission_overrides(self, granted: Permissions, denied: Permissions) -> None:
        """Replace the permissions granted and denied on top of the role; `role` must be loaded."""
        self.granted, self.denied = sorted(granted), sorted(denied)
        self.refresh_derived_permissions()

    def refresh_derived_permissions(self) -> None:
        """Update the columns derived from the user's permissions; `role` must be loaded."""
        self.works_on_tickets = can_work_on_tickets(self.permissions)


class Credential(Base):
    """What a user signs in with. It is read before the organisation is known, so the table has no row level security.

    Invited users and users of a social sign-in may have no password.
    """

    __tablename__ = "credentials"

    org_id: Mapped[UUID] = mapped_column(primary_key=True)
    user_id: Mapped[UUID] = mapped_column(primary_key=True)
    email: Mapped[str]
    password_hash: Mapped[str | None]

    __table_args__ = (
        UniqueConstraint("org_id", "email"),
        Index("ix_credentials_email", "email"),
        SIGN_IN_TABLE,
    )


class UserWord(Base):
    """A normalised word of a user's name or e-mail. A search for its first letters finds the user."""

    __tablename__ = "user_words"

    org_id: Mapped[UUID] = mapped_column(primary_key=True)
    word: Mapped[str] = mapped_column(Text(collation="C"), primary_key=True)
    user_id: Mapped[UUID] = mapped_column(primary_key=True)

    __table_args__ = (
        ForeignKeyConstraint(["org_id", "user_id"], ["users.org_id", "users.id"]),
        Index("ix_user_words_org_id_user_id", "org_id", "user_id"),
    )
