"""The texts of mails: templates, and the context that each of them takes.

All keys of a template are required. Other keys are ignored. All templates take:

- `organisation`: the organisation's name
- `support_email`: the address for questions, or `None`

All mails about a ticket have one subject, so that they form a thread. Their templates also take `reference` and
`title`, which are the ticket's, and:

- `ticket_responded`, to the requester: `message` (the reply), `author` (the author's full name), `auto_close_at`
  (when the ticket closes automatically, or `None` if it does not), `contact_url` (where the requester can turn to
  besides `support_email`, or `None`)
- `ticket_assigned`, to the assignee: `first_name` (the assignee's), `description` (of any length; shown in part),
  `priority` (such as `HIGH`), `requester` (an e-mail address), `ticket_url` (where the assignee can open the ticket, or
  `None`)
- `ticket_closing_soon`, to the requester: `auto_close_at` and `contact_url`

Templates about an account, to its own address, do not contain the user's name: a visitor can sign up with the address
of another person, and with any text as the name:

- `verify_email`, `change_email`, `reset_password` and `invitation`, to the address that the link is for: `link` and
  `expires_at`
- `verify_domain`, to the postmaster of a domain: `link`, `expires_at` and `domain`
- `domain_lost`, to the admins: `domain` and `new_domain`
- `trust_changed`, to the admins: `user` (the name and the id of the user who made the change, or `None` if it was the
  owner of a domain), `changes` (a line for each), `client` and `changed_at`
- `sign_up_requested`, to the admins: `role` (such as `ENGINEER`), `name` and `email` (the user's), and
  `verified` (a `bool`: whether the user has verified the e-mail)
- `account_approved`: nothing more
- `account_rejected`: `reason` (or `None`)
- `email_claimed`, to the owner of an address that another user gave: `invited` (a `bool`: whether the owner has an open
  invitation)
- `email_changed`, to the old address: `new_email` (masked)
- `identity_linked`: `provider` (its name in the settings, such as `google`)
- `password_changed`, `second_factor_enabled`, `second_factor_disabled` and `session_revoked`: nothing more

`auto_close_at` and `expires_at` are aware `datetime`s in the time zone in which they are shown. All other values are
`str` unless stated otherwise. Templates show the texts of others with `isolated`, in one line, or with `isolated_lines`
and, in HTML, in a block with `dir="auto"` (see `texts.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from app.notifications.mime import to_one_line
from app.notifications.texts import isolate, isolate_lines, shorten

ContextValue = str | bool | datetime | None


@dataclass(frozen=True)
class RenderedMail:
    """The texts of a mail. The subject is one line. Values of the context are escaped in `html` only."""

    subject: str
    text: str
    html: str


def render(template: str, context: Mapping[str, ContextValue]) -> RenderedMail:
    """Fill in a template, such as `ticket_responded`.

    Raises:
        jinja2.TemplateNotFound: there is no such template.
        jinja2.UndefinedError: the context lacks a key.
        ValueError: a time has no time zone.
    """
    text = _templates.get_template(f"{template}.txt")
    html = _templates.get_template(f"{template}.html")
    subject = "".join(text.blocks["subject"](text.new_context(dict(context))))
    return RenderedMail(to_one_line(subject), text.render(context), html.render(context))


def _format_moment(value: datetime) -> str:
    """Format a time with its offset: `21 December 2026, 14:05 UTC+01:00`."""
    offset = value.strftime("%z")
    if not offset:
        raise ValueError("a time in a mail needs a time zone")
    zone = "UTC" if value.utcoffset() == timedelta() else f"UTC{offset[:3]}:{offset[3:5]}"
    return f"{value.day} {value:%B %Y, %H:%M} {zone}"


def _isolate(value: object) -> str:
    return isolate(str(value))  # for a missing key, `str` raises


def _isolate_lines(value: object) -> str:
    return isolate_lines(str(value))


def _break_lines(value: str) -> Markup:
    """Convert newlines to `<br>`, since not every mail program supports the style `white-space`."""
    return Markup("<br>\n").join(value.splitlines())


_templates = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=select_autoescape(enabled_extensions=("html",)),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
    auto_reload=False,
)
_templates.filters.update(
    moment=_format_moment, lines=_break_lines, isolated=_isolate, isolated_lines=_isolate_lines, shorten=shorten
)
