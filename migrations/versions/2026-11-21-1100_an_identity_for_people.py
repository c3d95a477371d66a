"""An identity for people: roles, sessions, links in mails, second factors, social sign-in, pictures, menus."""

from __future__ import annotations

import unicodedata

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

PROTECTED = (
    "roles", "person_words", "links", "sessions", "second_factors", "recovery_codes", "external_identities", "pictures",
    "menus",
)  # fmt: skip
OF_A_PERSON = (
    "person_words", "links", "sessions", "second_factors", "recovery_codes", "external_identities", "pictures",
)  # fmt: skip

TEXTS = postgresql.ARRAY(sa.Text())
IDS = postgresql.ARRAY(sa.Uuid())
TIME = sa.DateTime(timezone=True)

# What every organisation starts with; the service gives the same to new ones. The place of a parent is its position.
MENUS = """
    WITH entries (name, url, icon, position, resource, create_url, list_url, parent) AS (
        VALUES ('Tickets', '/tickets', 'ticket', 1, 'tickets', '/tickets/new', '/tickets', NULL),
               ('Notifications', '/notifications', 'mail', 2, 'notifications', NULL, '/notifications', NULL),
               ('People', NULL, 'users', 3, NULL, NULL, NULL, NULL),
               ('Settings', NULL, 'settings', 4, NULL, NULL, NULL, NULL),
               ('Users', '/users', 'user', 1, 'users', '/users/new', '/users', 3),
               ('Roles', '/roles', 'shield', 2, 'roles', '/roles/new', '/roles', 3),
               ('Organisation', '/settings/organisation', 'building', 1, 'org', NULL, NULL, 4),
               ('Menus', '/settings/menus', 'menu', 2, 'menus', '/settings/menus/new', '/settings/menus', 4)
    ), parents AS (
        INSERT INTO menus (org_id, id, name, url, icon, position, resource, create_url, list_url, created_at,
                           updated_at)
        SELECT o.id, gen_random_uuid(), e.name, e.url, e.icon, e.position, e.resource, e.create_url, e.list_url,
               o.created_at, o.created_at
        FROM entries AS e, organisations AS o WHERE e.parent IS NULL
        RETURNING org_id, id, position, created_at
    )
    INSERT INTO menus (org_id, id, parent_id, name, url, icon, position, resource, create_url, list_url, created_at,
                       updated_at)
    SELECT p.org_id, gen_random_uuid(), p.id, e.name, e.url, e.icon, e.position, e.resource, e.create_url, e.list_url,
           p.created_at, p.created_at
    FROM entries AS e JOIN parents AS p ON p.position = e.parent
"""


def upgrade() -> None:
    _make_roles()
    _extend_people()
    _make_what_belongs_to_a_person()
    _make_menus()
    op.add_column("organisations", sa.Column("app_url", sa.Text()))
    op.add_column("organisations", sa.Column("require_2fa", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.add_column("deliveries", sa.Column("link", sa.Text()))
    op.add_column("deliveries", sa.Column("link_id", sa.Uuid()))
    op.add_column("tickets", sa.Column("requester_id", sa.Uuid()))
    op.add_column("tickets", sa.Column("accepted_at", TIME))
    for table in PROTECTED:
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        op.execute(
            f"CREATE POLICY {table}_of_the_organisation ON {table} "
            "USING (org_id = nullif(current_setting('app.org_id', true), '')::uuid)"
        )


def _make_roles() -> None:
    op.create_table(
        "roles",
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("permissions", TEXTS, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.CheckConstraint("role IN ('ADMIN', 'ENGINEER', 'CUSTOMER')", name=op.f("ck_roles_role")),
        sa.ForeignKeyConstraint(["org_id"], ["organisations.id"], name="fk_roles_org_id_organisations"),
        sa.PrimaryKeyConstraint("org_id", "id", name="pk_roles"),
        sa.UniqueConstraint("org_id", "name", name="uq_roles_org_id_name"),
    )


def _extend_people() -> None:
    nothing = sa.text("'{}'")
    for column in (
        sa.Column("email_verified_at", TIME),
        sa.Column("role_id", sa.Uuid()),
        sa.Column("granted", TEXTS, server_default=nothing, nullable=False),
        sa.Column("denied", TEXTS, server_default=nothing, nullable=False),
        sa.Column("status_reason", sa.Text()),
        sa.Column("second_factor", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("bio", sa.Text()),
        sa.Column("timezone", sa.Text()),
        sa.Column("locale", sa.Text()),
        sa.Column("muted", TEXTS, server_default=nothing, nullable=False),
        sa.Column("picture_at", TIME),
    ):
        op.add_column("people", column)
    op.drop_constraint(op.f("ck_people_role"), "people")
    op.create_check_constraint(op.f("ck_people_role"), "people", "role IN ('ADMIN', 'ENGINEER', 'CUSTOMER')")
    op.drop_constraint(op.f("ck_people_status"), "people")
    op.create_check_constraint(
        op.f("ck_people_status"),
        "people",
        "status IN ('ACTIVE', 'PENDING', 'REJECTED', 'INVITED', 'SUSPENDED', 'ERASED')",
    )
    op.create_foreign_key("fk_people_org_id_role_id_roles", "people", "roles", ["org_id", "role_id"], ["org_id", "id"])
    op.drop_index("ix_people_available_admins", "people")
    op.create_index(
        "ix_people_available",
        "people",
        ["org_id", "role", "id"],
        postgresql_where=sa.text("available AND status = 'ACTIVE' AND role <> 'CUSTOMER'"),
    )
    op.create_index("ix_people_org_id_role_id", "people", ["org_id", "role", "id"])
    op.create_index("ix_people_org_id_status_id", "people", ["org_id", "status", "id"])
    op.create_index(
        "ix_people_of_role", "people", ["org_id", "role_id"], postgresql_where=sa.text("role_id IS NOT NULL")
    )
    op.alter_column("credentials", "password_hash", nullable=True)


def _make_what_belongs_to_a_person() -> None:
    _of_a_person(
        "person_words",
        sa.Column("word", sa.Text(collation="C"), nullable=False),
        key=("org_id", "word", "person_id"),
    )
    op.create_index("ix_person_words_org_id_person_id", "person_words", ["org_id", "person_id"])
    _index_words()
    _of_a_person(
        "links",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("password_hash", sa.Text()),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("expires_at", TIME, nullable=False),
        sa.CheckConstraint(
            "purpose IN ('VERIFY_EMAIL', 'CHANGE_EMAIL', 'RESET_PASSWORD', 'INVITATION', 'SIGN_IN')",
            name=op.f("ck_links_purpose"),
        ),
        key=("org_id", "id"),
    )
    op.create_index("ix_links_org_id_person_id_purpose", "links", ["org_id", "person_id", "purpose"])
    op.create_index("ix_links_org_id_expires_at", "links", ["org_id", "expires_at"])
    _of_a_person(
        "sessions",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("refresh_hash", sa.LargeBinary(), nullable=False),
        sa.Column("previous_hash", sa.LargeBinary()),
        sa.Column("rotated_at", TIME),
        sa.Column("remembered", sa.Boolean(), nullable=False),
        sa.Column("device", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("last_used_at", TIME, nullable=False),
        sa.Column("expires_at", TIME, nullable=False),
        key=("org_id", "id"),
    )
    op.create_index("ix_sessions_org_id_person_id", "sessions", ["org_id", "person_id"])
    op.create_index("ix_sessions_org_id_expires_at", "sessions", ["org_id", "expires_at"])
    _of_a_person(
        "second_factors",
        sa.Column("secret", sa.LargeBinary(), nullable=False),
        sa.Column("last_step", sa.BigInteger(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("confirmed_at", TIME),
        key=("org_id", "person_id"),
    )
    _of_a_person(
        "recovery_codes",
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        key=("org_id", "person_id", "hash"),
    )
    _of_a_person(
        "external_identities",
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        key=("org_id", "provider", "subject"),
    )
    op.create_index("ix_external_identities_org_id_person_id", "external_identities", ["org_id", "person_id"])
    _of_a_person("pictures", sa.Column("image", sa.LargeBinary(), nullable=False), key=("org_id", "person_id"))


def _index_words() -> None:
    """The words of the people that there are; their owner sees them all for this moment.

    They are folded here, as the service does: SQL's lower() depends on the locale that the database was made with.
    """
    connection = op.get_bind()
    insert = sa.text("INSERT INTO person_words (org_id, word, person_id) VALUES (:org_id, :word, :person_id)")
    connection.execute(sa.text("ALTER TABLE people NO FORCE ROW LEVEL SECURITY"))
    people = connection.execute(sa.text("SELECT org_id, id, first_name, last_name, email FROM people"))
    for some in people.partitions(1000):
        rows = [
            {"org_id": org_id, "word": word, "person_id": person_id}
            for org_id, person_id, *texts in some
            for word in _words_of(texts)
        ]
        connection.execute(insert, rows)
    connection.execute(sa.text("ALTER TABLE people FORCE ROW LEVEL SECURITY"))


def _words_of(texts: list[str]) -> set[str]:
    found: set[str] = set()
    for text in texts:
        decomposed = unicodedata.normalize("NFKD", text.casefold())
        bare = "".join(character for character in decomposed if not unicodedata.combining(character)).strip()
        words = "".join(character if character.isalnum() else " " for character in bare).split()
        found |= {word[:64] for word in (words if " " in bare else [*words, bare])}
    return found - {""}


def _of_a_person(table: str, *columns: sa.schema.SchemaItem, key: tuple[str, ...]) -> None:
    op.create_table(
        table,
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=False),
        *columns,
        sa.ForeignKeyConstraint(
            ["org_id", "person_id"], ["people.org_id", "people.id"], name=f"fk_{table}_org_id_person_id_people"
        ),
        sa.PrimaryKeyConstraint(*key, name=f"pk_{table}"),
    )


def _make_menus() -> None:
    op.create_table(
        "menus",
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("parent_id", sa.Uuid()),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("url", sa.Text()),
        sa.Column("icon", sa.Text()),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("resource", sa.Text()),
        sa.Column("create_url", sa.Text()),
        sa.Column("list_url", sa.Text()),
        sa.Column("hidden_for_roles", IDS, server_default=sa.text("'{}'"), nullable=False),
        sa.Column("hidden_for_users", IDS, server_default=sa.text("'{}'"), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(["org_id"], ["organisations.id"], name="fk_menus_org_id_organisations"),
        sa.ForeignKeyConstraint(
            ["org_id", "parent_id"], ["menus.org_id", "menus.id"], name="fk_menus_org_id_parent_id_menus"
        ),
        sa.PrimaryKeyConstraint("org_id", "id", name="pk_menus"),
    )
    op.create_index("ix_menus_org_id_parent_id", "menus", ["org_id", "parent_id"])
    op.execute(MENUS)


def downgrade() -> None:
    op.drop_column("tickets", "accepted_at")
    op.drop_column("tickets", "requester_id")
    op.drop_column("deliveries", "link_id")
    op.drop_column("deliveries", "link")
    op.drop_column("organisations", "require_2fa")
    op.drop_column("organisations", "app_url")
    for table in (*OF_A_PERSON, "menus"):
        op.drop_table(table)
    _restrict_people()
    op.drop_table("roles")


def _restrict_people() -> None:
    # The version before knows active and suspended admins only: all others stay, and cannot act.
    op.execute("ALTER TABLE people NO FORCE ROW LEVEL SECURITY")
    op.execute("UPDATE people SET status = 'SUSPENDED' WHERE role <> 'ADMIN' OR status NOT IN ('ACTIVE', 'SUSPENDED')")
    op.drop_index("ix_people_of_role", "people")
    op.drop_index("ix_people_org_id_status_id", "people")
    op.drop_index("ix_people_org_id_role_id", "people")
    op.drop_index("ix_people_available", "people")
    op.drop_constraint("fk_people_org_id_role_id_roles", "people")
    op.drop_constraint(op.f("ck_people_status"), "people")
    op.drop_constraint(op.f("ck_people_role"), "people")
    op.execute("UPDATE people SET role = 'ADMIN'")
    op.execute("ALTER TABLE people FORCE ROW LEVEL SECURITY")
    op.create_check_constraint(op.f("ck_people_role"), "people", "role IN ('ADMIN')")
    op.create_check_constraint(op.f("ck_people_status"), "people", "status IN ('ACTIVE', 'SUSPENDED')")
    op.create_index(
        "ix_people_available_admins",
        "people",
        ["org_id", "id"],
        postgresql_where=sa.text("role = 'ADMIN' AND status = 'ACTIVE' AND available"),
    )
    for column in (
        "picture_at", "muted", "locale", "timezone", "bio", "second_factor", "status_reason", "denied", "granted",
        "role_id", "email_verified_at",
    ):  # fmt: skip
        op.drop_column("people", column)
    op.execute("DELETE FROM credentials WHERE password_hash IS NULL")
    op.alter_column("credentials", "password_hash", nullable=False)
