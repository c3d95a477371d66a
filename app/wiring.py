"""What reacts to what: the whole service's automatic behaviour on one page."""

from __future__ import annotations

from functools import partial

from app.accounts.roles.events import RoleUpdated
from app.accounts.single_use_links.events import LinkRequested
from app.accounts.users.events import (
    EmailChanged,
    EmailClaimed,
    EmailVerified,
    PasswordChanged,
    UserApproved,
    UserBecameAvailable,
    UserErased,
    UserInvitationCancelled,
    UserPermissionsChanged,
    UserReactivated,
    UserRejected,
    UserRoleChanged,
    UserSignedUp,
    UserSuspended,
)
from app.accounts.users.jobs import note_who_works_on_tickets
from app.authentication.second_factor.events import SecondFactorDisabled, SecondFactorEnabled
from app.authentication.sessions.events import SessionRevoked
from app.authentication.social.events import IdentityLinked
from app.core.config import Settings
from app.core.database.pool import Database
from app.core.outbox.deliveries import Channels
from app.core.outbox.events import Reactions
from app.core.outbox.relay import RELAY_RETRY, Subscribers, retry
from app.core.outbox.timers import Handlers
from app.menus.jobs import seed_menus
from app.notifications.account_mails import mail_link, mail_news, mail_sign_up_requests, mail_the_old_address
from app.notifications.drafts import EMAIL
from app.notifications.erasure import forget_mails
from app.notifications.links import with_link
from app.notifications.mail import email_channel
from app.notifications.subscribers import mail_answer_to_requester, mail_new_assignee, remind_requester
from app.organisations.events import OrganisationSignedUp
from app.tickets.events import TICKET_CREATED, TicketAssigned, TicketClosingSoon, TicketResponded, TicketUpdated
from app.tickets.jobs import assign_later, close_answered, give_to_the_newly_available, remind_requesters
from app.tickets.reactions import (
    forget_requester,
    forget_the_rest,
    hand_over,
    hand_over_of_role,
    hand_over_the_rest,
    hand_over_the_rest_of_role,
    link_the_rest,
    link_to_account,
)
from app.tickets.rules import (
    ASSIGN,
    AUTO_CLOSE,
    AUTO_CLOSE_REMINDER,
    FORGET_REQUESTER,
    HAND_OVER,
    HAND_OVER_OF_ROLE,
    LINK_TICKETS,
)
from app.tickets.search.jobs import index_replies, index_tickets, resume_indexing
from app.tickets.search.rules import INDEX_TICKETS

# Event -> what must be true when the request is answered: in the same transaction.
REACTIONS: Reactions = {
    UserSignedUp.type: (give_to_the_newly_available,),
    UserBecameAvailable.type: (give_to_the_newly_available,),
    UserApproved.type: (link_to_account,),
    UserReactivated.type: (link_to_account,),
    UserSuspended.type: (hand_over,),
    UserRoleChanged.type: (hand_over,),
    UserPermissionsChanged.type: (hand_over,),
    # In this order: who works on tickets is noted, and locked, before tickets are taken from them or given to them.
    RoleUpdated.type: (note_who_works_on_tickets, hand_over_of_role, give_to_the_newly_available),
    EmailVerified.type: (link_to_account,),
    EmailChanged.type: (mail_the_old_address,),
    UserInvitationCancelled.type: (forget_mails,),
    UserErased.type: (forget_requester, hand_over, forget_mails),
    OrganisationSignedUp.type: (seed_menus,),
}

# Event -> what follows from it, within a second: in the worker.
SUBSCRIBERS: Subscribers = {
    TICKET_CREATED: (index_tickets,),
    TicketUpdated.type: (index_tickets,),
    TicketResponded.type: (mail_answer_to_requester, index_replies),
    TicketAssigned.type: (mail_new_assignee,),
    TicketClosingSoon.type: (remind_requester,),
    LinkRequested.type: (mail_link,),
    UserSignedUp.type: (mail_sign_up_requests,),
    UserApproved.type: (mail_news,),
    UserRejected.type: (mail_news,),
    EmailClaimed.type: (mail_news,),
    PasswordChanged.type: (mail_news,),
    SecondFactorEnabled.type: (mail_news,),
    SecondFactorDisabled.type: (mail_news,),
    SessionRevoked.type: (mail_news,),
    IdentityLinked.type: (mail_news,),
}

# Kind of timer -> what happens when it comes due. These run on the organisation's clock, which a sandbox can move…
TICKET_TIMERS: Handlers = {
    AUTO_CLOSE: close_answered,
    AUTO_CLOSE_REMINDER: remind_requesters,
}

# …and these on real time.
TIMERS: Handlers = {
    **TICKET_TIMERS,
    ASSIGN: assign_later,
    LINK_TICKETS: link_the_rest,
    HAND_OVER: hand_over_the_rest,
    HAND_OVER_OF_ROLE: hand_over_the_rest_of_role,
    FORGET_REQUESTER: forget_the_rest,
    INDEX_TICKETS: resume_indexing,
    RELAY_RETRY: retry(SUBSCRIBERS),
}


def channels(settings: Settings) -> Channels:
    """Channel of a delivery -> what sends it."""
    assert settings.secret_key is not None
    complete = partial(with_link, public_url=settings.url, secret_key=settings.secret_key)
    return {
        EMAIL: email_channel(
            smtp_url=settings.smtp_url, mail_from=settings.mail_from, mail_dir=settings.mail_dir, complete=complete
        )
    }


def connect(settings: Settings, *, pool_size: int | None = None) -> Database:
    """The pool of a process, as large as the settings say unless told, with the reactions of its transactions."""
    assert settings.database_url is not None
    return Database(
        settings.database_url,
        pool_size=pool_size or settings.database_pool_size,
        pool_timeout=settings.database_pool_timeout,
        statement_timeout=settings.statement_timeout,
        reactions=REACTIONS,
    )
