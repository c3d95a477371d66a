"""The rules for statements on Citus find what failed there, and accept what the product sends instead."""

from __future__ import annotations

import pytest

from tests.schema.citus_rules import find_violations


@pytest.mark.parametrize(
    ("sql", "violation"),
    [
        ("INSERT INTO events (org_id) SELECT $1", "INSERT of a query, or in a CTE, into events without RETURNING"),
        (
            "WITH a AS (INSERT INTO events (org_id) VALUES ($1)) SELECT 1",
            "INSERT of a query, or in a CTE, into events without RETURNING",
        ),
        (
            "UPDATE tickets SET assignee_id = ($2::uuid[])[1] WHERE org_id = $1",
            "an array subscript as the value of assignee_id",
        ),
        (
            "UPDATE timers SET due_at = due_at - $2::interval WHERE org_id = $1",
            "timestamptz ± interval in the value of due_at",
        ),
        (
            "UPDATE counters SET last_at = greatest($2, last_at + interval '1 second') WHERE org_id = $1",
            "timestamptz ± interval in the value of last_at",
        ),
        (
            "INSERT INTO relays VALUES ($1) ON CONFLICT (org_id) DO UPDATE SET last_seq = $2",
            "a parameter in ON CONFLICT",
        ),
        ("WITH RECURSIVE a AS (SELECT 1 UNION ALL SELECT 2 FROM a) SELECT 1 FROM a", "a recursive CTE"),
        ("SELECT id FROM organisations WHERE id = $1 FOR SHARE", "a row lock on organisations"),
        (
            "SELECT o.id FROM organisations AS o JOIN users AS u ON u.org_id = $1 FOR SHARE OF o",
            "a row lock on organisations",
        ),
        ("SELECT 1 FROM tickets WHERE id = $1", "tickets without a plain org_id = <parameter>"),
        (
            "SELECT 1 FROM tickets AS t JOIN users AS u ON u.org_id = t.org_id WHERE t.org_id = $1",
            "users without a plain org_id = <parameter>",
        ),
        (
            "SELECT 1 FROM tickets WHERE org_id = $1 AND EXISTS (SELECT 1 FROM users WHERE id = assignee_id)",
            "users without a plain org_id = <parameter>",
        ),
        ("DELETE FROM timers WHERE subject_id = $1", "timers without a plain org_id = <parameter>"),
    ],
)
def test_a_statement_that_failed_on_citus_is_found(sql: str, violation: str) -> None:
    assert violation in find_violations(sql)


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO events (org_id) SELECT $1 RETURNING seq",
        "WITH a AS (INSERT INTO events (org_id) VALUES ($1) RETURNING seq) SELECT 1 FROM a",
        "UPDATE tickets SET assignee_id = coalesce(($2::uuid[])[1]) WHERE org_id = $1",
        "UPDATE timers SET due_at = timezone('UTC', timezone('UTC', due_at) - $2::interval) WHERE org_id = $1::uuid",
        "INSERT INTO relays VALUES ($1) ON CONFLICT (org_id) DO UPDATE SET last_seq = excluded.last_seq",
        "SELECT u.id FROM organisations AS o JOIN users AS u ON u.org_id = $1 FOR SHARE OF u",
        "SELECT 1 FROM tickets AS t JOIN users AS u ON u.org_id = $1 AND u.id = t.assignee_id WHERE t.org_id = $1",
        "UPDATE tickets AS t SET version = 1 FROM users AS u WHERE t.org_id = $1 AND u.org_id = $1",
    ],
)
def test_what_is_sent_instead_is_accepted(sql: str) -> None:
    assert find_violations(sql) == []
