"""The same SQL straight from `pgbench`: what the database alone does, with as many connections and round trips."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from itertools import accumulate
from pathlib import Path
from statistics import quantiles
from uuid import UUID

from sqlalchemy import make_url

from app.access.tenant import reference_prefix
from app.tickets.models import TicketPriority
from app.tickets.queries import ONE, OPEN, RESPONSES, Listing, created_data, page_statement
from app.tickets.search.queries import Search
from app.tickets.search.rules import query
from benchmarks.data import WEEKS, Dataset, Organisation
from benchmarks.load import Load
from benchmarks.processes import POOL_SIZE
from benchmarks.requests import CREATE, DESCRIPTION, LIST, PAGE, SEARCH, SEARCHES

_BINARIES = Path("/usr/lib/postgresql")  # where Debian puts them

# What stands for a variable in the text of a search until the script has it: nothing that the text has elsewhere.
_STAND_INS = {"number": "9876543210", "customer": "xxx", "week": "zz"}


def find() -> str | None:
    """Where `pgbench` is; `None` where it is not installed."""
    return shutil.which("pgbench") or next((str(path) for path in sorted(_BINARIES.glob("*/bin/pgbench"))), None)


def send(program: str, data: Dataset, operation: str, seconds: int) -> Load:
    """Run an operation's statements from as many connections as the web processes have."""
    url = make_url(data.address.service_url)
    with tempfile.TemporaryDirectory(prefix="tessera-pgbench-") as folder:
        scripts = []
        for place, organisation in enumerate(data.organisations):
            script = Path(folder, f"{place}.sql")
            script.write_text(transaction(data, organisation, operation))
            scripts.append(f"--file={script}")
        said = subprocess.run(
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
    rate = re.search(r"tps = ([\d.]+)", said)
    assert rate
    cuts = quantiles(times, n=100)
    return Load(len(times), len(times) / float(rate[1]), cuts[49], cuts[98], failed=0)


def transaction(data: Dataset, organisation: Organisation, operation: str) -> str:
    """The script of one organisation, with as many round trips as the reference."""
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
            *(f"{' '.join(sql.split())};" for sql in _statements(organisation, operation)),
            "COMMIT;",
        ]
    )


def _statements(organisation: Organisation, operation: str) -> list[str]:
    org_id = f"'{UUID(organisation.id)}'::uuid"
    if operation == CREATE:
        sql = OPEN.replace("WITH available", "WITH fresh AS MATERIALIZED (SELECT uuidv7() AS id), available", 1)
        ticket_id, texts = "(SELECT id FROM fresh)", ("'Cannot export March'", f"'{DESCRIPTION}'", "'HIGH'")
        customer = f"'customer' || :customer::text || '@{organisation.domain}'"
        rest = (
            "now()",
            "now()",
            "uuidv7()",
            "uuidv7()",
            "'ORGANISATION'",
            org_id,
            f"'{created_data(TicketPriority.HIGH)}'",
        )
        return [_filled(sql, org_id, ticket_id, *texts, customer, *rest)]
    if operation == LIST:
        listing = Listing(customer_emails=("",), statuses=("OPEN",))
        sql, _ = page_statement(UUID(organisation.id), listing, None, PAGE + 1)
        return [_filled(sql, org_id, f"'customer' || :customer::text || '@{organisation.domain}'", "'OPEN'")]
    if operation == SEARCH:
        sql, _ = page_statement(UUID(organisation.id), Listing(search=Search(query="")), None, PAGE + 1)
        return [_filled(sql, org_id, _looked_for(organisation))]
    ticket_id = f"(SELECT id FROM tickets WHERE org_id = {org_id} AND number = :number)"
    return [_filled(sql, org_id, ticket_id) for sql in (ONE, RESPONSES)]


def _looked_for(organisation: Organisation) -> str:
    """One of the searches, by the variable `form`; in a subquery, so that it is put together once."""
    cases = []
    for form, last in zip(SEARCHES, accumulate(SEARCHES.values()), strict=True):
        wanted = query(UUID(organisation.id), form.format(**_STAND_INS), reference_prefix(organisation.domain))
        assert wanted
        text = "'{}'".format(wanted.replace("'", "''"))
        for variable, stand_in in _STAND_INS.items():
            if stand_in in wanted:
                text = f"replace({text}, '{stand_in}', :{variable}::text)"
        cases.append(f"WHEN :form <= {last} THEN {text}")
    return f"(SELECT CASE {' '.join(cases)} END)"


def _filled(sql: str, *values: str) -> str:
    return re.sub(r"\$(\d+)", lambda found: values[int(found[1]) - 1], sql)
