"""Query plans of the service's role on filled tables: each reads an index that starts with `org_id`."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import update

from app.accounts.users import queries as users
from app.accounts.users.events import EmailVerified, UserErased, UserSuspended, UserUpdated
from app.accounts.users.models import User
from app.authentication.sessions import queries as sessions
from app.core.clock import real_now
from app.core.ids import new_id
from app.core.outbox import timers
from app.core.outbox.events import SYSTEM, ReactionOnly, Recorded
from app.core.outbox.models import DELIVER
from app.core.outbox.timers import Due
from app.notifications import queries as notifications
from app.notifications.filters import NotificationFilters
from app.notifications.schemas import NotificationListQuery
from app.operations import queries as operations
from app.requesters import matching
from app.requesters import reactions as requester_reactions
from app.requesters import service as requester_service
from app.requesters import statements as requester_statements
from app.requesters.service import RequesterDetails
from app.tickets import queries as tickets
from app.tickets.assignment import backlog
from app.tickets.assignment import queries as assignment
from app.tickets.comments.queries import read_comments
from app.tickets.dates import set_ticket_times
from app.tickets.errors import TicketNotFound
from app.tickets.events import TicketAssigned
from app.tickets.history.queries import read_history
from app.tickets.lists.queries import Listing, page_statement
from app.tickets.models import TicketPriority
from app.tickets.opening import Opening, insert_ticket
from app.tickets.schedule.queries import read_schedule
from app.tickets.user_changes import unassigning
from tests.postgres import TestServer
from tests.schema.catalog import Connection, rolled_back
from tests.schema.plans import (
    AFTER,
    ORG,
    REQUESTER_EMAIL,
    REQUESTER_ID,
    START,
    TICKET,
    USER_ID,
    Recorder,
    explain,
    find_problems,
    find_statement_problems,
    nodes,
    used_indexes,
)

# --- bad plans are detected ------------------------------------------------------------------------------------------


async def test_a_filter_without_an_index_is_detected(filled: TestServer) -> None:
    sql, parameters = page_statement(ORG, Listing(filters={"status": ["OPEN"]}), None, 21)
    async with rolled_back(filled.superuser_url) as connection:
        for index in await connection.fetch(
            "SELECT indexname FROM pg_indexes WHERE tablename = 'tickets' AND indexname LIKE 'ix%'"
        ):
            await connection.execute(f"DROP INDEX {index[0]}")
        await connection.execute("ALTER TABLE tickets DROP CONSTRAINT uq_tickets_org_id_number")
        await connection.execute("ALTER TABLE tickets DROP CONSTRAINT pk_tickets CASCADE")
        await connection.execute(f"SET LOCAL ROLE tessera_service; SET LOCAL app.org_id = '{ORG}'")

        assert find_problems(await explain(connection, sql, parameters)) == ["reads all of tickets"]


async def test_an_index_read_without_the_organisation_is_detected(filled: TestServer) -> None:
    async with rolled_back(filled.superuser_url) as connection:  # policies add no condition for superusers
        await connection.execute("DROP INDEX ix_tickets_org_id_requester_id_created_at_number")
        await connection.execute("CREATE INDEX ix_tickets_requester_id ON tickets (requester_id)")

        plan = await explain(connection, "SELECT * FROM tickets WHERE requester_id = $1", [REQUESTER_ID])

        assert find_problems(plan) == ["ix_tickets_requester_id is not searched by org_id"]


# --- reading, opening and changing a ticket --------------------------------------------------------------------------


async def test_the_user_of_an_access_token_is_read_from_indexes(service_connection: Connection) -> None:
    recorder = Recorder(service_connection)
    await sessions.find_principal(recorder.driver, ORG, USER_ID, USER_ID, START)

    ((sql, parameters),) = recorder.sent
    assert await find_statement_problems(service_connection, sql, parameters) == []


async def test_a_ticket_with_comments_history_and_schedule_is_read_from_indexes(service_connection: Connection) -> None:
    recorder = Recorder(service_connection)
    await tickets.read_ticket(recorder.driver, ORG, TICKET)
    await read_comments(recorder.driver, ORG, TICKET)
    await read_history(recorder.driver, ORG, TICKET, 0, 21)
    await read_history(recorder.driver, ORG, TICKET, 2_500, 21)
    await read_schedule(recorder.driver, ORG, TICKET)
    for read in (tickets.read_ticket, read_schedule):
        with pytest.raises(TicketNotFound):  # another requester's
            await read(recorder.driver, ORG, TICKET, USER_ID)

    assert len(recorder.sent) == 7
    for sql, parameters in recorder.sent:
        assert await find_statement_problems(service_connection, sql, parameters) == [], sql


@pytest.mark.parametrize(
    "requester",
    [
        {"requester": RequesterDetails(email=REQUESTER_EMAIL)},
        {"requester": None, "requester_user_id": USER_ID},
    ],
)
async def test_opening_a_ticket_reads_indexes(service_connection: Connection, requester: dict[str, Any]) -> None:
    recorder = Recorder(service_connection)
    new = Opening(
        org_id=ORG, id=new_id(), title="It broke", description="All of it.", priority=TicketPriority.LOW,
        now=START, actor=SYSTEM, **requester,
    )  # fmt: skip
    row = await insert_ticket(recorder.driver, new)
    counting, *inserts = recorder.sent

    assert row is not None
    assert row["requester_user_id"] == requester.get("requester_user_id")
    assert [sql.split()[:3] for sql, _ in inserts] == [["INSERT", "INTO", "tickets"], ["INSERT", "INTO", "events"]]
    assert await find_statement_problems(service_connection, *counting) == []
    for generic in (False, True):
        plan = await explain(service_connection, *counting, generic=generic)
        of_requester = (
            {"pk_users", "ix_requesters_org_id_user_id"} if row["requester_user_id"] else {"ix_requesters_org_id_email"}
        )
        assert {"ix_users_available", "pk_counters", *of_requester} <= used_indexes(plan)
        (rotation,) = (node for node in nodes(plan) if node.get("Index Name") == "ix_users_available")
        assert rotation["Node Type"] == "Index Only Scan"


async def test_changing_a_ticket_reads_indexes(service_connection: Connection, session: Any) -> None:
    db, sent_statements = session
    await tickets.lock_ticket(db, ORG, TICKET)
    with pytest.raises(TicketNotFound):
        await tickets.lock_ticket(db, ORG, TICKET, account_id=USER_ID)
    db.expunge_all()
    await tickets.lock_ticket(db, ORG, TICKET)
    db.expunge_all()
    changed = TicketAssigned(at=START, actor=SYSTEM, ticket_id=TICKET, assignee_id=None)
    await set_ticket_times(db, ORG, [Recorded(org_id=ORG, seq=1, id=UUID(int=1), event=changed)])
    await assignment.lock_assignee(db, ORG, USER_ID)
    await timers.set_timers(db, ORG, TICKET, {"AUTO_CLOSE": START})
    await timers.cancel(db, ORG, TICKET, ("AUTO_CLOSE", "AUTO_CLOSE_REMINDER"))
    await backlog.assign_waiting(db, ORG, START)
    await users.get_user(db, ORG, USER_ID)

    selects = [one for one in sent_statements if not one[0].lstrip().startswith("INSERT")]
    assert len(selects) >= 9
    for sql, parameters in selects:
        assert await find_statement_problems(service_connection, sql, parameters) == [], sql


async def test_a_requester_is_made_matched_and_linked_by_indexes(service_connection: Connection) -> None:
    details = RequesterDetails(email=REQUESTER_EMAIL, name="Mia", external_id="1042")
    recorder = Recorder(service_connection)
    assert await matching.match(recorder.driver, ORG, details) == REQUESTER_ID
    unknown = RequesterDetails(email="new@growfin.test")
    new = Opening(
        org_id=ORG, id=new_id(), title="It broke", description="All of it.", priority=TicketPriority.LOW,
        requester=unknown, now=START, actor=SYSTEM,
    )  # fmt: skip
    assert await insert_ticket(recorder.driver, new) is not None
    await recorder.driver.fetchrow(requester_statements.LOCK_USER, ORG, USER_ID)

    found = [one for one in recorder.sent if not one[0].lstrip().startswith("INSERT")]
    assert len(found) >= 7
    for sql, parameters in found:
        assert await find_statement_problems(service_connection, sql, parameters) == [], sql


async def test_reactions_to_changes_of_users_find_requesters_by_indexes(
    service_connection: Connection, session: Any
) -> None:
    db, sent_statements = session
    about_user: dict[str, Any] = {"at": START, "actor": SYSTEM, "user_id": USER_ID}
    change = update(User).where(User.org_id == ORG, User.id == USER_ID)
    await db.execute(change.values(email=REQUESTER_EMAIL, email_verified_at=START, status="ACTIVE"))
    sent_statements.clear()
    await requester_reactions.follow_account(db, ORG, EmailVerified(**about_user))
    await requester_reactions.follow_name(db, ORG, UserUpdated(**about_user, fields=["firstName"]))
    await requester_service.index_new_requesters(db, ORG, [REQUESTER_ID])
    erased: dict[str, Any] = {"name": ReactionOnly("Mia Holm"), "email": ReactionOnly("customer8@growfin.test")}
    event = UserErased(**about_user, **erased, email_was_verified=ReactionOnly(True))
    await requester_reactions.erase_requesters(db, ORG, event)

    found = [one for one in sent_statements if not one[0].lstrip().startswith("INSERT")]
    assert len(found) >= 12
    assert not [sql for sql, _ in found if "tickets" in sql]  # the work does not grow with their number
    for sql, parameters in found:
        assert await find_statement_problems(service_connection, sql, parameters) == [], sql


async def test_the_tickets_of_a_suspended_user_are_found_by_indexes(
    service_connection: Connection, session: Any
) -> None:
    db, sent_statements = session
    change = update(User).where(User.org_id == ORG, User.id == USER_ID)
    await db.execute(change.values(status="SUSPENDED"))
    sent_statements.clear()
    await unassigning.unassign_tickets(db, ORG, UserSuspended(at=START, actor=SYSTEM, user_id=USER_ID))
    assert [sql.split()[0] for sql, _ in sent_statements] == ["SELECT", "INSERT"]  # the user, and timers
    due = [Due(unassigning.UNASSIGN_TICKETS, USER_ID, START, real_now())]
    await unassigning.resume_unassigning(db, ORG, due)

    found = [one for one in sent_statements if one[0].lstrip().startswith(("SELECT tickets", "UPDATE tickets"))]
    assert len(found) == 3  # select a batch of tickets, update them, and look for more
    used = set()
    for sql, parameters in found:
        assert await find_statement_problems(service_connection, sql, parameters) == [], sql
        used |= used_indexes(await explain(service_connection, sql, parameters))
    assert used == {"pk_tickets", "ix_tickets_org_id_assignee_id_created_at_number"}


# --- notifications, jobs, users -------------------------------------------------------------------------------------

FILTERS_BY_NAME = {
    name: NotificationFilters.model_validate(values)
    for name, values in {
        "everything": {},
        "status": {"status": ["FAILED"]},
        "status twice": {"status": ["FAILED", "QUEUED"]},
        "ticketId": {"ticketId": [TICKET]},
        "ticketId twice": {"ticketId": [TICKET, UUID(int=8)]},
        "both": {"status": ["FAILED", "QUEUED"], "ticketId": [TICKET, UUID(int=8)]},
    }.items()
}


def test_every_filter_of_notifications_is_tested() -> None:
    parameters_of_the_operation = {field.alias for field in NotificationListQuery.model_fields.values()}
    assert parameters_of_the_operation - {"include", "limit", "cursor"} == {"status", "ticketId"}


@pytest.mark.parametrize("name", FILTERS_BY_NAME)
async def test_the_notification_log_is_read_from_an_index(
    service_connection: Connection, session: Any, name: str
) -> None:
    db, sent_statements = session
    await notifications.list_entries(db, ORG, FILTERS_BY_NAME[name], None, 21)
    await notifications.list_entries(db, ORG, FILTERS_BY_NAME[name], (AFTER[0], UUID(int=7)), 21)
    await notifications.count_entries(db, ORG, FILTERS_BY_NAME[name])

    assert len(sent_statements) == 3
    for sql, parameters in sent_statements:
        assert await find_statement_problems(service_connection, sql, parameters) == [], sql


async def test_a_notification_and_pending_work_are_read_from_indexes(
    service_connection: Connection, session: Any
) -> None:
    db, sent_statements = session
    await notifications.get_entry(db, ORG, TICKET)
    await timers.measure_pending(db, ORG)
    await timers.find_next_due(db, ORG, START + timedelta(hours=1), kinds=["AUTO_CLOSE"])
    await operations.count_parked_failures(db, ORG)
    await assignment.list_available_users(db, ORG)

    assert len(sent_statements) == 5
    for sql, parameters in sent_statements:
        if "relay_failures" not in sql:  # nearly always empty
            assert await find_statement_problems(service_connection, sql, parameters) == [], sql


async def test_the_worker_finds_due_organisations_by_probing_an_index(service_connection: Connection) -> None:
    for condition, index in (
        (f"kind <> '{DELIVER}'", "ix_timers_due"),
        (f"kind = '{DELIVER}'", "ix_timers_deliver"),
        (f"kind = '{DELIVER}' AND urgent", "ix_timers_deliver_urgent"),
    ):
        sql = timers.write_due_organisations_query(condition).replace(":now", "$1")
        for generic in (False, True):
            plan = await explain(service_connection, sql, [START], generic=generic)

            (probe,) = (node for node in nodes(plan) if node.get("Relation Name") == "timers")
            assert probe["Index Name"] == index
            assert probe["Index Cond"] == "(org_id = counters.org_id)"
            assert "Filter" not in probe
