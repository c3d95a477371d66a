"""The texts of mails."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import jinja2
import pytest

from app.notifications import rendering
from app.notifications.rendering import render
from app.notifications.texts import isolate

COMMON = {"organisation": "Growfin", "support_email": "help@growfin.com"}
TICKET = {"reference": "GRO-12", "title": "Export fails"}
CLOSING = datetime(2026, 12, 21, 14, 5, tzinfo=ZoneInfo("Europe/Berlin"))
LINK = {"link": "https://link.invalid/", "expires_at": CLOSING}
DESK = "https://desk.growfin.com"
CHINESE = "您好 " + "我无法登录系统，请帮忙处理。" * 60  # noqa: RUF001
TICKETS: dict[str, dict[str, Any]] = {
    "ticket_responded": TICKET
    | {"message": "Try again.", "author": "Ada Lovelace", "auto_close_at": CLOSING, "contact_url": DESK},
    "ticket_assigned": TICKET
    | {
        "first_name": "Grace",
        "description": "It stops at 99 %.",
        "priority": "HIGH",
        "requester": "ann@customer.example",
        "ticket_url": f"{DESK}/tickets/12",
    },
    "ticket_closing_soon": TICKET | {"auto_close_at": CLOSING, "contact_url": DESK},
}
ACCOUNTS: dict[str, dict[str, Any]] = {
    "verify_email": LINK,
    "change_email": LINK,
    "reset_password": LINK,
    "invitation": LINK,
    "verify_domain": LINK | {"domain": "growfin.com"},
    "domain_lost": {"domain": "growfin.com", "new_domain": "1.displaced.invalid"},
    "sign_up_requested": {"role": "ENGINEER", "name": "Bo Ek", "email": "bo@growfin.test", "verified": False},
    "account_approved": {},
    "account_rejected": {"reason": "We do not know you."},
    "email_claimed": {"invited": False},
    "email_changed": {"new_email": "g•••@growfin.com"},
    "password_changed": {},
    "second_factor_enabled": {},
    "second_factor_disabled": {},
    "session_revoked": {},
    "trust_changed": {
        "user": "Ada Lovelace (0190b8e5-0000-7000-8000-000000000001)",
        "changes": "appUrl: none → https://desk.growfin.com\nrequire2fa: no → yes",
        "client": "Mozilla/5.0 (X11), 198.51.100.7",
        "changed_at": CLOSING,
    },
    "identity_linked": {"provider": "google"},
}
CONTEXTS = TICKETS | ACCOUNTS
TEMPLATES = list(CONTEXTS)
LINKS = [template for template, context in ACCOUNTS.items() if LINK.items() <= context.items()]


def make_context(template: str, **changes: Any) -> dict[str, Any]:
    return COMMON | CONTEXTS[template] | changes


class _Shape(HTMLParser):
    """Parse the tags and the text of a page, as a mail program does. A tag that is not closed is an error."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.addresses: list[str] = []
        self.text = ""
        self.feed(html)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.addresses += [value or "" for name, value in attrs if name in {"src", "href", "background"}]
        if tag not in {"meta", "br"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_a_reply_names_its_author_and_when_the_ticket_closes() -> None:
    mail = render("ticket_responded", make_context("ticket_responded"))

    assert mail.subject == "[GRO-12] Export fails"
    for body in (mail.text, _Shape(mail.html).text):
        for part in ("GRO-12", "Export fails", "Try again.", "Ada Lovelace of Growfin", "help@growfin.com"):
            assert part in body
        assert "will close automatically on 21 December 2026, 14:05 UTC+01:00" in body


def test_an_assignment_names_the_ticket_and_the_requester() -> None:
    mail = render("ticket_assigned", make_context("ticket_assigned"))

    assert mail.subject == "[GRO-12] Export fails"
    for body in (mail.text, _Shape(mail.html).text):
        for part in ("Hello Grace", "GRO-12", "Export fails", "High", "It stops at 99 %.", "ann@customer.example"):
            assert part in body


def test_a_reminder_says_when_the_ticket_closes() -> None:
    mail = render("ticket_closing_soon", make_context("ticket_closing_soon"))

    assert mail.subject == "[GRO-12] Export fails"
    for body in (mail.text, _Shape(mail.html).text):
        assert "will close automatically on 21 December 2026, 14:05 UTC+01:00" in body


def test_a_reply_to_a_ticket_that_stays_open_names_no_date() -> None:
    mail = render("ticket_responded", make_context("ticket_responded", auto_close_at=None))

    assert "close" not in mail.text + mail.html


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_mail_without_a_support_address_invites_no_questions(template: str) -> None:
    mail = render(template, make_context(template, support_email=None))

    assert "Questions" not in mail.text + mail.html
    assert "None" not in mail.text + mail.html


@pytest.mark.parametrize(
    ("template", "key"),
    [
        (template, key)
        for template in TEMPLATES
        for key, value in make_context(template).items()
        if isinstance(value, str)
    ],
)
def test_tenants_texts_are_escaped_in_html_only(template: str, key: str) -> None:
    evil = "<script>alert('&amp;')</script><a href=\"//evil.example\">{{ 7 * 7 }}"
    harmless = _Shape(render(template, make_context(template)).html)

    mail = render(template, make_context(template, **{key: evil}))

    # `priority` is shown capitalised, so upper and lower case are not told apart.
    page = _Shape(mail.html)
    assert evil.lower() in page.text.lower()
    assert page.tags == harmless.tags
    assert evil.lower() in (mail.subject + mail.text).lower()


@pytest.mark.parametrize("template", TEMPLATES)
def test_the_html_loads_nothing_from_elsewhere(template: str) -> None:
    page = _Shape(render(template, make_context(template)).html)

    links = ("link", "ticket_url", "contact_url")
    assert page.addresses == [make_context(template)[key] for key in links if key in make_context(template)]
    assert page.tags.isdisjoint({"img", "script", "style", "link", "iframe"})
    assert "url(" not in render(template, make_context(template)).html


@pytest.mark.parametrize("template", ACCOUNTS)
def test_a_name_with_line_breaks_makes_a_subject_of_one_line(template: str) -> None:
    mail = render(template, make_context(template, organisation="Grow\r\nBcc: eve@evil.example"))

    assert mail.subject.startswith("[Grow Bcc: eve@evil.example] ")
    assert "\nBcc:" not in mail.text


@pytest.mark.parametrize("template", LINKS)
def test_a_mail_with_a_link_has_it_and_its_expiry_in_both_parts(template: str) -> None:
    mail = render(template, make_context(template))

    assert "\nhttps://link.invalid/\n" in mail.text
    assert _Shape(mail.html).text.count("https://link.invalid/") == 1
    for body in (mail.text, _Shape(mail.html).text):
        assert "The link works once, until 21 December 2026, 14:05 UTC+01:00." in body


@pytest.mark.parametrize("template", TICKETS)
def test_a_title_with_line_breaks_makes_a_subject_of_one_line(template: str) -> None:
    mail = render(template, make_context(template, title="Export\r\nBcc: eve@evil.example\u2028fails\x00"))

    assert mail.subject.endswith("Export Bcc: eve@evil.example fails")
    assert "\nBcc:" not in mail.text


@pytest.mark.parametrize(
    ("template", "key"), [(template, key) for template in TEMPLATES for key in make_context(template)]
)
def test_every_key_is_required(template: str, key: str) -> None:
    context = make_context(template)
    del context[key]

    with pytest.raises(jinja2.UndefinedError, match=key):
        render(template, context)


def test_line_breaks_of_a_reply_are_kept() -> None:
    mail = render("ticket_responded", make_context("ticket_responded", message="First <1>\n\nThird"))

    assert "First <1>\n\nThird" in mail.text
    assert "First &lt;1&gt;<br>\n<br>\nThird" in mail.html


@pytest.mark.parametrize(
    ("description", "shown"),
    [
        ("word " * 4000, ("word " * 100).rstrip() + "…"),
        (CHINESE, CHINESE[:500] + "…"),
        ("Hello " + "x" * 900, "Hello " + "x" * 494 + "…"),
        ("See https://files.example/" + "y" * 600, "See https://files.example/" + "y" * 474 + "…"),
        ("x" * 499 + "e\u0301" * 9, "x" * 499 + "…"),
        ("👨\u200d👩\u200d👧\u200d👦" * 300, "👨\u200d👩\u200d👧\u200d👦" * 71 + "…"),
        ("🇩🇪" * 400, "🇩🇪" * 250 + "…"),
        ("x" * 500, "x" * 500),
        ("z" + "\u0316" * 1500, "z" + "\u0316" * 499 + "…"),
    ],
)
def test_a_long_description_is_shown_in_part(description: str, shown: str) -> None:
    mail = render("ticket_assigned", make_context("ticket_assigned", description=description))

    assert f"\n\n{shown}\n" in mail.text
    assert f">{shown}</div>" in mail.html


@pytest.mark.parametrize(
    ("changes", "way"),
    [
        ({}, f"Otherwise, write to help@growfin.com or visit {DESK} before then."),
        ({"contact_url": None}, "Otherwise, write to help@growfin.com before then."),
        ({"support_email": None}, f"Otherwise, visit {DESK} before then."),
        ({"support_email": None, "contact_url": None}, "Otherwise, contact Growfin before then."),
    ],
)
def test_a_reminder_says_only_what_the_reader_can_do(changes: dict[str, Any], way: str) -> None:
    mail = render("ticket_closing_soon", make_context("ticket_closing_soon", **changes))

    for body in (mail.text, _Shape(mail.html).text):
        assert way in body
        assert "reply " not in body.replace("our reply ", "")


ARABIC = "تم إصلاح الخطأ 404 في النظام."


def test_a_message_has_its_own_direction() -> None:
    mail = render("ticket_responded", make_context("ticket_responded", message=f"{ARABIC}\nDone", title=ARABIC))

    assert mail.subject == f"[GRO-12] \u2068{ARABIC}\u2069"
    assert f"\n\u2068{ARABIC}\u2069\nDone\n" in mail.text
    assert f'"\u2068{ARABIC}\u2069":' in mail.text
    assert re.search(rf'<div dir="auto"[^>]*>{ARABIC}<br>\nDone</div>', mail.html)
    assert re.search(rf'<h1 dir="auto"[^>]*>{ARABIC}</h1>', mail.html)


@pytest.mark.parametrize("template", TEMPLATES)
def test_the_organisations_name_is_isolated(template: str) -> None:
    mail = render(template, make_context(template, organisation="شركة"))

    for body in (mail.subject, mail.text):
        assert body.count("شركة") == body.count("\u2068شركة\u2069")


@pytest.mark.parametrize(
    ("text", "isolated"),
    [
        ("gnp.exe", "gnp.exe"),
        ("Grüße 😀 42", "Grüße 😀 42"),
        ("\u202egnp.exe", "\u2068\u202egnp.exe\u2069"),
        ("a\u2069b", "\u2068ab\u2069"),
        ("a\u2067b", "\u2068a\u2067b\u2069\u2069"),
        ("a\u2067b\u2069\u2069c", "\u2068a\u2067b\u2069c\u2069"),
    ],
)
def test_no_text_can_leave_its_isolate(text: str, isolated: str) -> None:
    assert isolate(text) == isolated


@pytest.mark.parametrize(
    ("zone", "shown"),
    [
        (UTC, "1 March 2027, 09:00 UTC."),
        (timezone(timedelta(hours=-3, minutes=-30)), "1 March 2027, 09:00 UTC-03:30."),
        (ZoneInfo("Asia/Kolkata"), "1 March 2027, 09:00 UTC+05:30."),
    ],
)
def test_times_have_their_offset(zone: Any, shown: str) -> None:
    closing = datetime(2027, 3, 1, 9, 0, tzinfo=zone)

    assert shown in render("ticket_closing_soon", make_context("ticket_closing_soon", auto_close_at=closing)).text


def test_a_time_without_a_zone_is_refused() -> None:
    naive = CLOSING.replace(tzinfo=None)

    with pytest.raises(ValueError, match="time zone"):
        render("ticket_closing_soon", make_context("ticket_closing_soon", auto_close_at=naive))


@pytest.mark.parametrize("name", ["no_such", "../layout", "/etc/passwd"])
def test_an_unknown_template_is_refused(name: str) -> None:
    with pytest.raises(jinja2.TemplateNotFound):
        render(name, make_context("ticket_responded"))


def test_every_template_is_tested() -> None:
    layouts = {"layout", "ticket", "account", "link", "contact"}
    folder = Path(rendering.__file__).parent / "templates"

    assert {path.stem for path in folder.iterdir()} - layouts == set(TEMPLATES)
    assert {path.name for path in folder.iterdir()} >= {f"{t}.{kind}" for t in TEMPLATES for kind in ("txt", "html")}
