"""What tickets are found by. The worker fills it in, newest tickets first."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "ticket_search",
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("ticket_id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("lexemes", postgresql.TSVECTOR(), nullable=False),
        sa.Column("answers", postgresql.TSVECTOR(), nullable=False),
        sa.ForeignKeyConstraint(
            ["org_id", "ticket_id"], ["tickets.org_id", "tickets.id"], name="fk_ticket_search_org_id_ticket_id_tickets"
        ),
        sa.PrimaryKeyConstraint("org_id", "ticket_id", name="pk_ticket_search"),
    )
    op.create_index(
        "ix_ticket_search_lexemes_answers", "ticket_search", [sa.text("(lexemes || answers)")], postgresql_using="gin"
    )
    op.execute(
        "INSERT INTO timers (org_id, subject_id, kind, due_at) "
        "SELECT org_id, org_id, 'INDEX_TICKETS', now() FROM counters WHERE last_ticket > 0"
    )


def downgrade() -> None:
    op.execute("DELETE FROM timers WHERE kind = 'INDEX_TICKETS'")
    op.drop_table("ticket_search")
