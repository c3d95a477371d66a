"""A hand-written implementation of the same operations: Starlette, the driver, few statements, no validation.

It deliberately uses the service's SQL, since a rewrite would be the same: the comparison is about everything around it.
Tables, indexes, row level security, isolation, the worker and the response format are the service's as well. A token is
verified once and a secret key is looked up once in the lifetime of the process.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import asyncpg
import orjson
import uvicorn
from jose import jwt
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from uuid_utils.compat import uuid7

from app.core.outbox.numbering import insert_events_sql
from app.core.search_texts import SearchText
from app.core.security.derived_keys import derive_key
from app.tickets.comments.queries import COMMENTS
from app.tickets.lists.queries import Listing, page_statement
from app.tickets.search.queries import Search, find_requesters
from app.tickets.search.rules import query
from app.tickets.statements import COUNT, INSERT, READ
from benchmarks.data import driver_url

if TYPE_CHECKING:
    Record = asyncpg.Record

_PAGE = 20
_INSERT_EVENTS = insert_events_sql(2)
_LIST, _ = page_statement(uuid4(), Listing(filters={"requester": ["x"], "status": ["OPEN"]}), None, _PAGE + 1)
_SEARCH, _ = page_statement(uuid4(), Listing(search=Search(query="x")), None, _PAGE + 1)

_organisations: dict[str, tuple[UUID, str]] = {}  # secret or token -> id, first part of a ticket's reference


async def create(request: Request) -> Response:
    """Serve `POST /tickets`."""
    body = orjson.loads(await request.body())
    org_id, prefix = _organisations.get(body["secret"]) or await _by_secret(request, body["secret"])
    ticket_id, priority, email = uuid7(), body["priority"], body["requester"]["email"]
    async with request.app.state.pool.acquire() as connection:
        await connection.execute(_begin(org_id))
        counted = await connection.fetchrow(COUNT, org_id, email, datetime.now(UTC))
        number, assignee_id, at = counted["number"], counted["assignee_id"], counted["at"]
        last_event = counted["last_event"]
        await connection.execute(
            INSERT, org_id, ticket_id, number, body["title"], body["description"], priority, counted["requester_id"],
            assignee_id, at,
        )  # fmt: skip
        created = orjson.dumps({"number": number, "status": "OPEN", "priority": priority}).decode()
        assigned = orjson.dumps({"assigneeId": str(assignee_id), "previousAssigneeId": None}).decode()
        await connection.execute(
            _INSERT_EVENTS,
            org_id, last_event - 1, uuid7(), "ticket.created", 1, ticket_id, "ORGANISATION", org_id, created, at,
            org_id, last_event, uuid7(), "ticket.assigned", 1, ticket_id, "SYSTEM", None, assigned, at,
        )  # fmt: skip
        await connection.execute("COMMIT")
    row = {
        **counted, "id": ticket_id, "org_id": org_id, "title": body["title"], "description": body["description"],
        "status": "OPEN", "priority": priority, "created_at": at, "updated_at": at, "responded_at": None,
        "closed_at": None, "auto_close_at": None, "accepted_at": None, "version": 1,
    }  # fmt: skip
    return _json(_ticket(row, prefix), 201)


async def read(request: Request) -> Response:
    """Serve `GET /tickets/{id}`, with the comments of a responded ticket."""
    org_id, prefix = await _by_token(request)
    ticket_id = request.path_params["id"]
    async with request.app.state.pool.acquire() as connection:
        await connection.execute(_begin(org_id))
        row = await connection.fetchrow(READ, org_id, ticket_id)
        replies = await connection.fetch(COMMENTS, org_id, ticket_id) if row["responded_at"] else ()
        await connection.execute("COMMIT")
    comments = [
        {
            "id": reply["id"],
            "message": reply["message"],
            "author": _user(reply["author_id"], reply["email"], reply["first_name"], reply["last_name"]),
            "createdAt": reply["created_at"],
        }
        for reply in replies
    ]
    return _json(_ticket(row, prefix) | {"comments": comments})


async def page(request: Request) -> Response:
    """Serve `GET /tickets?status=…&requester=…` or `GET /tickets?q=…`, the first page."""
    org_id, prefix = await _by_token(request)
    parameters = request.query_params
    async with request.app.state.pool.acquire() as connection:
        await connection.execute(_begin(org_id))
        if "q" in parameters:
            lookups = SearchText.parse(parameters["q"]).lookups
            requesters, _ = await find_requesters(connection, org_id, lookups, None)
            rows = await connection.fetch(_SEARCH, org_id, query(org_id, parameters["q"], prefix, requesters))
        else:
            rows = await connection.fetch(_LIST, org_id, parameters["requester"], parameters["status"])
        await connection.execute("COMMIT")
    cursor = rows[_PAGE - 1]["created_at"].isoformat() if len(rows) > _PAGE else None
    return _json({"items": [_ticket(row, prefix) for row in rows[:_PAGE]], "nextCursor": cursor})


def _begin(org_id: UUID) -> str:
    return f"BEGIN; SET LOCAL app.org_id = '{org_id}'"


async def _by_token(request: Request) -> tuple[UUID, str]:
    token = request.headers["authorization"][7:]
    known = _organisations.get(token)
    if known is None:
        claims = jwt.decode(
            token, derive_key(os.environ["SECRET_KEY"], "access token"), algorithms=["HS256"], audience="tessera-api"
        )
        sql = "SELECT id, domain FROM organisations WHERE id = $1"
        known = await _remember(request, token, sql, UUID(claims["org"]))
    return known


async def _by_secret(request: Request, secret: str) -> tuple[UUID, str]:
    sql = """
        SELECT o.id, o.domain FROM organisations AS o JOIN secret_keys AS s ON s.org_id = o.id
        WHERE s.hash = $1
    """
    return await _remember(request, secret, sql, hashlib.sha256(secret.encode()).digest())


async def _remember(request: Request, key: str, sql: str, *parameters: object) -> tuple[UUID, str]:
    org_id, domain = await request.app.state.pool.fetchrow(sql, *parameters)
    _organisations[key] = org_id, domain.partition(".")[0].upper()
    return _organisations[key]


def _ticket(row: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    number, assignee_id = row["number"], row["assignee_id"]
    return {
        "id": row["id"],
        "number": number,
        "reference": f"{prefix}-{number}",
        "orgId": row["org_id"],
        "title": row["title"],
        "description": row["description"],
        "status": row["status"],
        "priority": row["priority"],
        "requester": {
            "id": row["requester_id"],
            "email": row["requester_email"],
            "name": row["requester_name"],
            "userId": row["requester_user_id"],
        },
        "assigneeId": assignee_id,
        "assignee": assignee_id
        and _user(assignee_id, row["assignee_email"], row["assignee_first_name"], row["assignee_last_name"]),
        "createdAt": row["created_at"],
        "updatedAt": row["updated_at"],
        "respondedAt": row["responded_at"],
        "closedAt": row["closed_at"],
        "autoCloseAt": row["auto_close_at"],
        "acceptedAt": row["accepted_at"],
        "version": row["version"],
        "addedBy": row["requester_email"],
        "adminId": assignee_id,
    }


def _user(user_id: object, email: str, first_name: str, last_name: str) -> dict[str, Any]:
    return {"id": user_id, "email": email, "firstName": first_name, "lastName": last_name}


def _json(content: object, status: int = 200) -> Response:
    body = orjson.dumps(content, default=str, option=orjson.OPT_UTC_Z)
    return Response(body, status, media_type="application/json")


@asynccontextmanager
async def _lifespan(app: Starlette) -> AsyncIterator[None]:
    async def skip_reset(_connection: object) -> None:
        """Save a round trip: `SET LOCAL` ends with its transaction, so connections need no reset."""

    size = int(os.environ["DATABASE_POOL_SIZE"])
    settings = {"jit": "off", "timezone": "UTC"}
    app.state.pool = await asyncpg.create_pool(
        driver_url(os.environ["DATABASE_URL"]), min_size=size, max_size=size, reset=skip_reset, server_settings=settings
    )
    yield
    await app.state.pool.close()


app = Starlette(
    routes=[
        Route("/tickets", create, methods=["POST"]),
        Route("/tickets", page, methods=["GET"]),
        Route("/tickets/{id}", read, methods=["GET"]),
    ],
    lifespan=_lifespan,
)

if __name__ == "__main__":
    uvicorn.run(
        app, port=int(os.environ["PORT"]), loop="uvloop", http="httptools", access_log=False, log_level="warning"
    )
