"""A database server that accepts no more connections: every kind of request gets 503."""

from __future__ import annotations

from uuid import uuid4

import httpx
from asgi_lifespan import LifespanManager

from app import wiring
from app.core.database.pool import Database
from app.main import create_app
from tests.conftest import SECRET_KEY, connect, copy_database, settings_for
from tests.organisation_client import Api, create_desk
from tests.postgres import TestServer
from tests.problems import assert_problem


async def test_requests_get_503_until_the_server_accepts_connections_again(server: TestServer) -> None:
    name = f"full_{uuid4().hex[:8]}"
    await copy_database(server, name)
    own_database = server.at(name)
    database = Database(own_database.service_url, before_commit=wiring.NUMBERING)
    async with LifespanManager(create_app(settings_for(own_database))) as manager:
        transport = httpx.ASGITransport(app=manager.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://tessera.test") as http:
            # Not a sandbox: its secret key is cached, so that the statement of the request is the first to connect.
            desk = await create_desk(Api(http, SECRET_KEY), database, sandbox=False)
            ticket = await desk.open()
            await database.dispose()
            path, headers = f"/tickets/{ticket['id']}", {"X-Org-Secret": desk.secret}
            superuser = await connect(server.at("postgres").superuser_url)
            try:
                await superuser.execute(f"ALTER DATABASE {name} CONNECTION LIMIT 0")
                await superuser.execute(
                    "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = $1", name
                )
                answers = [await http.get(path, headers=headers) for _ in range(3)]
                await superuser.execute(f"ALTER DATABASE {name} CONNECTION LIMIT -1")
            finally:
                await superuser.close()
            for answer in answers:
                assert_problem(answer, 503, "unavailable")
            assert (await http.get(path, headers=headers)).status_code == 200
