"""The schemas of a ticket's history: one for each event, made from the catalogue."""

from __future__ import annotations

from functools import reduce
from operator import or_
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import MISSING, BaseModel, Field, create_model

from app.core.fields import EXAMPLE_ID, ResponseModel, UtcTimestamp
from app.core.outbox.events import ActorType, get_data_model, list_event_classes
from app.core.web.paging import CountedPage
from app.tickets.auto_close.rules import AUTO_CLOSE
from app.tickets.events import TicketEvent, TicketStatusChanged
from app.tickets.models import TicketStatus


class EventActor(ResponseModel):
    """Who caused an event: a user, the organisation's product, or Tessera itself."""

    type: Annotated[ActorType, Field(description="The kind of actor.")]
    id: Annotated[UUID | MISSING, Field(description="The id of the user or organisation.", examples=[EXAMPLE_ID])] = (
        MISSING
    )
    email: Annotated[
        str | MISSING | None, Field(description="The user's e-mail address.", examples=["ada@growfin.com"])
    ] = MISSING
    first_name: Annotated[str | MISSING | None, Field(description="The user's first name.", examples=["Ada"])] = MISSING
    last_name: Annotated[str | MISSING | None, Field(description="The user's last name.", examples=["Lovelace"])] = (
        MISSING
    )


_EXAMPLE = {
    "id": EXAMPLE_ID,
    "seq": 7,
    "type": TicketStatusChanged.type,
    "actor": {"type": ActorType.SYSTEM.value},
    "data": {
        TicketStatusChanged.get_stored_name("from_status"): TicketStatus.RESPONDED.value,
        TicketStatusChanged.get_stored_name("to_status"): TicketStatus.CLOSED.value,
        TicketStatusChanged.get_stored_name("reason"): AUTO_CLOSE,
    },
    "createdAt": "2026-03-02T09:30:00.125Z",
}


def _schema_of(event: type[TicketEvent]) -> type[BaseModel]:
    fields: dict[str, Any] = {
        "id": Annotated[UUID, Field(description="The event's id.")],
        "seq": Annotated[int, Field(description="The number of the event: 1, 2, 3… in the organisation.")],
        "type": Annotated[Literal[event.type], Field(description="What happened.")],
        "actor": Annotated[EventActor, Field(description="Who caused it.")],
        "data": Annotated[get_data_model(event), Field(description="What the event is about.")],
        "created_at": Annotated[UtcTimestamp, Field(description="The organisation's time.")],
    }
    return create_model(f"{event.__name__}Event", __base__=ResponseModel, __doc__=event.__doc__, **fields)


# A new event is documented as soon as its class exists.
TICKET_EVENTS = tuple(_schema_of(event) for event in list_event_classes(TicketEvent))
_one_of: Any = reduce(or_, TICKET_EVENTS)
_page: Any = CountedPage

TicketEventPage: type[BaseModel] = create_model(
    "TicketEventPage",
    __base__=_page[Annotated[_one_of, Field(discriminator="type", examples=[_EXAMPLE])]],
    __doc__="A page of what happened, oldest first.",
)
