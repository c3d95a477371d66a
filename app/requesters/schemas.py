"""Define the requests and responses about requesters."""

from __future__ import annotations

from typing import Annotated, Self
from uuid import UUID

from pydantic import MISSING, Field

from app.core.email_addresses import RequesterEmail
from app.core.fields import EXAMPLE_ID, CreatedAt, Locale, Name, RequestModel, ResponseModel
from app.core.web.paging import CountedPageQuery, SearchPage
from app.requesters import models
from app.requesters.changes import RequesterChanges
from app.requesters.fields import ExternalId
from app.requesters.filters import RequesterFilters
from app.requesters.service import RequesterDetails

_NAME = Field(description="The requester's name.", examples=["Mia Chen"])
_LOCALE = Field(description="The language (BCP 47).", examples=["en-GB"])


class Requester(ResponseModel):
    """A person that tickets are opened for."""

    id: Annotated[UUID, Field(description="The requester's id.", examples=[EXAMPLE_ID])]
    email: Annotated[str, Field(description="The requester's e-mail address.", examples=["mia@customer.example"])]
    name: Annotated[str | None, _NAME, Field(description="The requester's name; null if it is not known.")]
    locale: Annotated[str | None, _LOCALE, Field(description="The language (BCP 47); null if it is not known.")]
    external_id: Annotated[
        str | None, Field(description="Your product's own id of the person; null without one.", examples=["c-1042"])
    ]
    user_id: Annotated[
        UUID | None, Field(description="The id of the requester's account; null without one.", examples=[EXAMPLE_ID])
    ]
    created_at: CreatedAt

    @classmethod
    def of(cls, row: models.Requester) -> Self:
        """Make the response from a row."""
        return cls(**{name: getattr(row, name) for name in cls.model_fields})


class RequesterListQuery(RequesterFilters, CountedPageQuery):
    """Select requesters. A repeated filter matches any of its values."""


class RequesterPage(SearchPage[Requester]):
    """A page of requesters."""


class RequesterCreate(RequestModel):
    """A person that tickets are opened for."""

    email: Annotated[
        RequesterEmail,
        Field(description="The e-mail address, to which replies are mailed.", examples=["mia@customer.example"]),
    ]
    name: Annotated[Name | None, _NAME] = None
    locale: Annotated[Locale | None, _LOCALE] = None
    external_id: Annotated[
        ExternalId | None,
        Field(
            description="Your product's own id of the person. A requester with this id gets the address, unless an "
            "account has proved another.",
            examples=["customer-1042"],
        ),
    ] = None

    def details(self) -> RequesterDetails:
        """Return the details that were sent."""
        return RequesterDetails(email=self.email, name=self.name, locale=self.locale, external_id=self.external_id)


class RequesterUpdate(RequestModel):
    """Changes to a requester. Fields that are not sent stay as they are."""

    email: Annotated[
        RequesterEmail | MISSING,
        Field(
            description="The new e-mail address. Not for a requester with an account: the account's address is theirs.",
            examples=["mia@customer.example"],
        ),
    ] = MISSING
    name: Annotated[Name | MISSING | None, _NAME, Field(description="The new name; null for none.")] = MISSING
    locale: Annotated[Locale | MISSING | None, _LOCALE, Field(description="The language (BCP 47); null for none.")] = (
        MISSING
    )
    external_id: Annotated[
        ExternalId | MISSING | None,
        Field(description="Your product's own id of the person; null for none.", examples=["customer-1042"]),
    ] = MISSING

    def changes(self) -> RequesterChanges:
        """Return the fields that were sent."""
        return RequesterChanges(email=self.email, name=self.name, locale=self.locale, external_id=self.external_id)


class RequesterMerge(RequestModel):
    """The requester to merge into."""

    into: Annotated[
        UUID, Field(description="The id of the requester who gets the tickets and stays.", examples=[EXAMPLE_ID])
    ]
