"""Add proofs of domains, outside addresses that got mail, names of senders, and the page of a ticket in a front end."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from app.core.database.citus import distribute

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

PURPOSES = ("VERIFY_EMAIL", "CHANGE_EMAIL", "RESET_PASSWORD", "INVITATION", "SIGN_IN")


def upgrade() -> None:
    op.add_column("organisations", sa.Column("domain_verified_at", sa.DateTime(timezone=True)))
    op.add_column("organisations", sa.Column("reference_prefix", sa.Text()))
    op.add_column(
        "organisations",
        sa.Column("ticket_path", sa.Text(), server_default=sa.text("'/tickets/{id}'"), nullable=False),
    )
    op.add_column("mails", sa.Column("sender_name", sa.Text()))
    set_purposes(*PURPOSES, "VERIFY_DOMAIN")
    op.create_table(
        "outside_recipients",
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("address_hash", sa.LargeBinary(), nullable=False),
        sa.Column("mailed_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("org_id", "address_hash", name=op.f("pk_outside_recipients")),
    )
    distribute(op.get_bind(), "outside_recipients")
    op.create_index("ix_outside_recipients_org_id_mailed_at", "outside_recipients", ["org_id", "mailed_at"])
    op.execute("ALTER TABLE outside_recipients ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE outside_recipients FORCE ROW LEVEL SECURITY")
    op.execute(
        "CREATE POLICY outside_recipients_of_the_organisation ON outside_recipients "
        "USING (org_id = nullif(current_setting('app.org_id', true), '')::uuid)"
    )


def downgrade() -> None:
    op.drop_table("outside_recipients")
    # The owner, too, sees only rows of the organisation of its transaction.
    op.execute("ALTER TABLE links NO FORCE ROW LEVEL SECURITY")
    op.execute("DELETE FROM links WHERE purpose = 'VERIFY_DOMAIN'")
    op.execute("ALTER TABLE links FORCE ROW LEVEL SECURITY")
    set_purposes(*PURPOSES)
    op.drop_column("mails", "sender_name")
    op.drop_column("organisations", "ticket_path")
    op.drop_column("organisations", "reference_prefix")
    op.drop_column("organisations", "domain_verified_at")


def set_purposes(*purposes: str) -> None:
    values = ", ".join(f"'{purpose}'" for purpose in purposes)
    op.drop_constraint(op.f("ck_links_purpose"), "links")
    op.create_check_constraint(op.f("ck_links_purpose"), "links", f"purpose IN ({values})")  # few rows: links expire
