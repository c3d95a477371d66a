"""Create the tables, with row level security on every tenant table."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

PROTECTED = (
    "deliveries",
    "events",
    "relay_failures",
    "mails",
    "menus",
    "roles",
    "users",
    "external_identities",
    "links",
    "pictures",
    "recovery_codes",
    "second_factors",
    "sessions",
    "tickets",
    "user_words",
    "comments",
)
# In the order in which they can be dropped.
TABLES = (
    "ticket_search",
    "comments",
    "user_words",
    "tickets",
    "sessions",
    "second_factors",
    "recovery_codes",
    "pictures",
    "links",
    "external_identities",
    "users",
    "secret_keys",
    "roles",
    "menus",
    "mails",
    "timers",
    "relays",
    "relay_failures",
    "organisations",
    "job_runs",
    "events",
    "deliveries",
    "credentials",
    "counters",
)


def upgrade() -> None:
    create_counters()
    create_credentials()
    create_deliveries()
    create_events()
    create_job_runs()
    create_organisations()
    create_relay_failures()
    create_relays()
    create_timers()
    create_mails()
    create_menus()
    create_roles()
    create_secret_keys()
    create_users()
    create_external_identities()
    create_links()
    create_pictures()
    create_recovery_codes()
    create_second_factors()
    create_sessions()
    create_tickets()
    create_indexes_of_tickets()
    create_user_words()
    create_comments()
    create_ticket_search()
    protect_tables()


def create_counters() -> None:
    op.create_table(
        "counters",
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("last_number", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("last_event", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("last_at", sa.DateTime(timezone=True), server_default=sa.text("'epoch'"), nullable=False),
        sa.PrimaryKeyConstraint("org_id", name=op.f("pk_counters")),
    )
    op.execute("ALTER TABLE counters SET (fillfactor = 20)")


def create_credentials() -> None:
    op.create_table(
        "credentials",
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("org_id", "user_id", name=op.f("pk_credentials")),
        sa.UniqueConstraint("org_id", "email", name=op.f("uq_credentials_org_id_email")),
    )
    op.create_index("ix_credentials_email", "credentials", ["email"], unique=False)


def create_deliveries() -> None:
    op.create_table(
        "deliveries",
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("lane", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("attempts", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("status IN ('QUEUED', 'SENT', 'FAILED')", name=op.f("ck_deliveries_status")),
        sa.PrimaryKeyConstraint("org_id", "id", name=op.f("pk_deliveries")),
    )
    op.create_index(
        "ix_deliveries_of_channel",
        "deliveries",
        ["org_id", "channel", "created_at", "id"],
        unique=False,
        postgresql_where=sa.text("channel IS NOT NULL"),
    )
    op.create_index(
        "ix_deliveries_of_channel_by_status",
        "deliveries",
        ["org_id", "channel", "status", "created_at", "id"],
        unique=False,
        postgresql_where=sa.text("channel IS NOT NULL"),
    )


def create_events() -> None:
    op.create_table(
        "events",
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("version", sa.SmallInteger(), nullable=False),
        sa.Column("subject_id", sa.Uuid(), nullable=True),
        sa.Column("actor_type", sa.Text(), nullable=False),
        sa.Column("actor_id", sa.Uuid(), nullable=True),
        sa.Column("data", postgresql.JSONB(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("actor_type IN ('USER', 'ORGANISATION', 'SYSTEM')", name=op.f("ck_events_actor_type")),
        sa.PrimaryKeyConstraint("org_id", "seq", name=op.f("pk_events")),
    )
    op.create_index("ix_events_org_id_subject_id_seq", "events", ["org_id", "subject_id", "seq"], unique=False)


def create_job_runs() -> None:
    op.create_table(
        "job_runs",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("every_seconds", sa.Double(), nullable=False),
        sa.Column("last_run_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("next_run_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_job_runs")),
    )


def create_organisations() -> None:
    op.create_table(
        "organisations",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("domain", sa.Text(), nullable=False),
        sa.Column("sandbox", sa.Boolean(), nullable=False),
        sa.Column("status", sa.Text(), server_default=sa.text("'ACTIVE'"), nullable=False),
        sa.Column("clock_offset", sa.Interval(), server_default=sa.text("'0'"), nullable=False),
        sa.Column("auto_close_days", sa.BigInteger(), nullable=False),
        sa.Column("timezone", sa.Text(), nullable=False),
        sa.Column("support_email", sa.Text(), nullable=True),
        sa.Column("app_url", sa.Text(), nullable=True),
        sa.Column("require_2fa", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("sandbox OR clock_offset = interval '0'", name=op.f("ck_organisations_clock_of_a_sandbox")),
        sa.CheckConstraint("status IN ('ACTIVE', 'SUSPENDED')", name=op.f("ck_organisations_status")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_organisations")),
        sa.UniqueConstraint("domain", name=op.f("uq_organisations_domain")),
    )


def create_relay_failures() -> None:
    op.create_table(
        "relay_failures",
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("subscriber", sa.Text(), nullable=False),
        sa.Column("attempts", sa.BigInteger(), nullable=False),
        sa.Column("last_error", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("parked_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("org_id", "id", name=op.f("pk_relay_failures")),
    )


def create_relays() -> None:
    op.create_table(
        "relays",
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("last_seq", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("org_id", name=op.f("pk_relays")),
    )
    op.execute("ALTER TABLE relays SET (fillfactor = 20)")


def create_timers() -> None:
    op.create_table(
        "timers",
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("subject_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("attempts", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("org_id", "subject_id", "kind", name=op.f("pk_timers")),
    )
    op.create_index(
        "ix_timers_deliver", "timers", ["org_id", "due_at"], unique=False, postgresql_where=sa.text("kind = 'DELIVER'")
    )
    op.create_index(
        "ix_timers_due",
        "timers",
        ["org_id", "due_at", "kind", "subject_id"],
        unique=False,
        postgresql_where=sa.text("kind <> 'DELIVER'"),
    )


def create_mails() -> None:
    op.create_table(
        "mails",
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("recipient", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("body_text", sa.Text(), nullable=False),
        sa.Column("body_html", sa.Text(), nullable=True),
        sa.Column("reply_to", sa.Text(), nullable=True),
        sa.Column("link", sa.Text(), nullable=True),
        sa.Column("link_id", sa.Uuid(), nullable=True),
        sa.Column("ticket_id", sa.Uuid(), nullable=True),
        sa.Column("user_id", sa.Uuid(), nullable=True),
        sa.Column("author_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["org_id", "id"], ["deliveries.org_id", "deliveries.id"], name=op.f("fk_mails_org_id_id_deliveries")
        ),
        sa.PrimaryKeyConstraint("org_id", "id", name=op.f("pk_mails")),
    )
    op.create_index(
        "ix_mails_of_author",
        "mails",
        ["org_id", "author_id"],
        unique=False,
        postgresql_where=sa.text("author_id IS NOT NULL"),
    )
    op.create_index(
        "ix_mails_of_recipient",
        "mails",
        ["org_id", "recipient"],
        unique=False,
        postgresql_where=sa.text("recipient IS NOT NULL"),
    )
    op.create_index(
        "ix_mails_of_ticket",
        "mails",
        ["org_id", "ticket_id", "created_at", "id"],
        unique=False,
        postgresql_where=sa.text("ticket_id IS NOT NULL"),
    )
    op.create_index(
        "ix_mails_of_user",
        "mails",
        ["org_id", "user_id"],
        unique=False,
        postgresql_where=sa.text("user_id IS NOT NULL"),
    )


def create_menus() -> None:
    op.create_table(
        "menus",
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("parent_id", sa.Uuid(), nullable=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=True),
        sa.Column("icon", sa.Text(), nullable=True),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("resource", sa.Text(), nullable=True),
        sa.Column("create_url", sa.Text(), nullable=True),
        sa.Column("list_url", sa.Text(), nullable=True),
        sa.Column("hidden_for_roles", postgresql.ARRAY(sa.Uuid()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("hidden_for_users", postgresql.ARRAY(sa.Uuid()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["org_id", "parent_id"], ["menus.org_id", "menus.id"], name=op.f("fk_menus_org_id_parent_id_menus")
        ),
        sa.ForeignKeyConstraint(["org_id"], ["organisations.id"], name=op.f("fk_menus_org_id_organisations")),
        sa.PrimaryKeyConstraint("org_id", "id", name=op.f("pk_menus")),
    )
    op.create_index("ix_menus_org_id_parent_id", "menus", ["org_id", "parent_id"], unique=False)


def create_roles() -> None:
    op.create_table(
        "roles",
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("permissions", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("kind IN ('ADMIN', 'ENGINEER', 'CUSTOMER')", name=op.f("ck_roles_kind")),
        sa.ForeignKeyConstraint(["org_id"], ["organisations.id"], name=op.f("fk_roles_org_id_organisations")),
        sa.PrimaryKeyConstraint("org_id", "id", name=op.f("pk_roles")),
        sa.UniqueConstraint("org_id", "name", name=op.f("uq_roles_org_id_name")),
    )


def create_secret_keys() -> None:
    op.create_table(
        "secret_keys",
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["org_id"], ["organisations.id"], name=op.f("fk_secret_keys_org_id_organisations")),
        sa.PrimaryKeyConstraint("org_id", "id", name=op.f("pk_secret_keys")),
    )
    op.create_index("ix_secret_keys_hash", "secret_keys", ["hash"], unique=True)


def create_users() -> None:
    op.create_table(
        "users",
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("first_name", sa.Text(), nullable=False),
        sa.Column("last_name", sa.Text(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("email_verified_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("role_kind", sa.Text(), nullable=False),
        sa.Column("role_id", sa.Uuid(), nullable=True),
        sa.Column("granted", postgresql.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("denied", postgresql.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("status_reason", sa.Text(), nullable=True),
        sa.Column("available", sa.Boolean(), nullable=False),
        sa.Column("works_on_tickets", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("second_factor", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("bio", sa.Text(), nullable=True),
        sa.Column("timezone", sa.Text(), nullable=True),
        sa.Column("locale", sa.Text(), nullable=True),
        sa.Column("muted", postgresql.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("picture_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("role_kind IN ('ADMIN', 'ENGINEER', 'CUSTOMER')", name=op.f("ck_users_role_kind")),
        sa.CheckConstraint(
            "status IN ('ACTIVE', 'PENDING', 'REJECTED', 'INVITED', 'SUSPENDED', 'ERASED')",
            name=op.f("ck_users_status"),
        ),
        sa.ForeignKeyConstraint(
            ["org_id", "role_id"], ["roles.org_id", "roles.id"], name=op.f("fk_users_org_id_role_id_roles")
        ),
        sa.ForeignKeyConstraint(["org_id"], ["organisations.id"], name=op.f("fk_users_org_id_organisations")),
        sa.PrimaryKeyConstraint("org_id", "id", name=op.f("pk_users")),
    )
    op.create_index(
        "ix_users_available",
        "users",
        ["org_id", "role_kind", "id"],
        unique=False,
        postgresql_where=sa.text("available AND works_on_tickets AND status = 'ACTIVE' AND role_kind <> 'CUSTOMER'"),
    )
    op.create_index(
        "ix_users_org_id_email",
        "users",
        ["org_id", "email"],
        unique=True,
        postgresql_where=sa.text("email IS NOT NULL"),
    )
    op.create_index(
        "ix_users_org_id_role_id",
        "users",
        ["org_id", "role_id"],
        unique=False,
        postgresql_where=sa.text("role_id IS NOT NULL"),
    )
    op.create_index("ix_users_org_id_role_kind_id", "users", ["org_id", "role_kind", "id"], unique=False)
    op.create_index("ix_users_org_id_status_id", "users", ["org_id", "status", "id"], unique=False)


def create_external_identities() -> None:
    op.create_table(
        "external_identities",
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["org_id", "user_id"],
            ["users.org_id", "users.id"],
            name=op.f("fk_external_identities_org_id_user_id_users"),
        ),
        sa.PrimaryKeyConstraint("org_id", "provider", "subject", name=op.f("pk_external_identities")),
    )
    op.create_index("ix_external_identities_org_id_user_id", "external_identities", ["org_id", "user_id"], unique=False)


def create_links() -> None:
    op.create_table(
        "links",
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=True),
        sa.Column("remembered", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "purpose IN ('VERIFY_EMAIL', 'CHANGE_EMAIL', 'RESET_PASSWORD', 'INVITATION', 'SIGN_IN')",
            name=op.f("ck_links_purpose"),
        ),
        sa.ForeignKeyConstraint(
            ["org_id", "user_id"], ["users.org_id", "users.id"], name=op.f("fk_links_org_id_user_id_users")
        ),
        sa.PrimaryKeyConstraint("org_id", "id", name=op.f("pk_links")),
    )
    op.create_index("ix_links_org_id_expires_at", "links", ["org_id", "expires_at"], unique=False)
    op.create_index("ix_links_org_id_user_id_purpose", "links", ["org_id", "user_id", "purpose"], unique=False)


def create_pictures() -> None:
    op.create_table(
        "pictures",
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("image", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["org_id", "user_id"], ["users.org_id", "users.id"], name=op.f("fk_pictures_org_id_user_id_users")
        ),
        sa.PrimaryKeyConstraint("org_id", "user_id", name=op.f("pk_pictures")),
    )


def create_recovery_codes() -> None:
    op.create_table(
        "recovery_codes",
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["org_id", "user_id"], ["users.org_id", "users.id"], name=op.f("fk_recovery_codes_org_id_user_id_users")
        ),
        sa.PrimaryKeyConstraint("org_id", "user_id", "hash", name=op.f("pk_recovery_codes")),
    )


def create_second_factors() -> None:
    op.create_table(
        "second_factors",
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("secret", sa.LargeBinary(), nullable=False),
        sa.Column("last_step", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("confirmed_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["org_id", "user_id"], ["users.org_id", "users.id"], name=op.f("fk_second_factors_org_id_user_id_users")
        ),
        sa.PrimaryKeyConstraint("org_id", "user_id", name=op.f("pk_second_factors")),
    )


def create_sessions() -> None:
    op.create_table(
        "sessions",
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("refresh_hash", sa.LargeBinary(), nullable=False),
        sa.Column("previous_hash", sa.LargeBinary(), nullable=True),
        sa.Column("rotated_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("remembered", sa.Boolean(), nullable=False),
        sa.Column("device", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["org_id", "user_id"], ["users.org_id", "users.id"], name=op.f("fk_sessions_org_id_user_id_users")
        ),
        sa.PrimaryKeyConstraint("org_id", "id", name=op.f("pk_sessions")),
    )
    op.create_index("ix_sessions_org_id_expires_at", "sessions", ["org_id", "expires_at"], unique=False)
    op.create_index("ix_sessions_org_id_user_id", "sessions", ["org_id", "user_id"], unique=False)


def create_tickets() -> None:
    op.create_table(
        "tickets",
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("priority", sa.Text(), nullable=False),
        sa.Column("requester_email", sa.Text(), nullable=False),
        sa.Column("requester_user_id", sa.Uuid(), nullable=True),
        sa.Column("assignee_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("responded_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("auto_close_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("accepted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("version", sa.BigInteger(), server_default=sa.text("1"), nullable=False),
        sa.CheckConstraint("priority IN ('LOW', 'MEDIUM', 'HIGH', 'CRITICAL')", name=op.f("ck_tickets_priority")),
        sa.CheckConstraint(
            "status IN ('OPEN', 'IN_PROGRESS', 'RESPONDED', 'RESOLVED', 'CLOSED')", name=op.f("ck_tickets_status")
        ),
        sa.ForeignKeyConstraint(
            ["org_id", "assignee_id"], ["users.org_id", "users.id"], name=op.f("fk_tickets_org_id_assignee_id_users")
        ),
        sa.ForeignKeyConstraint(
            ["org_id", "requester_user_id"],
            ["users.org_id", "users.id"],
            name=op.f("fk_tickets_org_id_requester_user_id_users"),
        ),
        sa.PrimaryKeyConstraint("org_id", "id", name=op.f("pk_tickets")),
        sa.UniqueConstraint("org_id", "number", name=op.f("uq_tickets_org_id_number")),
    )


def create_indexes_of_tickets() -> None:
    op.create_index(
        "ix_tickets_org_id_assignee_id_created_at_number",
        "tickets",
        ["org_id", "assignee_id", "created_at", "number"],
        unique=False,
    )
    op.create_index(
        "ix_tickets_org_id_closed_at_number",
        "tickets",
        ["org_id", "closed_at", "number"],
        unique=False,
        postgresql_where=sa.text("closed_at IS NOT NULL"),
    )
    op.create_index("ix_tickets_org_id_created_at_number", "tickets", ["org_id", "created_at", "number"], unique=False)
    op.create_index(
        "ix_tickets_org_id_priority_created_at_number",
        "tickets",
        ["org_id", "priority", "created_at", "number"],
        unique=False,
    )
    op.create_index(
        "ix_tickets_org_id_requester_email_created_at_number",
        "tickets",
        ["org_id", "requester_email", "created_at", "number"],
        unique=False,
    )
    op.create_index(
        "ix_tickets_org_id_requester_user_id_created_at_number",
        "tickets",
        ["org_id", "requester_user_id", "created_at", "number"],
        unique=False,
        postgresql_where=sa.text("requester_user_id IS NOT NULL"),
    )
    op.create_index(
        "ix_tickets_org_id_status_created_at_number",
        "tickets",
        ["org_id", "status", "created_at", "number"],
        unique=False,
    )
    op.create_index("ix_tickets_org_id_updated_at_number", "tickets", ["org_id", "updated_at", "number"], unique=False)
    op.create_index(
        "ix_tickets_waiting",
        "tickets",
        ["org_id", "number"],
        unique=False,
        postgresql_where=sa.text("assignee_id IS NULL AND status IN ('OPEN', 'IN_PROGRESS', 'RESPONDED')"),
    )


def create_user_words() -> None:
    op.create_table(
        "user_words",
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("word", sa.Text(collation="C"), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(
            ["org_id", "user_id"], ["users.org_id", "users.id"], name=op.f("fk_user_words_org_id_user_id_users")
        ),
        sa.PrimaryKeyConstraint("org_id", "word", "user_id", name=op.f("pk_user_words")),
    )
    op.create_index("ix_user_words_org_id_user_id", "user_words", ["org_id", "user_id"], unique=False)


def create_comments() -> None:
    op.create_table(
        "comments",
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("ticket_id", sa.Uuid(), nullable=False),
        sa.Column("author_id", sa.Uuid(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["org_id", "author_id"], ["users.org_id", "users.id"], name=op.f("fk_comments_org_id_author_id_users")
        ),
        sa.ForeignKeyConstraint(
            ["org_id", "ticket_id"], ["tickets.org_id", "tickets.id"], name=op.f("fk_comments_org_id_ticket_id_tickets")
        ),
        sa.PrimaryKeyConstraint("org_id", "id", name=op.f("pk_comments")),
    )
    op.create_index("ix_comments_org_id_ticket_id_id", "comments", ["org_id", "ticket_id", "id"], unique=False)


def create_ticket_search() -> None:
    op.create_table(
        "ticket_search",
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("ticket_id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("lexemes", postgresql.TSVECTOR(), nullable=False),
        sa.Column("replies", postgresql.TSVECTOR(), nullable=False),
        sa.ForeignKeyConstraint(
            ["org_id", "ticket_id"],
            ["tickets.org_id", "tickets.id"],
            name=op.f("fk_ticket_search_org_id_ticket_id_tickets"),
        ),
        sa.PrimaryKeyConstraint("ticket_id", "org_id", name=op.f("pk_ticket_search")),
    )
    op.create_index(
        "ix_ticket_search_lexemes_replies",
        "ticket_search",
        [sa.literal_column("(lexemes || replies)")],
        unique=False,
        postgresql_using="gin",
    )


def protect_tables() -> None:
    for table in PROTECTED:
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        op.execute(
            f"CREATE POLICY {table}_of_the_organisation ON {table} "
            "USING (org_id = nullif(current_setting('app.org_id', true), '')::uuid)"
        )


def downgrade() -> None:
    for table in TABLES:
        op.drop_table(table)
