"""What an operation requires of its caller: declared once, as the type of `caller`, and documented from there.

async def close(ticket_id: TicketId, caller: Annotated[UserCaller, requires(TICKETS, UPDATE)], db: Db) -> …
"""

# Without `from __future__ import annotations`: FastAPI cannot resolve string annotations of a callable object.
from typing import Annotated, Any

from fastapi import Depends, Request
from pydantic import Field

from app.access.caller_identification import identify_product, identify_user, read_json, read_secret
from app.access.callers import (
    Caller,
    ProductCaller,
    UserCaller,
    ensure_admin,
    ensure_freshly_authenticated,
    lacks_second_factor,
)
from app.access.errors import (
    AccessTokenRequired,
    AdminRequired,
    InvalidSecretKey,
    MissingCredential,
    NotForCustomers,
    PermissionRequired,
    ReauthenticationRequired,
    SecondFactorRequired,
    SecretKeyMismatch,
    SecretKeyRequired,
)
from app.access.trust_requirements import TRUST_DESCRIPTIONS, Applies
from app.access.user_permissions import Action, Resource, RoleKind, permission
from app.core.errors import Forbidden, TesseraError, Unauthenticated
from app.core.security.access_tokens import InvalidToken
from app.core.web.declarations import DEFAULT_CHALLENGE, find_declaration
from app.core.web.endpoint_signatures import Endpoint
from app.core.web.routing import take_turn_of_network

# Indexed by: whether access tokens are accepted, and whether secret keys are accepted.
_CREDENTIAL_INSTRUCTIONS = {
    (True, True): "Send a user's access token as `Authorization: Bearer …`, or a secret key as `X-Org-Secret: tsk_…`.",
    (True, False): "Send a user's access token as `Authorization: Bearer …`.",
    (False, True): "Send the organisation's secret key as `X-Org-Secret: tsk_…`, or in the body as `secret`.",
}
# Names of the OpenAPI security schemes.
SECRET_SCHEME = "organisationSecret"  # noqa: S105 - a name
TOKEN_SCHEME = "jwt"  # noqa: S105 - a name
# The field of a body for operations with `secret_in_body`.
BodySecret = Annotated[
    str | None,
    Field(max_length=200, description="The organisation's secret key, if the header `X-Org-Secret` is not sent."),
]
_KEY_CHALLENGE = 'OrgSecret realm="tessera"'
_CALLER = "tessera.caller"  # in the request's scope


class Requirement:
    """What an operation requires of its caller. As a dependency, it returns the caller, identified once per request.

    Args:
        needed: the permission that a user needs; `None` if any signed-in user may call the operation.
        also: another permission that a user needs, because the response shows more than the operation is about.
        users: whether access tokens are accepted.
        secret: whether secret keys are accepted.
        secret_in_body: whether the secret key may also come in the body.
        customers: whether customers may call the operation. It must then limit them to their own data. Ignored without
            `needed`: then every signed-in user may call the operation.
        before_second_factor: whether users may call the operation before they set up a mandatory second factor.
        admin: whether the role of the user must be of the kind `ADMIN`, whatever permissions it has.
        fresh: whether the user must have proved within the last five minutes who they are, so that a stolen access
            token is not enough.

    Raises:
        ValueError: the requirement accepts no credentials.
        KeyError: this combination of `admin` and `fresh` has no description.
    """

    def __init__(
        self,
        needed: tuple[Resource, Action] | None = None,
        *,
        also: tuple[Resource, Action] | None = None,
        users: bool = True,
        secret: bool = False,
        secret_in_body: bool = False,
        customers: bool = False,
        before_second_factor: bool = False,
        admin: Applies = Applies.NEVER,
        fresh: Applies = Applies.NEVER,
    ) -> None:
        if not (users or secret):
            raise ValueError("A requirement must accept access tokens, secret keys or both.")
        self.permission = permission(*needed) if needed else None
        self.permissions = [permission(*one) for one in (needed, also) if one]
        self.accepts_tokens = users
        self.accepts_secret_key = secret
        self.secret_in_body = secret_in_body
        self.accepts_customers = customers or needed is None
        self.before_second_factor = before_second_factor
        self.admin, self.fresh = admin, fresh
        self._concerns_trust = (admin, fresh) != (Applies.NEVER, Applies.NEVER)
        self._trust_description = TRUST_DESCRIPTIONS[admin, fresh]

    async def __call__(self, request: Request) -> Caller:
        """Return the caller, who fulfils the requirement.

        Raises:
            One of `errors`.
        """
        cached: tuple[Requirement, Caller] | None = request.scope.get(_CALLER)
        if cached is None or cached[0] is not self:
            cached = request.scope[_CALLER] = (self, await self._identify(request))
        return cached[1]

    async def _identify(self, request: Request) -> Caller:
        secret = await read_secret(request, from_body=self.secret_in_body)
        # An access token wins over a secret key, except where the key may come in the body.
        if (
            self.accepts_secret_key
            and secret is not None
            and (self.secret_in_body or "authorization" not in request.headers)
        ):
            return await identify_product(request, secret)
        user = await identify_user(
            request,
            secret,
            _CREDENTIAL_INSTRUCTIONS[self.accepts_tokens, self.accepts_secret_key],
            cached=not self._concerns_trust,
        )
        if not self.accepts_tokens:
            raise SecretKeyRequired
        self._check(user)
        return user

    def _check(self, caller: UserCaller) -> None:
        user = caller.user
        if not self.before_second_factor and lacks_second_factor(caller.tenant, user):
            raise SecondFactorRequired
        for missing in self.permissions:
            if missing not in user.permissions:
                raise PermissionRequired(f"The permission {missing} is required: ask an admin for a role that has it.")
        if user.role_kind == RoleKind.CUSTOMER and not self.accepts_customers:
            raise NotForCustomers
        if self.admin is Applies.ALWAYS:
            ensure_admin(caller)
        if self.fresh is Applies.ALWAYS:
            ensure_freshly_authenticated(caller)

    @property
    def caller_type(self) -> object:
        """The type of the callers who fulfil it."""
        if not self.accepts_tokens:
            return ProductCaller
        return Caller if self.accepts_secret_key else UserCaller

    @property
    def caller_label(self) -> str:
        """A short label for operations that require no permission."""
        return "signed in" if self.accepts_tokens else "the organisation's secret key"

    @property
    def description(self) -> str:
        """The required caller, in sentences."""
        if not self.accepts_tokens:
            return "Requires the organisation's secret key."
        if self.permission is None:
            return f"Requires a signed-in user.{self._trust_description}"
        product = "Accepts the organisation's secret key. " if self.accepts_secret_key else ""
        customers = "" if self.accepts_customers else " Customers cannot call it."
        needed = " and ".join(f"`{one}`" for one in self.permissions)
        plural = "s" if len(self.permissions) > 1 else ""
        return f"{product}Users need the permission{plural} {needed}.{customers}{self._trust_description}"

    @property
    def credentials(self) -> list[dict[str, list[str]]]:
        """OpenAPI's `security`: any one of these is enough."""
        found: list[dict[str, list[str]]] = [{SECRET_SCHEME: []}] if self.accepts_secret_key else []
        found += [{TOKEN_SCHEME: []}] if self.accepts_tokens else []
        return [*found, {}] if self.secret_in_body else found  # OpenAPI cannot describe a secret key in the body

    @property
    def challenge(self) -> str:
        """The `WWW-Authenticate` of the operation."""
        accepted = [DEFAULT_CHALLENGE] if self.accepts_tokens else []
        return ", ".join([*accepted, _KEY_CHALLENGE] if self.accepts_secret_key else accepted)

    @property
    def errors(self) -> tuple[type[TesseraError], ...]:
        """The errors that it can raise."""
        found: list[type[TesseraError]] = [MissingCredential, InvalidToken, InvalidSecretKey]
        found += [SecretKeyMismatch] if self.secret_in_body else []
        found += [] if self.accepts_secret_key else [AccessTokenRequired]
        found += [] if self.accepts_tokens else [SecretKeyRequired]
        found += [PermissionRequired] if self.accepts_tokens and self.permission else []
        found += [] if self.accepts_customers or not self.accepts_tokens else [NotForCustomers]
        found += [SecondFactorRequired] if self.accepts_tokens and not self.before_second_factor else []
        found += [] if self.admin is Applies.NEVER else [AdminRequired]
        found += [] if self.fresh is Applies.NEVER else [ReauthenticationRequired]
        return tuple(found)


class RefreshTokenRequirement(Requirement):
    """Require a signed-in user, or a refresh token in the body, which the operation checks itself."""

    def __init__(self) -> None:
        super().__init__(before_second_factor=True)

    async def _identify(self, request: Request) -> Caller | None:  # type: ignore[override]
        has_refresh_token = isinstance(body := await read_json(request), dict) and "refreshToken" in body
        try:
            return await super()._identify(request)
        except (Unauthenticated, Forbidden):
            if has_refresh_token:
                await take_turn_of_network(request)
                return None
            raise

    @property
    def caller_type(self) -> object:
        """The type of the callers who fulfil it."""
        return UserCaller | None

    @property
    def description(self) -> str:
        """The required caller, in sentences."""
        return "Requires a signed-in user, or a refresh token in the body."

    @property
    def credentials(self) -> list[dict[str, list[str]]]:
        """OpenAPI's `security`: the access token is optional, since OpenAPI cannot describe a token in the body."""
        return [*super().credentials, {}]


def requires(
    resource: Resource,
    action: Action,
    *,
    also: tuple[Resource, Action] | None = None,
    secret: bool = False,
    secret_in_body: bool = False,
    customers: bool = False,
    admin: Applies = Applies.NEVER,
    fresh: Applies = Applies.NEVER,
) -> Any:
    """Require a permission of the users who call an operation. See `Requirement` for the arguments.

    Annotate the endpoint's `caller` as `UserCaller`, or as `Caller` with `secret`. `check_callers` verifies this at
    start-up.
    """
    return Depends(
        Requirement(
            (resource, action),
            also=also,
            secret=secret,
            secret_in_body=secret_in_body,
            customers=customers,
            admin=admin,
            fresh=fresh,
        )
    )


# Any signed-in user. The operation concerns only the caller.
CurrentUser = Annotated[UserCaller, Depends(Requirement())]
# The same, including users who have yet to set up a mandatory second factor.
CurrentUserBefore2FA = Annotated[UserCaller, Depends(Requirement(before_second_factor=True))]
# The same, with a fresh sign-in.
FreshUserBefore2FA = Annotated[UserCaller, Depends(Requirement(before_second_factor=True, fresh=Applies.ALWAYS))]
# Any signed-in user, for an operation of which some changes require a fresh sign-in.
CurrentUserSometimesFresh = Annotated[UserCaller, Depends(Requirement(fresh=Applies.SOMETIMES))]
# As `CurrentUserBefore2FA`, or `None`: then the body must have the refresh token of a session.
CurrentUserOrNone = Annotated[UserCaller | None, Depends(RefreshTokenRequirement())]
# A product of the organisation, by the secret key in the header or in the body.
Product = Annotated[ProductCaller, Depends(Requirement(users=False, secret=True, secret_in_body=True))]


def find_identified_caller(request: Request) -> Caller | None:
    """Return the caller of a request; `None` if it was not identified."""
    cached: tuple[Requirement, Caller | None] | None = request.scope.get(_CALLER)
    return cached[1] if cached else None


def get_requirement(endpoint: Endpoint) -> Requirement:
    """Return the requirement that an endpoint declares.

    Raises:
        TypeError: the endpoint declares no requirement, or several.
    """
    found = find_declaration(endpoint)
    if not isinstance(found, Requirement):
        raise TypeError(f"{endpoint.__qualname__} declares no requirement of its caller")
    return found
