"""Errors about proofs of domains."""

from __future__ import annotations

from app.core.errors import Conflict, Unavailable


class DomainNotProved(Conflict):
    """The TXT record that proves the domain was not found."""

    code = "domain_not_proved"
    title = "The TXT record that proves the domain was not found. Set it, wait until it can be seen, and try again."
    advice = "Set the record that `GET /org/domain` names. A name server may take an hour to show it."


class DnsUnavailable(Unavailable):
    """The name servers of the domain did not answer."""

    code = "dns_unavailable"
    title = "The name servers of the domain did not answer. Try again shortly."
