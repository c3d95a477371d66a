"""Proofs of domains over HTTP."""

from __future__ import annotations

from functools import partial
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request
from pydantic import MISSING

from app.access.attempt_limits import Limit
from app.access.callers import UserCaller
from app.access.limited_operations import limited
from app.access.operation_requirements import requires
from app.access.services import Services, get_services
from app.access.transactions import Db, transaction_refreshing_credentials
from app.access.trust_requirements import Applies
from app.access.user_permissions import Action, Resource
from app.accounts.domain_proofs import service
from app.accounts.domain_proofs.dns import read_txt
from app.accounts.domain_proofs.errors import DnsUnavailable, DomainNotProved
from app.accounts.domain_proofs.rules import make_record
from app.accounts.domain_proofs.schemas import (
    ConfirmedDomain,
    DomainConfirmation,
    DomainQuery,
    DomainVerification,
    OrganisationDomain,
)
from app.accounts.domain_proofs.service import Proof
from app.accounts.single_use_links import service as links
from app.accounts.single_use_links.errors import LinkExpired
from app.core.errors import BadInput, TooMany
from app.core.web.client_address import address_of, describe_client
from app.core.web.openapi import responses
from app.core.web.routing import Route
from app.organisations.errors import DomainTaken
from app.organisations.events import ProofMethod
from app.organisations.models import Organisation
from app.organisations.rules import refuse_public_suffix
from app.organisations.service import get_organisation

router = APIRouter(prefix="/org/domain", tags=["Organisations"], route_class=Route)

DomainReader = Annotated[UserCaller, requires(Resource.ORG, Action.UPDATE, admin=Applies.ALWAYS)]
DomainOwner = Annotated[UserCaller, requires(Resource.ORG, Action.UPDATE, admin=Applies.ALWAYS, fresh=Applies.ALWAYS)]


@router.get(
    "",
    operation_id="getOrganisationDomain",
    summary="Get what proves a domain",
    responses=responses(),
)
async def get_domain(
    domain_query: Annotated[DomainQuery, Query()], caller: DomainReader, db: Db, request: Request
) -> OrganisationDomain:
    """Return the TXT record that proves the organisation's domain, or another one."""
    organisation = await get_organisation(db, caller.org_id)
    domain = domain_query.domain or organisation.domain
    return OrganisationDomain.of(organisation, domain, get_services(request).secret_key, [])


@router.post(
    "/verify",
    operation_id="verifyOrganisationDomain",
    summary="Prove a domain",
    responses=responses(DomainTaken, DomainNotProved, DnsUnavailable, TooMany, body=True),
)
@limited(Limit.DOMAIN_PROOFS)
async def verify_domain(body: DomainVerification, caller: DomainOwner, request: Request) -> OrganisationDomain:
    """Prove that a domain belongs to the organisation. All admins get a mail.

    With `DNS`, the TXT record must exist: see `GET /org/domain`. With `EMAIL`, a link is mailed to
    `postmaster@` and `admin@` of the domain. It works once, for a day, and leads to a page of this service. An
    organisation can have links mailed to three domains in 24 hours.

    A proved domain becomes the organisation's. If another organisation has it and has not proved it, that organisation
    gets a placeholder. References of tickets stay as they are. The limit of mails to outside addresses, if the
    installation has one, ends with the proof.
    """
    services = get_services(request)
    domain = _check_own_domain(caller) if body.domain is MISSING else body.domain
    await services.attempts.count_domain_proof(body.method, caller.org_id, domain, address_of(request))
    async with services.database.session(caller.org_id) as db:
        await service.ensure_available(db, caller.org_id, domain)
        organisation = await get_organisation(db, caller.org_id)
        mailed_to = service.mail_links(db, caller, domain) if body.method is ProofMethod.EMAIL else []
    if body.method is ProofMethod.DNS:
        await _look_up_record(services, caller.org_id, domain)
        proof = Proof(org_id=caller.org_id, domain=domain, method=body.method, actor=caller.actor)
        organisation = await _accept(request, proof)
    return OrganisationDomain.of(organisation, domain, services.secret_key, mailed_to)


@router.post(
    "/confirm",
    operation_id="confirmOrganisationDomain",
    summary="Prove a domain with a link's token",
    responses=responses(DomainTaken, LinkExpired, TooMany, body=True),
)
@limited(Limit.LINKS)
async def confirm_domain(body: DomainConfirmation, request: Request) -> ConfirmedDomain:
    """Confirm, as the owner of a domain, that it belongs to the organisation. The token works once."""
    services = get_services(request)
    await services.attempts.count_link_call(address_of(request))
    proof = await service.read_proof(services.database, links.parse_token(services.secret_key, body.token))
    return ConfirmedDomain(domain=(await _accept(request, proof)).domain)


async def _look_up_record(services: Services, org_id: UUID, domain: str) -> None:
    expected = make_record(services.secret_key, org_id, domain)
    if expected.value not in await read_txt(expected.name, services.settings.dns_server):
        raise DomainNotProved(
            f"There is no TXT record {expected.name} with the value {expected.value}. Set it, wait until it can be "
            "seen, and try again."
        )


async def _accept(request: Request, proof: Proof) -> Organisation:
    open_transaction = partial(transaction_refreshing_credentials, request)
    return await service.accept_proof(get_services(request).database, open_transaction, proof, describe_client(request))


def _check_own_domain(caller: UserCaller) -> str:
    """Return the organisation's domain.

    Raises:
        BadInput: it is a placeholder, or a public suffix from the time before these were refused.
    """
    try:
        return refuse_public_suffix(caller.tenant.domain)
    except ValueError as error:
        raise BadInput.of_field("domain", f"{caller.tenant.domain}: {error} Send the domain to prove.") from None
