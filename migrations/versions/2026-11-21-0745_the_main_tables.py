"""The main tables: organisations, people, tickets, and what happened, will happen and leaves the house."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

PROTECTED = ("people", "tickets", "ticket_responses", "events", "deliveries", "relay_failures")
TABLES = (
    "ticket_responses", "tickets", "people", "organisation_secrets", "organisations", "credentials", "deliveries",
    "relay_failures", "timers", "relays", "events", "counters", "job_runs",
)  # fmt: skip


def upgrade() -> None:
    op.create_table(
        "counters",
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("last_ticket", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("last_event", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("org_id", name="pk_counters"),
    )
    op.create_table(
        "credentials",
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("org_id", "person_id", name="pk_credentials"),
        sa.UniqueConstraint("org_id", "email", name="uq_credentials_org_id_email"),
    )
    op.create_index("ix_credentials_email", "credentials", ["email"])
    op.create_table(
        "deliveries",
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("recipient", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("body_text", sa.Text(), nullable=False),
        sa.Column("body_html", sa.Text(), nullable=True),
        sa.Column("reply_to", sa.Text(), nullable=True),
        sa.Column("ticket_id", sa.Uuid(), nullable=True),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("attempts", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("status IN ('QUEUED', 'SENT', 'FAILED')", name=op.f("ck_deliveries_status")),
        sa.PrimaryKeyConstraint("org_id", "id", name="pk_deliveries"),
    )
    op.create_index("ix_deliveries_org_id_created_at_id", "deliveries", ["org_id", "created_at", "id"])
    op.create_index("ix_deliveries_org_id_status_created_at_id", "deliveries", ["org_id", "status", "created_at", "id"])
    op.create_index(
        "ix_deliveries_org_id_ticket_id_created_at_id", "deliveries", ["org_id", "ticket_id", "created_at", "id"]
    )
    op.create_table(
        "events",
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("ticket_id", sa.Uuid(), nullable=True),
        sa.Column("actor_type", sa.Text(), nullable=False),
        sa.Column("actor_id", sa.Uuid(), nullable=True),
        sa.Column("data", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("actor_type IN ('USER', 'ORGANISATION', 'SYSTEM')", name=op.f("ck_events_actor_type")),
        sa.PrimaryKeyConstraint("org_id", "seq", name="pk_events"),
    )
    op.create_index("ix_events_org_id_ticket_id_seq", "events", ["org_id", "ticket_id", "seq"])
    op.create_table(
        "job_runs",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("every_seconds", sa.Float(), nullable=False),
        sa.Column("last_run_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("next_run_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("name", name="pk_job_runs"),
    )
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
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("sandbox OR clock_offset = interval '0'", name=op.f("ck_organisations_clock_of_a_sandbox")),
        sa.CheckConstraint("status IN ('ACTIVE', 'SUSPENDED')", name=op.f("ck_organisations_status")),
        sa.PrimaryKeyConstraint("id", name="pk_organisations"),
        sa.UniqueConstraint("domain", name="uq_organisations_domain"),
    )
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
        sa.PrimaryKeyConstraint("org_id", "id", name="pk_relay_failures"),
    )
    op.create_table(
        "relays",
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("last_seq", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("org_id", name="pk_relays"),
    )
    op.create_table(
        "timers",
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("subject_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("attempts", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("org_id", "subject_id", "kind", name="pk_timers"),
    )
    op.create_index("ix_timers_deliver", "timers", ["org_id", "due_at"], postgresql_where=sa.text("kind = 'DELIVER'"))
    op.create_index(
        "ix_timers_due",
        "timers",
        ["org_id", "due_at", "kind", "subject_id"],
        postgresql_where=sa.text("kind <> 'DELIVER'"),
    )
    op.create_table(
        "organisation_secrets",
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["org_id"], ["organisations.id"], name="fk_organisation_secrets_org_id_organisations"),
        sa.PrimaryKeyConstraint("org_id", "id", name="pk_organisation_secrets"),
    )
    op.create_index("ix_organisation_secrets_hash", "organisation_secrets", ["hash"], unique=True)
    op.create_table(
        "people",
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("first_name", sa.Text(), nullable=False),
        sa.Column("last_name", sa.Text(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("available", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("role IN ('ADMIN')", name=op.f("ck_people_role")),
        sa.CheckConstraint("status IN ('ACTIVE', 'SUSPENDED')", name=op.f("ck_people_status")),
        sa.ForeignKeyConstraint(["org_id"], ["organisations.id"], name="fk_people_org_id_organisations"),
        sa.PrimaryKeyConstraint("org_id", "id", name="pk_people"),
        sa.UniqueConstraint("org_id", "email", name="uq_people_org_id_email"),
    )
    op.create_index(
        "ix_people_available_admins",
        "people",
        ["org_id", "id"],
        postgresql_where=sa.text("role = 'ADMIN' AND status = 'ACTIVE' AND available"),
    )
    op.create_table(
        "tickets",
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("priority", sa.Text(), nullable=False),
        sa.Column("added_by", sa.Text(), nullable=False),
        sa.Column("admin_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("responded_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("auto_close_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("version", sa.BigInteger(), server_default=sa.text("1"), nullable=False),
        sa.CheckConstraint("priority IN ('LOW', 'MEDIUM', 'HIGH', 'CRITICAL')", name=op.f("ck_tickets_priority")),
        sa.CheckConstraint(
            "status IN ('OPEN', 'IN_PROGRESS', 'RESPONDED', 'RESOLVED', 'CLOSED')", name=op.f("ck_tickets_status")
        ),
        sa.ForeignKeyConstraint(
            ["org_id", "admin_id"], ["people.org_id", "people.id"], name="fk_tickets_org_id_admin_id_people"
        ),
        sa.PrimaryKeyConstraint("org_id", "id", name="pk_tickets"),
        sa.UniqueConstraint("org_id", "number", name="uq_tickets_org_id_number"),
    )
    op.create_index(
        "ix_tickets_org_id_added_by_created_at_number", "tickets", ["org_id", "added_by", "created_at", "number"]
    )
    op.create_index(
        "ix_tickets_org_id_admin_id_created_at_number", "tickets", ["org_id", "admin_id", "created_at", "number"]
    )
    op.create_index("ix_tickets_org_id_created_at_number", "tickets", ["org_id", "created_at", "number"])
    op.create_index(
        "ix_tickets_org_id_priority_created_at_number", "tickets", ["org_id", "priority", "created_at", "number"]
    )
    op.create_index(
        "ix_tickets_org_id_status_created_at_number", "tickets", ["org_id", "status", "created_at", "number"]
    )
    op.create_index("ix_tickets_org_id_updated_at_number", "tickets", ["org_id", "updated_at", "number"])
    op.create_index(
        "ix_tickets_waiting",
        "tickets",
        ["org_id", "number"],
        postgresql_where=sa.text("admin_id IS NULL AND status IN ('OPEN', 'IN_PROGRESS', 'RESPONDED')"),
    )
    op.create_table(
        "ticket_responses",
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("ticket_id", sa.Uuid(), nullable=False),
        sa.Column("author_id", sa.Uuid(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["org_id", "author_id"], ["people.org_id", "people.id"], name="fk_ticket_responses_org_id_author_id_people"
        ),
        sa.ForeignKeyConstraint(
            ["org_id", "ticket_id"],
            ["tickets.org_id", "tickets.id"],
            name="fk_ticket_responses_org_id_ticket_id_tickets",
        ),
        sa.PrimaryKeyConstraint("org_id", "id", name="pk_ticket_responses"),
    )
    op.create_index("ix_ticket_responses_org_id_ticket_id_id", "ticket_responses", ["org_id", "ticket_id", "id"])
    for table in PROTECTED:
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        op.execute(
            f"CREATE POLICY {table}_of_the_organisation ON {table} "
            "USING (org_id = nullif(current_setting('app.org_id', true), '')::uuid)"
        )
    # Rows that change all the time find room for their next version on the same page.
    op.execute("ALTER TABLE counters SET (fillfactor = 20)")
    op.execute("ALTER TABLE relays SET (fillfactor = 20)")


def downgrade() -> None:
    for table in TABLES:
        op.drop_table(table)
