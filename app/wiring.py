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
from app.accounts.users.reactions import refresh_works_on_tickets
from app.authentication.reactions import delete_sign_in_data, end_sessions, end_sessions_after_reset
from app.authentication.second_factor.events import SecondFactorDisabled, SecondFactorEnabled
from app.authentication.sessions.events import SessionRevoked
from app.authentication.social.events import IdentityLinked
from app.core.config import Settings
from app.core.database.pool import Database
from app.core.outbox.channels import Channels
from app.core.outbox.numbering import Numbering
from app.core.outbox.relay import RELAY_RETRY, retry
from app.core.outbox.subscriptions import Reactions, Subscribers
from app.core.outbox.timers import Handlers
from app.menus import events as _menu_events  # noqa: F401 - every process reads every event
from app.menus.jobs import seed_menus
from app.notifications.account_mails import mail_link, mail_news, mail_sign_up_requests, mail_the_old_address
from app.notifications.channel import email_channel
from app.notifications.erasure import forget_mails
from app.notifications.links import with_link
from app.notifications.mails import EMAIL
from app.notifications.ticket_mails import mail_answer_to_requester, mail_new_assignee, remind_requester
from app.organisations.events import OrganisationSignedUp
from app.tickets.assignment.backlog import (
    assign_backlog_to_new_user,
    assign_backlog_to_role,
    assign_backlog_to_user,
    resume_assigning,
)
from app.tickets.assignment.rules import ASSIGN
from app.tickets.auto_close.jobs import close_answered, remind_requesters
from app.tickets.auto_close.rules import AUTO_CLOSE, AUTO_CLOSE_REMINDER
from app.tickets.dates import date_comments, date_tickets
from app.tickets.events import (
    TicketAssigned,
    TicketChangeEvent,
    TicketClosingSoon,
    TicketCreated,
    TicketResponded,
    TicketUpdated,
)
from app.tickets.search.jobs import index_replies, index_tickets, resume_indexing
from app.tickets.search.rules import INDEX_TICKETS
from app.tickets.user_changes.erasing import ERASE_REQUESTER, erase_requester, resume_erasing
from app.tickets.user_changes.linking import LINK_TICKETS, link_tickets, resume_linking
from app.tickets.user_changes.unassigning import (
    UNASSIGN_TICKETS,
    UNASSIGN_TICKETS_OF_ROLE,
    resume_unassigning,
    resume_unassigning_of_role,
    unassign_tickets,
    unassign_tickets_of_role,
)

# What must be true when the request is answered: in the same transaction as the event.
REACTIONS = (
    Reactions()
    .on(UserSignedUp, assign_backlog_to_new_user)
    .on(UserBecameAvailable, assign_backlog_to_user)
    .on(UserApproved, link_tickets)
    .on(UserReactivated, link_tickets)
    .on(UserSuspended, end_sessions, unassign_tickets)
    .on(UserRoleChanged, unassign_tickets)
    .on(UserPermissionsChanged, unassign_tickets)
    # In this order: users are updated, and locked, before tickets are taken from them or assigned to them.
    .on(RoleUpdated, refresh_works_on_tickets, unassign_tickets_of_role, assign_backlog_to_role)
    .on(EmailVerified, link_tickets)
    .on(EmailChanged, mail_the_old_address)
    .on(UserInvitationCancelled, forget_mails)
    .on(UserErased, delete_sign_in_data, erase_requester, unassign_tickets, forget_mails)
    .on(SecondFactorDisabled, end_sessions_after_reset)
    .on(OrganisationSignedUp, seed_menus)
)

# Which rows take the time of the event, once it is known: under the lock of the organisation's counter.
DATED = Subscribers().on(TicketChangeEvent, date_tickets).on(TicketResponded, date_comments)

# What follows from an event, within a second: in the worker.
SUBSCRIBERS = (
    Subscribers()
    .on(TicketCreated, index_tickets)
    .on(TicketUpdated, index_tickets)
    .on(TicketResponded, mail_answer_to_requester, index_replies)
    .on(TicketAssigned, mail_new_assignee)
    .on(TicketClosingSoon, remind_requester)
    .on(LinkRequested, mail_link)
    .on(UserSignedUp, mail_sign_up_requests)
    .on(UserApproved, mail_news)
    .on(UserRejected, mail_news)
    .on(EmailClaimed, mail_news)
    .on(PasswordChanged, mail_news)
    .on(SecondFactorEnabled, mail_news)
    .on(SecondFactorDisabled, mail_news)
    .on(SessionRevoked, mail_news)
    .on(IdentityLinked, mail_news)
)

# What a session does before it commits.
NUMBERING = Numbering(REACTIONS, DATED)
# The same for the demo, which writes all that follows from its events itself.
NUMBERING_WITHOUT_REACTIONS = Numbering(dated=DATED)

# Kind of timer -> what happens when it comes due. These run on the organisation's clock, which a sandbox can move…
TICKET_TIMERS: Handlers = {
    AUTO_CLOSE: close_answered,
    AUTO_CLOSE_REMINDER: remind_requesters,
}

# …and these on real time.
TIMERS: Handlers = {
    **TICKET_TIMERS,
    ASSIGN: resume_assigning,
    LINK_TICKETS: resume_linking,
    UNASSIGN_TICKETS: resume_unassigning,
    UNASSIGN_TICKETS_OF_ROLE: resume_unassigning_of_role,
    ERASE_REQUESTER: resume_erasing,
    INDEX_TICKETS: resume_indexing,
    RELAY_RETRY: retry(SUBSCRIBERS),
}


def channels(settings: Settings) -> Channels:
    """Channel of a delivery -> what sends it."""
    assert settings.secret_key is not None
    complete = partial(with_link, public_url=settings.url, secret_key=settings.secret_key)
    return {
        EMAIL.name: email_channel(
            smtp_url=settings.smtp_url, mail_from=settings.mail_from, mail_dir=settings.mail_dir, complete=complete
        )
    }


def connect(settings: Settings, *, pool_size: int | None = None) -> Database:
    """The pool of a process, as large as the settings say unless told, with the reactions of its transactions.

    Raises:
        UnreachableReaction
    """
    assert settings.database_url is not None
    REACTIONS.check()
    return Database(
        settings.database_url,
        pool_size=pool_size or settings.database_pool_size,
        pool_timeout=settings.database_pool_timeout,
        statement_timeout=settings.statement_timeout,
        before_commit=NUMBERING,
    )
