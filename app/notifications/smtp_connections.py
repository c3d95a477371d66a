"""The open connections to a mail server. Each carries one mail at a time, and is used again while it works."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from aiosmtplib import SMTP, SMTPException, SMTPResponseException, SMTPServerDisconnected

from app.core.outbox.channels import Outcome, Result
from app.notifications import smtp
from app.notifications.mime import EncodedMail
from app.notifications.smtp import FIRST_REFUSAL, Server

QUIT_TIMEOUT = 2.0  # seconds
MAX_IDLE = 60.0  # seconds; many servers and firewalls drop connections that are idle for longer
# After a failed connection, seconds in which the server is not tried again: each of the other mails would wait for a
# time-out, or try a wrong password again until the account is locked.
RECONNECT_DELAY = 3.0


class _Unreachable(Exception):
    """No connection can be made. It has the outcome of the attempt."""

    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome


class Connections:
    """The connections to a server. A mail takes an idle one, or opens another one if there is none.

    The caller limits how many mails are handed over at the same time, and thereby the number of connections.
    """

    def __init__(self, server: Server, timeout: float) -> None:
        """Prepare connections. `timeout` is in seconds, for everything that one mail takes."""
        self._server = server
        self._timeout = timeout
        self._idle: list[tuple[SMTP, float]] = []  # since when; the last used one is last
        self._lent = 0
        self._is_opening = False  # one at a time: a server that refuses is asked once
        self._refusal: Outcome | None = None
        self._refused_until = 0.0
        self._changed = asyncio.Condition()  # any of the above
        self._quitting: set[asyncio.Task[None]] = set()

    async def hand_over(self, mail: EncodedMail) -> Outcome:
        """Try once to hand the mail to the server."""
        deadline = asyncio.get_running_loop().time() + self._timeout
        try:
            while True:
                client, is_new = await self._take(deadline)
                async with self._lend(client), asyncio.timeout_at(deadline):
                    try:
                        await smtp.announce(client, mail)
                    except SMTPServerDisconnected:
                        if is_new:
                            raise
                        client.close()
                        continue  # closed by the server while it was idle
                    await smtp.transfer(client, mail)
                    return Outcome(Result.SENT)
        except _Unreachable as failure:
            return failure.outcome
        except (SMTPException, OSError) as error:
            return self._server.describe_failure(error, self._timeout, is_connected=True)

    async def close(self) -> None:
        """Close the idle connections with QUIT, whether or not the server replies."""
        while self._idle:
            self._quit(self._idle.pop()[0])
        await asyncio.gather(*self._quitting)

    async def _take(self, deadline: float) -> tuple[SMTP, bool]:
        """Return an idle connection, or else a new one, and whether it is new.

        If the server accepts no further connection, wait for one of those that are lent.
        """
        while True:
            async with asyncio.timeout_at(deadline), self._changed:
                await self._changed.wait_for(self._is_decided)
                if client := self._pop_idle():
                    return client, False
                if self._refusal and self._is_refused():
                    raise _Unreachable(self._refusal)
                self._is_opening = True
            client = None
            try:
                client = await self._open()
            except _Unreachable:
                if not self._lent:
                    raise
            finally:
                self._is_opening = False
                await self._notify(opened=client)
            if client:
                return client, True

    def _is_decided(self) -> bool:
        """Return whether there is an idle connection, or one may be opened, or none can be had."""
        return bool(self._idle) or not (self._is_opening or (self._is_refused() and self._lent))

    def _is_refused(self) -> bool:
        return time.monotonic() < self._refused_until

    async def _open(self) -> SMTP:
        try:
            async with asyncio.timeout(self._timeout):
                return await self._server.connect(self._timeout)
        except (SMTPException, OSError) as error:
            self._refusal = self._server.describe_failure(error, self._timeout, is_connected=False)
            self._refused_until = time.monotonic() + RECONNECT_DELAY
            raise _Unreachable(self._refusal) from error

    def _pop_idle(self) -> SMTP | None:
        while self._idle and time.monotonic() - self._idle[0][1] > MAX_IDLE:
            self._quit(self._idle.pop(0)[0])
        while self._idle:
            client, _since = self._idle.pop()
            if client.is_connected:
                return client
        return None

    def _quit(self, client: SMTP) -> None:
        task = asyncio.create_task(_quit(client))
        self._quitting.add(task)
        task.add_done_callback(self._quitting.discard)

    async def _notify(self, *, opened: SMTP | None = None) -> None:
        """Wake the mails that wait. If this is cancelled, close the connection that was opened: nothing else has it."""
        try:
            async with self._changed:
                self._changed.notify_all()
        except BaseException:
            if opened:
                opened.close()
            raise

    @asynccontextmanager
    async def _lend(self, client: SMTP) -> AsyncIterator[None]:
        """Return the connection afterwards, unless it is closed or the state of its session is unknown."""
        self._lent += 1
        try:
            yield
        except SMTPResponseException as error:
            if error.code < FIRST_REFUSAL:
                client.close()
            raise
        except BaseException:
            client.close()
            raise
        finally:
            self._lent -= 1
            if client.is_connected:
                self._idle.append((client, time.monotonic()))
            await self._notify()


async def _quit(client: SMTP) -> None:
    with suppress(SMTPException, OSError):
        async with asyncio.timeout(QUIT_TIMEOUT):
            await client.quit()
    client.close()


@asynccontextmanager
async def open_connections(server: Server, timeout: float) -> AsyncIterator[Connections]:  # noqa: ASYNC109 - of each mail
    """Make connections that are closed at the end of the context. `timeout` is in seconds, for each mail."""
    opened = Connections(server, timeout)
    try:
        yield opened
    finally:
        await opened.close()
