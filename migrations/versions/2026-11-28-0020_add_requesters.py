"""Add requesters, to which tickets refer instead of holding their requester's address.

The requesters of the existing tickets are made here, in one transaction: no ticket is opened or changed meanwhile.
Tickets of an account get one requester, with the account's present address.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from app.core.database.citus import distribute

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None
oldest_supported = "0004"

# A UUIDv7 of the time of a group's first ticket.
NEW_ID = """
    (overlay(lpad(to_hex((extract(epoch FROM min(t.created_at)) * 1000)::bigint), 12, '0') PLACING '-' FROM 9 FOR 0)
     || '-7' || substr(gen_random_uuid()::text, 16))::uuid
"""
# Which accounts have proved their address, so that its requester is theirs.
HAS_PROVED_EMAIL = "u.email_verified_at IS NOT NULL AND u.status IN ('ACTIVE', 'SUSPENDED')"


def upgrade() -> None:
    create_requesters()
    create_requester_words()
    op.add_column("tickets", sa.Column("requester_id", sa.Uuid(), nullable=True))
    run_for_each_organisation(*FILL, *REPLACE_TIMERS)
    op.alter_column("tickets", "requester_id", nullable=False)
    op.create_foreign_key(
        op.f("fk_tickets_org_id_requester_id_requesters"),
        "tickets",
        "requesters",
        ["org_id", "requester_id"],
        ["org_id", "id"],
    )
    op.create_index(
        "ix_tickets_org_id_requester_id_created_at_number",
        "tickets",
        ["org_id", "requester_id", "created_at", "number"],
        unique=False,
    )
    # Their indexes and the foreign key go with them.
    op.drop_column("tickets", "requester_user_id")
    op.drop_column("tickets", "requester_email")


def create_requesters() -> None:
    op.create_table(
        "requesters",
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("owns_email", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("locale", sa.Text(), nullable=True),
        sa.Column("external_id", sa.Text(), nullable=True),
        sa.Column("user_id", sa.Uuid(), nullable=True),
        sa.Column("merged_into_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("erased_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("was_changed", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.PrimaryKeyConstraint("org_id", "id", name=op.f("pk_requesters")),
    )
    distribute(op.get_bind(), "requesters")
    op.create_foreign_key(op.f("fk_requesters_org_id_organisations"), "requesters", "organisations", ["org_id"], ["id"])
    op.create_foreign_key(
        op.f("fk_requesters_org_id_user_id_users"), "requesters", "users", ["org_id", "user_id"], ["org_id", "id"]
    )
    op.create_foreign_key(
        op.f("fk_requesters_org_id_merged_into_id_requesters"),
        "requesters",
        "requesters",
        ["org_id", "merged_into_id"],
        ["org_id", "id"],
    )
    op.create_index(
        "ix_requesters_org_id_email",
        "requesters",
        ["org_id", "email"],
        unique=True,
        postgresql_where=sa.text("owns_email"),
    )
    op.create_index(
        "ix_requesters_org_id_external_id",
        "requesters",
        ["org_id", "external_id"],
        unique=True,
        postgresql_where=sa.text("external_id IS NOT NULL"),
    )
    op.create_index(
        "ix_requesters_org_id_user_id",
        "requesters",
        ["org_id", "user_id"],
        unique=False,
        postgresql_where=sa.text("user_id IS NOT NULL"),
    )
    op.create_index(
        "ix_requesters_org_id_merged_into_id",
        "requesters",
        ["org_id", "merged_into_id"],
        unique=False,
        postgresql_where=sa.text("merged_into_id IS NOT NULL"),
    )
    protect("requesters")


def create_requester_words() -> None:
    op.create_table(
        "requester_words",
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("word", sa.Text(collation="C"), nullable=False),
        sa.Column("requester_id", sa.Uuid(), nullable=False),
        sa.PrimaryKeyConstraint("org_id", "word", "requester_id", name=op.f("pk_requester_words")),
    )
    distribute(op.get_bind(), "requester_words")
    op.create_foreign_key(
        op.f("fk_requester_words_org_id_requester_id_requesters"),
        "requester_words",
        "requesters",
        ["org_id", "requester_id"],
        ["org_id", "id"],
    )
    op.create_index(
        "ix_requester_words_org_id_requester_id", "requester_words", ["org_id", "requester_id"], unique=False
    )
    protect("requester_words")


def protect(table: str) -> None:
    op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
    op.execute(
        f"CREATE POLICY {table}_of_the_organisation ON {table} "
        "USING (org_id = nullif(current_setting('app.org_id', true), '')::uuid)"
    )


def run_for_each_organisation(*statements: str) -> None:
    """Run statements in each organisation, since the rows of the others are protected."""
    connection = op.get_bind()
    for org_id in connection.scalars(sa.text("SELECT id FROM organisations ORDER BY id")).all():
        connection.execute(sa.text(f"SET LOCAL app.org_id = '{org_id}'"))
        for statement in statements:
            connection.execute(sa.text(statement), {"org_id": org_id})
    connection.execute(sa.text("SET LOCAL app.org_id = ''"))


# The requesters of the existing tickets. Their words follow when their tickets are indexed.
FILL = (
    # Tickets whose link to the account was still to come.
    f"""
    UPDATE tickets AS t SET requester_user_id = u.id FROM users AS u
    WHERE t.org_id = :org_id AND u.org_id = :org_id AND u.email = t.requester_email AND {HAS_PROVED_EMAIL}
          AND t.requester_user_id IS NULL
    """,  # noqa: S608 - constants
    f"""
    INSERT INTO requesters (org_id, id, email, owns_email, name, user_id, created_at, erased_at)
    SELECT u.org_id, {NEW_ID}, u.email, {HAS_PROVED_EMAIL},
           CASE WHEN u.status <> 'ERASED' THEN trim(u.first_name || ' ' || u.last_name) END, u.id, min(t.created_at),
           CASE WHEN u.status = 'ERASED' THEN max(t.updated_at) END
    FROM tickets AS t JOIN users AS u ON u.org_id = :org_id AND u.id = t.requester_user_id
    WHERE t.org_id = :org_id GROUP BY u.org_id, u.id RETURNING id
    """,  # noqa: S608 - constants
    f"""
    INSERT INTO requesters (org_id, id, email, created_at)
    SELECT t.org_id, {NEW_ID}, t.requester_email, min(t.created_at)
    FROM tickets AS t WHERE t.org_id = :org_id AND t.requester_user_id IS NULL
    GROUP BY t.org_id, t.requester_email RETURNING id
    """,  # noqa: S608 - constants
    """
    UPDATE tickets AS t SET requester_id = r.id FROM requesters AS r
    WHERE t.org_id = :org_id AND r.org_id = :org_id AND r.user_id = t.requester_user_id
    """,
    """
    UPDATE tickets AS t SET requester_id = r.id FROM requesters AS r
    WHERE t.org_id = :org_id AND r.org_id = :org_id AND r.user_id IS NULL AND r.email = t.requester_email
          AND t.requester_user_id IS NULL
    """,
)
# Linking and erasing tickets need no timers any more. The search index has the words of addresses: write it again.
REPLACE_TIMERS = (
    "DELETE FROM timers WHERE org_id = :org_id AND kind IN ('LINK_TICKETS', 'ERASE_REQUESTER')",
    """
    INSERT INTO timers (org_id, subject_id, kind, due_at) VALUES (:org_id, :org_id, 'INDEX_TICKETS', 'epoch')
    ON CONFLICT DO NOTHING
    """,
)
FILL_BACK = """
    UPDATE tickets AS t SET requester_email = r.email, requester_user_id = r.user_id FROM requesters AS r
    WHERE t.org_id = :org_id AND r.org_id = :org_id AND r.id = t.requester_id
"""


def downgrade() -> None:
    op.add_column("tickets", sa.Column("requester_email", sa.Text(), nullable=True))
    op.add_column("tickets", sa.Column("requester_user_id", sa.Uuid(), nullable=True))
    run_for_each_organisation(FILL_BACK, *REPLACE_TIMERS)
    op.alter_column("tickets", "requester_email", nullable=False)
    op.create_foreign_key(
        op.f("fk_tickets_org_id_requester_user_id_users"),
        "tickets",
        "users",
        ["org_id", "requester_user_id"],
        ["org_id", "id"],
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
    op.drop_column("tickets", "requester_id")
    op.drop_table("requester_words")
    op.drop_table("requesters")
