"""The query plans of a batch of deliveries, with missing, outdated and fresh statistics."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pytest

from app.core.database.pool import Database
from app.core.outbox import delivery_claims
from app.core.outbox.channels import Outcome, Result
from app.core.outbox.delivery_outcomes import decide_outcome, record_attempts
from app.core.outbox.delivery_turns import DELIVERIES_PER_BATCH
from app.notifications.channel import make_email_channel
from app.notifications.mails import EMAIL
from tests.databases import open_pool
from tests.postgres import TestServer
from tests.schema.catalog import Connection, rolled_back
from tests.schema.plans import explain, nodes, recording_statements, used_indexes

if TYPE_CHECKING:
    from tests.databases import Superuser

MANY = 20_000
# The number of other organisations, and the number of mails of each. From these numbers the planner estimates the mails
# of an organisation that the statistics do not contain.
FEW_LARGE, MANY_SMALL = (20, 100), (400, 5)
CHANNELS = {EMAIL.name: make_email_channel(smtp_url=None, mail_from="desk@growfin.test", mail_dir=Path("/nowhere"))}
TABLES = ("timers", "deliveries", "mails")
PRIMARY_KEYS = {"pk_timers", "pk_deliveries", "pk_mails"}

EMPTY = "; ".join(
    [
        "TRUNCATE timers, mails, deliveries",
        *(f"ALTER TABLE {table} SET (autovacuum_enabled = off)" for table in TABLES),
        *(f"DELETE FROM pg_statistic WHERE starelid = '{table}'::regclass" for table in TABLES),
    ]
)
# Parameters: the organisations, and the number of mails of each.
FILL = """
    WITH new AS (
        INSERT INTO deliveries (org_id, id, channel, lane, status, created_at)
        SELECT org_id, gen_random_uuid(), 'EMAIL', CASE n % 100 WHEN 1 THEN 'urgent' ELSE 'other' END, 'QUEUED', now()
        FROM unnest($1::uuid[]) AS org_id, generate_series(1, $2::int) AS n
        RETURNING org_id, id, lane, created_at
    ), content AS (
        INSERT INTO mails (org_id, id, recipient, subject, body_text, ticket_id, user_id, created_at)
        SELECT org_id, id, id || '@customer.example', 'Reply', repeat('Hello. ', 50), gen_random_uuid(),
               gen_random_uuid(), created_at
        FROM new
    )
    INSERT INTO timers (org_id, subject_id, kind, due_at, lane, urgent)
    SELECT org_id, id, 'DELIVER', created_at, hashtext(lane), lane = 'urgent' FROM new
"""


async def analyse(superuser: Superuser) -> None:
    for table in TABLES:
        await superuser.execute(f"ANALYZE {table}")


async def fill(superuser: Superuser, statistics: str, others: tuple[int, int]) -> UUID:
    """Queue very many mails of one organisation; return the organisation.

    Args:
        statistics: the statistics of the tables: none, or from a certain time.
        others: `FEW_LARGE` or `MANY_SMALL`.
    """
    await superuser.execute(EMPTY)
    if statistics == "while empty":
        await analyse(superuser)
    await superuser.execute(FILL, [uuid4() for _ in range(others[0])], others[1])
    if statistics == "before the mails":
        await analyse(superuser)
    org_id = uuid4()
    await superuser.execute(FILL, [org_id], MANY)
    if statistics == "fresh":
        await analyse(superuser)
    return org_id


async def record_statements_of_a_batch(
    database: Database, org_id: UUID, *, urgent: bool = False
) -> list[tuple[str, Sequence[object]]]:
    """Claim, renew, record and release a batch; return the statements that this sends."""
    with recording_statements(database) as sent:
        claimed = await delivery_claims.claim_deliveries(
            database, org_id, CHANNELS, limit=DELIVERIES_PER_BATCH, urgent=urgent
        )
        await delivery_claims.renew_leases(database, claimed)
        assert len(claimed) == DELIVERIES_PER_BATCH
        assert all(claim.message.recipient.startswith(str(claim.id)) for claim in claimed)
        outcomes = [Outcome(Result.SENT), Outcome(Result.TEMPORARY, "Not now")] * (DELIVERIES_PER_BATCH // 4)
        attempts = [
            decide_outcome(claim, outcome, EMAIL.backoff) for claim, outcome in zip(claimed, outcomes, strict=False)
        ]
        await record_attempts(database, org_id, attempts)
        await delivery_claims.release_deliveries(database, claimed[len(attempts) :])
    return list(sent)


def count_rows_read(plan: dict[str, Any]) -> int:
    """Count the table rows that the execution of a plan has read."""
    removed = ("Rows Removed by Filter", "Rows Removed by Index Recheck")
    return sum(
        round((node["Actual Rows"] + sum(node.get(key, 0) for key in removed)) * node["Actual Loops"])
        for node in nodes(plan)
        if "Relation Name" in node and node["Node Type"] != "ModifyTable"
    )


async def become_service(connection: Connection, org_id: UUID) -> None:
    await connection.execute(f"SET LOCAL ROLE tessera_service; SET LOCAL app.org_id = '{org_id}'")


@pytest.mark.parametrize("others", [FEW_LARGE, MANY_SMALL])
@pytest.mark.parametrize("statistics", ["none", "while empty", "before the mails", "fresh"])
async def test_a_batch_reads_only_its_own_rows_with_statistics_of_any_age(
    own_database: TestServer, superuser: Superuser, statistics: str, others: tuple[int, int]
) -> None:
    org_id = await fill(superuser, statistics, others)
    async with open_pool(own_database) as pool:
        batches = {urgent: await record_statements_of_a_batch(pool, org_id, urgent=urgent) for urgent in (True, False)}

    async with rolled_back(own_database.superuser_url) as connection:
        await become_service(connection, org_id)
        for urgent, (setting, due, *rest) in batches.items():
            await connection.execute(setting[0])
            assert len(rest) == 11
            for generic in (False, True):
                plan = await explain(connection, *due, generic=generic, run=True)
                assert used_indexes(plan) == {"ix_timers_deliver_urgent" if urgent else "ix_timers_deliver"}
                assert "Sort" not in {node["Node Type"] for node in nodes(plan)}
                assert count_rows_read(plan) <= 2 * DELIVERIES_PER_BATCH  # it passes over urgent ones
                for sql, parameters in rest:
                    await check_plan_by_ids(connection, sql, parameters, generic=generic)


async def check_plan_by_ids(connection: Connection, sql: str, parameters: Any, *, generic: bool) -> None:
    """Check that a statement reads only the rows of its ids, through primary keys."""
    rows, most = [parameters], 2 * DELIVERIES_PER_BATCH
    if isinstance(parameters, list):  # of each row, for which the statement is sent once
        rows, most = parameters, 2
    plan = await explain(connection, sql, rows[0], generic=generic, run=True)
    assert used_indexes(plan) <= PRIMARY_KEYS, sql
    assert used_indexes(plan), sql
    assert count_rows_read(plan) <= most, sql


async def test_an_index_that_is_not_partial_makes_a_lookup_by_id_read_too_much(
    own_database: TestServer, superuser: Superuser
) -> None:
    """With such an index, the planner reads at least twenty times as many rows as a batch has."""
    org_id = await fill(superuser, "before the mails", FEW_LARGE)
    async with open_pool(own_database) as pool:
        sent = await record_statements_of_a_batch(pool, org_id)
    sql, parameters = next(one for one in sent if "FROM mails" in one[0])

    async with rolled_back(own_database.superuser_url) as connection:
        await connection.execute("CREATE INDEX ix_mails_of_organisation ON mails (org_id)")
        await become_service(connection, org_id)
        plan = await explain(connection, sql, parameters, run=True)

    assert used_indexes(plan) == {"ix_mails_of_organisation"}
    assert count_rows_read(plan) >= 20 * DELIVERIES_PER_BATCH
