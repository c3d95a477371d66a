"""The SQL that finds, makes and changes requesters while a ticket is opened, without the ORM."""

from __future__ import annotations

from app.accounts.users.rules import AccountStatus

_COLUMNS = "id, email, name, user_id"

# For an organisation ($1), and an e-mail address ($2), or an id ($2), or an active user ($2).
FIND_BY_EMAIL = """
    SELECT coalesce(m.id, r.id) AS id, coalesce(m.email, r.email) AS email,
           CASE WHEN m.id IS NULL THEN r.name ELSE m.name END AS name,
           CASE WHEN m.id IS NULL THEN r.user_id ELSE m.user_id END AS user_id
    FROM requesters AS r LEFT JOIN requesters AS m ON m.org_id = $1 AND m.id = r.merged_into_id
    WHERE r.org_id = $1 AND r.email = $2 AND r.owns_email
"""
FIND_BY_ID = f"SELECT {_COLUMNS} FROM requesters WHERE org_id = $1 AND id = $2 AND erased_at IS NULL"  # noqa: S608 - constants
FIND_OWN = f"""
    SELECT r.id, r.email, r.name, r.user_id
    FROM users AS u JOIN requesters AS r ON r.org_id = $1 AND r.user_id = u.id AND r.erased_at IS NULL
                    AND r.merged_into_id IS NULL
    WHERE u.org_id = $1 AND u.id = $2 AND u.status = '{AccountStatus.ACTIVE}'
    ORDER BY r.owns_email DESC, r.created_at, r.id LIMIT 1
"""  # noqa: S608 - constants

# By the e-mail address ($2) and the product's id ($3): no row, one, or one each. An alias leads to a requester `m`.
MATCH = """
    SELECT r.email = $2 AND r.owns_email AS has_address, r.external_id = $3 IS TRUE AS has_external_id,
           m.id IS NOT NULL AS is_alias, coalesce(m.id, r.id) AS id, coalesce(m.email, r.email) AS email,
           CASE WHEN m.id IS NULL THEN r.name ELSE m.name END AS name,
           CASE WHEN m.id IS NULL THEN r.locale ELSE m.locale END AS locale,
           CASE WHEN m.id IS NULL THEN r.external_id ELSE m.external_id END AS external_id,
           CASE WHEN m.id IS NULL THEN r.user_id ELSE m.user_id END AS user_id
    FROM requesters AS r LEFT JOIN requesters AS m ON m.org_id = $1 AND m.id = r.merged_into_id
    WHERE r.org_id = $1 AND ((r.email = $2 AND r.owns_email) OR r.external_id = $3)
"""
# A requester ($2) and those that were merged into it.
LOCK = """
    SELECT id FROM requesters WHERE org_id = $1 AND (id = $2 OR merged_into_id = $2) ORDER BY id FOR NO KEY UPDATE
"""
UPDATE = """
    UPDATE requesters SET email = $3, name = $4, locale = $5, external_id = $6, was_changed = true
    WHERE org_id = $1 AND id = $2
"""
DELETE = "DELETE FROM requesters WHERE org_id = $1 AND id = $2"
# The requesters that were merged into one ($2) show its details.
UPDATE_MERGED = """
    UPDATE requesters AS r SET email = t.email, name = t.name, locale = t.locale, user_id = t.user_id,
           was_changed = true
    FROM requesters AS t
    WHERE r.org_id = $1 AND r.merged_into_id = $2 AND NOT r.owns_email AND t.org_id = $1 AND t.id = $2
    RETURNING r.id
"""
DELETE_WORDS = "DELETE FROM requester_words WHERE org_id = $1 AND requester_id = $2"
INSERT_WORD = "INSERT INTO requester_words (org_id, word, requester_id) VALUES ($1, $2, $3)"

# An active user ($2). The lock makes the user's first tickets wait for each other, and for changes of the account.
LOCK_USER = f"""
    SELECT email, email_verified_at IS NOT NULL AS is_verified, trim(first_name || ' ' || last_name) AS name
    FROM users WHERE org_id = $1 AND id = $2 AND status = '{AccountStatus.ACTIVE}' FOR NO KEY UPDATE
"""  # noqa: S608 - constants

# The requester with an active user's address ($3), should it not be theirs yet.
CLAIM = """
    UPDATE requesters SET user_id = $2, was_changed = true
    WHERE org_id = $1 AND email = $3 AND owns_email AND user_id IS NULL
"""


def insert_sql(**values: str) -> str:
    """Return the statement that makes a requester, or nothing if there is one with the address or the product's id.

    Args:
        values: the placeholder of the value of each column except `org_id`, which is `$1`.
    """
    return f"""
    INSERT INTO requesters (org_id, {", ".join(values)}) VALUES ($1, {", ".join(values.values())})
    ON CONFLICT DO NOTHING RETURNING {_COLUMNS}
    """  # noqa: S608 - constants


def link_sql(requester_id: str) -> str:
    """Return the statement that links a new requester to the account that has proved the address.

    It must run after the statement that makes the requester. That one waits for an account that is about to take the
    address (`service.lock_address`), and only a later statement sees the account.

    Args:
        requester_id: the placeholder of the requester's id.
    """
    # The condition on the account is the rule `is_requesters_account`.
    return f"""
    UPDATE requesters AS r SET user_id = u.id, name = coalesce(r.name, trim(u.first_name || ' ' || u.last_name))
    FROM users AS u
    WHERE r.org_id = $1 AND r.id = {requester_id} AND r.user_id IS NULL AND u.org_id = $1 AND u.email = r.email
          AND u.status = '{AccountStatus.ACTIVE}' AND u.email_verified_at IS NOT NULL
    RETURNING r.user_id, r.name
    """  # noqa: S608 - constants


INSERT = insert_sql(id="$2", email="$3", owns_email="true", name="$4", locale="$5", external_id="$6", created_at="$7")
LINK = link_sql("$2")
