"""The texts of e-mails: templates, and what each of them needs to know.

Every key must be given; one that is unknown to the template does no harm. Keys of every template:

- `organisation`: its name
- `support_email`: where questions go, or `None`

Of those about a ticket, besides these two, `reference` and `title`, which are the ticket's, and:

- `ticket_answered`, to the requester: `message` (the answer), `author` (who answered: the full name), `auto_close_at`
  (when the ticket closes by itself if nothing more comes, or `None` if it does not)
- `ticket_assigned`, to the assignee: `first_name` (the assignee's), `description` (of any length; shown in part),
  `priority` (such as `HIGH`), `requester` (an e-mail address)
- `ticket_closing_soon`, to the requester: `auto_close_at`

Of those about an account, which greet nobody by name, since anybody may have given name and address:

- `verify_email`, `change_email`, `reset_password` and `invitation`, to whom the link is for: `link` (in its place) and
  `expires_at`
- `sign_up_requested`, to the admins: `role` (such as `ENGINEER`), which is asked for
- `account_approved`, and `account_rejected` with `reason` (or `None`)
- `email_claimed`, to whoever has an e-mail that somebody else gave: `invited` (a `bool`: whether they have no password)
- `email_changed`, to the old address: `new_email` (enough of it)
- `identity_linked`: `provider` (its name in the settings, such as `google`)
- `password_changed`, `second_factor_enabled`, `second_factor_disabled` and `session_revoked`: nothing more

`auto_close_at` and `expires_at` are aware `datetime`s, in the time zone they are to be shown in; everything else is a
`str` unless it says otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from app.notifications.mime import one_line

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Rendered:
    """A mail's texts. The subject is one line; tenants' texts are escaped in `html` and as they are in `text`."""

    subject: str
    text: str
    html: str


def render(template: str, context: Mapping[str, Any]) -> Rendered:
    """Fill in the template of that name, such as `ticket_answered`.

    Raises:
        jinja2.TemplateNotFound: there is no such template.
        jinja2.UndefinedError: the context lacks a key.
        ValueError: a time has no time zone.
    """
    text = _templates.get_template(f"{template}.txt")
    html = _templates.get_template(f"{template}.html")
    subject = "".join(text.blocks["subject"](text.new_context(dict(context))))
    return Rendered(one_line(subject), text.render(context), html.render(context))


def _moment(value: datetime) -> str:
    """A time for users everywhere: `21 December 2026, 14:05 UTC+01:00`."""
    offset = value.strftime("%z")
    if not offset:
        raise ValueError("a time in a mail needs a time zone")
    zone = "UTC" if value.utcoffset() == timedelta() else f"UTC{offset[:3]}:{offset[3:5]}"
    return f"{value.day} {value:%B %Y, %H:%M} {zone}"


def _one_line(value: object) -> str:
    return one_line(str(value))  # str() of a key that is missing raises, as it should


def _lines(value: str) -> Markup:
    """The text as HTML that breaks its lines where the text does; not every mail program knows `white-space`."""
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
_templates.filters.update(moment=_moment, lines=_lines, one_line=_one_line)
