"""Send the same SQL with `pgbench`, with as many connections and round trips, to measure the limit of the database."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from itertools import accumulate, chain
from pathlib import Path
from statistics import quantiles
from uuid import UUID

from sqlalchemy import make_url

from app.core.outbox.numbering import insert_events_sql
from app.organisations.rules import derive_reference_prefix
from app.tickets.comments.queries import COMMENTS
from app.tickets.events import TicketAssigned, TicketCreated
from app.tickets.lists.queries import Listing, page_statement
from app.tickets.search.queries import FIND_REQUESTER_WORDS, Search
from app.tickets.search.rules import query
from app.tickets.statements import COUNT, INSERT, READ
from benchmarks.copies import Organisation
from benchmarks.data import WEEKS, Dataset
from benchmarks.load import Load
from benchmarks.processes import POOL_SIZE
from benchmarks.requests import CREATE, DESCRIPTION, LIST, PAGE, SEARCH, SEARCHES

_BINARIES = Path("/usr/lib/postgresql")  # where Debian puts them

_AT = ":at::timestamptz"

# Placeholders for variables in a search text, replaced by the script. The text contains them nowhere else.
_PLACEHOLDERS = {"number": "98765", "customer": "xxx", "week": "zz"}


def find() -> str | None:
    """Return the path of `pgbench`; `None` if it is not installed."""
    return shutil.which("pgbench") or next((str(path) for path in sorted(_BINARIES.glob("*/bin/pgbench"))), None)


def send(program: str, data: Dataset, operation: str, seconds: int) -> Load:
    """Run an operation's statements over as many connections as the web processes have."""
    url = make_url(data.address.service_url)
    with tempfile.TemporaryDirectory(prefix="tessera-pgbench-") as folder:
        scripts = []
        for index, organisation in enumerate(data.organisations):
            script = Path(folder, f"{index}.sql")
            script.write_text(transaction(data, organisation, operation))
            scripts.append(f"--file={script}")
        output = subprocess.run(
            [program, "--no-vacuum", "--protocol=prepared", "--jobs=1", f"--client={POOL_SIZE}", f"--time={seconds}",
             "--log", *scripts, f"--host={url.query['host']}", f"--username={url.username}", str(url.database)],
            env={"PGPASSWORD": str(url.password), "PATH": os.defpath},
            cwd=folder, capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        # Each line: client, transaction, microseconds, …
        times = [
            int(line.split()[2]) / 1e3
            for log in Path(folder).glob("pgbench_log.*")
            for line in log.read_text().splitlines()
        ]
    rate = re.search(r"tps = ([\d.]+)", output)
    assert rate
    cuts = quantiles(times, n=100)
    return Load(len(times), len(times) / float(rate[1]), cuts[49], cuts[98], failed=0)


def transaction(data: Dataset, organisation: Organisation, operation: str) -> str:
    """Return the script of an organisation, with as many round trips as the reference."""
    return "\n".join(
        [
            f"\\set customer random(1, {data.customers})",
            f"\\set number random(1, {data.tickets})",
            f"\\set week random(0, {WEEKS - 1})",
            f"\\set form random(1, {sum(SEARCHES.values())})",
            "\\startpipeline",
            "BEGIN;",
            f"SET LOCAL app.org_id = '{UUID(organisation.id)}';",
            "\\endpipeline",
            *(_write_line(sql) for sql in _statements(organisation, operation)),
            "COMMIT;",
        ]
    )


def _write_line(sql: str) -> str:
    line = " ".join(sql.split())
    return line if line.endswith(r"\gset") else f"{line};"


def _statements(organisation: Organisation, operation: str) -> list[str]:
    org_id = f"'{UUID(organisation.id)}'::uuid"
    if operation == CREATE:
        return _create_statements(organisation, org_id)
    if operation == LIST:
        listing = Listing(filters={"requester": [""], "status": ["OPEN"]})
        sql, _ = page_statement(UUID(organisation.id), listing, None, PAGE + 1)
        email = f"'customer' || :customer::text || '@{organisation.domain}'"
        return [_substitute(sql, org_id, f"(ARRAY[{email}])", "'OPEN'")]
    if operation == SEARCH:
        sql, _ = page_statement(UUID(organisation.id), Listing(search=Search(query="")), None, PAGE + 1)
        terms = ("'ticket'", ":number::text")
        lows, highs = ", ".join(terms), ", ".join(f"{term} || chr(1114111)" for term in terms)
        requesters = _substitute(FIND_REQUESTER_WORDS, org_id, f"(ARRAY[{lows}])", f"(ARRAY[{highs}])")
        return [requesters, _substitute(sql, org_id, _search_query(organisation))]
    ticket_id = f"(SELECT id FROM tickets WHERE org_id = {org_id} AND number = :number)"
    return [_substitute(sql, org_id, ticket_id) for sql in (READ, COMMENTS)]


def _create_statements(organisation: Organisation, org_id: str) -> list[str]:
    email = f"'customer' || :customer::text || '@{organisation.domain}'"
    counting = COUNT.replace("SELECT c.*", "SELECT uuidv7() AS id, c.*", 1)
    ticket = ("'Cannot export March'", f"'{DESCRIPTION}'", "'HIGH'")
    ids = (":id::uuid", ":requester_id::uuid", ":assignee_id::uuid")
    created = "jsonb_build_object('number', :number::int, 'status', 'OPEN', 'priority', 'HIGH')"
    assigned = "jsonb_build_object('assigneeId', :assignee_id::text, 'previousAssigneeId', NULL)"
    events = (
        (":last_event::bigint - 1", f"'{TicketCreated.type}'", "'ORGANISATION'", org_id, created),
        (":last_event::bigint", f"'{TicketAssigned.type}'", "'SYSTEM'", "NULL", assigned),
    )
    rows = [
        (org_id, seq, "uuidv7()", type_, "1", ids[0], actor, actor_id, data, _AT)
        for seq, type_, actor, actor_id, data in events
    ]
    return [
        _substitute(counting, org_id, email, "now()") + r"\gset",
        _substitute(INSERT, org_id, ids[0], ":number::bigint", *ticket, *ids[1:], _AT),
        _substitute(insert_events_sql(len(rows)), *chain.from_iterable(rows)),
    ]


def _search_query(organisation: Organisation) -> str:
    """Return an expression for one of the searches, by the variable `form`; as a subquery, it is evaluated once."""
    cases = []
    for form, last in zip(SEARCHES, accumulate(SEARCHES.values()), strict=True):
        tsquery = query(
            UUID(organisation.id), form.format(**_PLACEHOLDERS), derive_reference_prefix(organisation.domain)
        )
        assert tsquery
        text = "'{}'".format(tsquery.replace("'", "''"))
        for variable, placeholder in _PLACEHOLDERS.items():
            if placeholder in tsquery:
                text = f"replace({text}, '{placeholder}', :{variable}::text)"
        cases.append(f"WHEN :form <= {last} THEN {text}")
    return f"(SELECT CASE {' '.join(cases)} END)"


def _substitute(sql: str, *values: str) -> str:
    return re.sub(r"\$(\d+)", lambda found: values[int(found[1]) - 1], sql)
