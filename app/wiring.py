"""Everything that happens automatically: reactions, subscribers, timers and channels, on one page."""

from __future__ import annotations

from functools import partial

from app.accounts.roles.events import RoleUpdated
from app.accounts.single_use_links.events import LinkRequested
from app.accounts.users.events import (
    EmailChanged,
    EmailVerified,
    UserApproved,
    UserBecameAvailable,
    UserErased,
    UserInvitationCancelled,
    UserPermissionsChanged,
    UserReactivated,
    UserRoleChanged,
    UserSignedUp,
    UserSuspended,
    UserUpdated,
)
from app.accounts.users.jobs import INDEX_USERS, resume_indexing_users
from app.accounts.users.reactions import refresh_works_on_tickets
from app.authentication.reactions import (
    delete_sign_in_data,
    end_sessions,
    end_sessions_after_demotion,
    end_sessions_after_reset,
)
from app.authentication.second_factor.events import SecondFactorDisabled
from app.core.config import Settings
from app.core.database.pool import Database
from app.core.outbox.channels import Channels
from app.core.outbox.numbering import Numbering
from app.core.outbox.relay_retries import RELAY_RETRY, make_retry_handler
from app.core.outbox.subscriptions import Reactions, Subscribers
from app.core.outbox.timers import Handlers
from app.menus import events as _menu_events  # noqa: F401 - every process reads every event
from app.menus.reactions import seed_menus
from app.notifications.account_mails import (
    ACCOUNT_NOTICES,
    mail_account_notices,
    mail_domain_loss,
    mail_link,
    mail_previous_address,
    mail_sign_up_requests,
)
from app.notifications.channel import make_email_channel
from app.notifications.erasure import erase_mails, erase_mails_of_requester
from app.notifications.links import fill_in_link
from app.notifications.mails import EMAIL
from app.notifications.recipient_limit import limit_recipients
from app.notifications.ticket_mails import mail_new_assignee, mail_reply_to_requester, remind_requester
from app.notifications.trust_mails import mail_domain_proof, mail_trusted_changes
from app.organisations.events import (
    OrganisationDomainLost,
    OrganisationDomainVerified,
    OrganisationSignedUp,
    OrganisationUpdated,
)
from app.requesters.events import RequesterErased
from app.requesters.jobs import INDEX_REQUESTERS, resume_indexing_requesters
from app.requesters.reactions import erase_requesters, follow_account, follow_name
from app.tickets.assignment.backlog import (
    assign_backlog_on_availability,
    assign_backlog_on_role_update,
    assign_backlog_on_sign_up,
    resume_assigning,
)
from app.tickets.assignment.rules import ASSIGN
from app.tickets.auto_close.jobs import close_responded, remind_requesters
from app.tickets.auto_close.rules import AUTO_CLOSE, AUTO_CLOSE_REMINDER
from app.tickets.dates import set_comment_times, set_ticket_times
from app.tickets.events import (
    TicketAssigned,
    TicketChangeEvent,
    TicketClosingSoon,
    TicketCreated,
    TicketResponded,
    TicketUpdated,
)
from app.tickets.requester_locks import lock_requesters
from app.tickets.search.jobs import index_replies, index_tickets, resume_indexing
from app.tickets.search.rules import INDEX_TICKETS
from app.tickets.user_changes.unassigning import (
    UNASSIGN_LATE_TICKETS,
    UNASSIGN_LATE_TICKETS_OF_ROLE,
    UNASSIGN_TICKETS,
    UNASSIGN_TICKETS_OF_ROLE,
    resume_unassigning,
    resume_unassigning_of_role,
    unassign_tickets,
    unassign_tickets_of_role,
)

# Event -> what must be done before the client has its response. Runs in the transaction of the event.
REACTIONS = (
    Reactions()
    .on(UserSignedUp, assign_backlog_on_sign_up)
    .on(UserBecameAvailable, assign_backlog_on_availability)
    .on(UserApproved, follow_account)
    .on(UserReactivated, follow_account)
    .on(UserSuspended, end_sessions, unassign_tickets)
    .on(UserRoleChanged, end_sessions_after_demotion, unassign_tickets)
    .on(UserPermissionsChanged, unassign_tickets)
    # In this order: users are updated, and locked, before tickets are taken from them or assigned to them.
    .on(RoleUpdated, refresh_works_on_tickets, unassign_tickets_of_role, assign_backlog_on_role_update)
    .on(EmailVerified, follow_account)
    .on(EmailChanged, mail_previous_address)
    .on(UserUpdated, follow_name)
    .on(RequesterErased, erase_mails_of_requester)
    .on(UserInvitationCancelled, erase_mails)
    .on(UserErased, delete_sign_in_data, erase_requesters, unassign_tickets, erase_mails)
    .on(SecondFactorDisabled, end_sessions_after_reset)
    .on(OrganisationSignedUp, seed_menus)
    .on(OrganisationUpdated, mail_trusted_changes)
    .on(OrganisationDomainVerified, mail_domain_proof)
)

# Event -> what gives rows the time of the event. Runs under the lock of the organisation's counter.
TIME_SETTERS = Subscribers().on(TicketChangeEvent, set_ticket_times).on(TicketResponded, set_comment_times)

# Event -> what follows from it within a second. Runs in the worker.
SUBSCRIBERS = (
    Subscribers()
    # First, for all events: the others lock requesters too.
    .on(TicketCreated, lock_requesters, index_tickets)
    .on(TicketUpdated, lock_requesters, index_tickets)
    .on(TicketResponded, lock_requesters, mail_reply_to_requester, index_replies)
    .on(TicketAssigned, lock_requesters, mail_new_assignee)
    .on(TicketClosingSoon, lock_requesters, remind_requester)
    .on(LinkRequested, mail_link)
    .on(UserSignedUp, mail_sign_up_requests)
    .on(OrganisationDomainLost, mail_domain_loss)
)
for _notice in ACCOUNT_NOTICES:
    SUBSCRIBERS.on(_notice, mail_account_notices)

# Runs at the end of every session, before it commits.
NUMBERING = Numbering(REACTIONS, TIME_SETTERS)
# For the demo: its scripts already contain the effects of reactions. It still numbers and writes events.
NUMBERING_WITHOUT_REACTIONS = Numbering(time_setters=TIME_SETTERS)

# Kind of timer -> what happens when it is due. These run on the organisation's clock, which a sandbox can move…
TICKET_TIMERS: Handlers = {
    AUTO_CLOSE: close_responded,
    AUTO_CLOSE_REMINDER: remind_requesters,
}

# …and these on real time.
TIMERS: Handlers = {
    **TICKET_TIMERS,
    ASSIGN: resume_assigning,
    UNASSIGN_TICKETS: resume_unassigning,
    UNASSIGN_LATE_TICKETS: resume_unassigning,
    UNASSIGN_TICKETS_OF_ROLE: resume_unassigning_of_role,
    UNASSIGN_LATE_TICKETS_OF_ROLE: resume_unassigning_of_role,
    INDEX_TICKETS: resume_indexing,
    INDEX_USERS: resume_indexing_users,
    INDEX_REQUESTERS: resume_indexing_requesters,
    RELAY_RETRY: make_retry_handler(SUBSCRIBERS),
}


def make_channels(settings: Settings) -> Channels:
    """Make the channels that send deliveries, by name."""
    assert settings.secret_key is not None
    complete = partial(fill_in_link, public_url=settings.base_url, secret_key=settings.secret_key)
    email = make_email_channel(
        smtp_url=settings.smtp_url,
        mail_from=settings.mail_from,
        mail_dir=settings.mail_dir,
        connections=settings.smtp_connections,
        complete=complete,
    )
    return {EMAIL.name: limit_recipients(email, settings.unproved_mail_limit)}


def make_database(settings: Settings, *, pool_size: int | None = None) -> Database:
    """Make the connection pool of a process, whose transactions run the reactions.

    Args:
        pool_size: the number of connections, if it is not the one in the settings.

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
        transaction_pooler=settings.has_transaction_pooler,
        before_commit=NUMBERING,
    )
