"""A name server on loopback with TXT records that a test sets."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import cast

import dns.flags
import dns.message
import dns.rcode
import dns.rrset


@dataclass
class DnsServer(asyncio.DatagramProtocol):
    """`records` has the texts by name. A name without records does not exist."""

    records: dict[str, list[str]] = field(default_factory=dict)
    queries: list[str] = field(default_factory=list)
    rcode: dns.rcode.Rcode = dns.rcode.NOERROR
    address: str = ""
    transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        query = dns.message.from_wire(data)
        name = query.question[0].name.to_text(omit_final_dot=True)
        self.queries.append(name)
        response = dns.message.make_response(query)
        response.flags |= dns.flags.RA
        response.set_rcode(self.rcode)
        if texts := self.records.get(name):
            response.answer.append(dns.rrset.from_text_list(query.question[0].name, 60, "IN", "TXT", texts))
        elif self.rcode == dns.rcode.NOERROR:
            response.set_rcode(dns.rcode.NXDOMAIN)
        assert self.transport is not None
        self.transport.sendto(response.to_wire(), addr)


@asynccontextmanager
async def running_dns_server() -> AsyncIterator[DnsServer]:
    loop = asyncio.get_running_loop()
    transport, server = await loop.create_datagram_endpoint(DnsServer, local_addr=("127.0.0.1", 0))
    server.address = "{}:{}".format(*transport.get_extra_info("sockname"))
    try:
        yield server
    finally:
        transport.close()


@contextmanager
def dns_server_in_thread() -> Iterator[DnsServer]:
    """Run the name server on an event loop of its own, for tests that block theirs."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    running = running_dns_server()
    try:
        yield asyncio.run_coroutine_threadsafe(running.__aenter__(), loop).result()
        asyncio.run_coroutine_threadsafe(running.__aexit__(None, None, None), loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
