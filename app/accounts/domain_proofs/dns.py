"""Look up TXT records."""

from __future__ import annotations

import structlog
from dns.asyncresolver import Resolver
from dns.exception import DNSException, Timeout
from dns.resolver import NXDOMAIN, NoAnswer, NoNameservers, NoResolverConfiguration

from app.accounts.domain_proofs.errors import DnsUnavailable
from app.core.config import DNS_PORT, parse_address
from app.core.request_turns import suspended_turn

LOOKUP_TIMEOUT = 5.0  # seconds, for all name servers together

log = structlog.get_logger("tessera.dns")


async def read_txt(name: str, server: str | None) -> list[str]:
    """Return the TXT records of a name; none if the name does not exist.

    Args:
        server: the name server to ask, as `address` or `address:port`; `None` for those of the operating system.

    Raises:
        DnsUnavailable
    """
    try:
        async with suspended_turn():
            answer = await _make_resolver(server).resolve(name, "TXT", lifetime=LOOKUP_TIMEOUT)
    except (NXDOMAIN, NoAnswer):
        return []
    except (DNSException, OSError) as error:
        log.warning("dns_lookup_failed", name=name, error=type(error).__name__)
        if isinstance(error, NoNameservers | NoResolverConfiguration | Timeout | OSError):
            raise DnsUnavailable from error
        return []  # the name is too long for a record
    return [b"".join(record.strings).decode("utf-8", "replace") for record in answer]


def _make_resolver(server: str | None) -> Resolver:
    if server is None:
        return Resolver()
    resolver = Resolver(configure=False)
    address, resolver.port = parse_address(server, DNS_PORT)
    resolver.nameservers = [address]
    return resolver
