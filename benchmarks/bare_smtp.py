"""A bare loop that makes and sends mails with aiosmtplib, to compare the worker with.

Arguments: the port of the server, the number of mails, and the number of connections.
"""

from __future__ import annotations

import asyncio
import sys
from email.message import EmailMessage
from email.utils import formatdate, make_msgid

from aiosmtplib import SMTP

from benchmarks.mails import HTML, SENDER, SUBJECT, TEXT, recipient


async def _send(port: int, numbers: range) -> None:
    async with SMTP(hostname="127.0.0.1", port=port, start_tls=False) as client:
        for number in numbers:
            message = EmailMessage()
            message["From"], message["To"], message["Subject"] = SENDER, recipient(number), SUBJECT
            message["Date"], message["Message-ID"] = formatdate(), make_msgid()
            message.set_content(TEXT)
            message.add_alternative(HTML, subtype="html")
            await client.send_message(message)


async def _main(port: int, count: int, connections: int) -> None:
    await asyncio.gather(*(_send(port, range(first, count, connections)) for first in range(connections)))


if __name__ == "__main__":
    asyncio.run(_main(*(int(argument) for argument in sys.argv[1:])))
