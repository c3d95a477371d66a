"""The field types: how they normalise values, and which values they refuse."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from app.core.email_addresses import MAX_EMAIL_LENGTH, Domain, Email, normalise_domain, normalise_email
from app.core.fields import LongText, Name, OptionalName, Timestamp, TimeZone, Title, to_rfc3339

ADAPTERS: dict[Any, TypeAdapter[Any]] = {
    kind: TypeAdapter(kind) for kind in (Name, Title, LongText, Email, Domain, TimeZone)
}
TIMESTAMP: TypeAdapter[datetime] = TypeAdapter(Timestamp)
ANY_TEXT = st.text(st.characters(codec=None, exclude_categories=()), max_size=40)


def read(kind: Any, value: object) -> Any:
    return ADAPTERS[kind].validate_python(value)


def is_refused(kind: Any, value: object) -> bool:
    try:
        read(kind, value)
    except ValidationError:
        return True
    return False


class TestTexts:
    @pytest.mark.parametrize("control", ["\0", "\x07", "\x1b", "\x7f", "\x9f", "\ud800"])
    @pytest.mark.parametrize("kind", [Name, LongText, Email, Domain], ids=["name", "text", "email", "domain"])
    def test_control_characters_and_lone_surrogates_are_refused(self, kind: Any, control: str) -> None:
        text = f"a{control}da@growfin.com" if kind is Email else f"a{control}b"
        assert is_refused(kind, text)
        assert not is_refused(kind, text.replace(control, ""))

    def test_tabs_are_kept_and_newlines_are_unified(self) -> None:
        assert read(LongText, "one\r\ntwo\n\tthree") == "one\ntwo\n\tthree"

    @pytest.mark.parametrize("line_break", ["\r\n", "\r", "\v", "\f", "\x85", "\n"])
    def test_a_pasted_line_break_becomes_a_newline_or_in_one_line_a_space(self, line_break: str) -> None:
        assert read(LongText, f"{line_break}one{line_break}{line_break}two{line_break}") == "one\n\ntwo"
        for kind in (Name, Title):
            assert read(kind, f"{line_break}one{line_break}two{line_break}") == "one two"
        assert read(Email, f"ada@growfin.com{line_break}") == "ada@growfin.com"

    @pytest.mark.parametrize("separator", ["\u2028", "\u2029"])
    def test_one_line_has_no_line_separators(self, separator: str) -> None:
        assert [read(kind, f"one{separator}two") for kind in (Name, Title)] == ["one two"] * 2

    @pytest.mark.parametrize(
        ("kind", "value"),
        [
            (Name, "Ada"),
            (Title, "It broke"),
            (LongText, "All of it"),
            (Email, "ada@growfin.com"),
            (Domain, "growfin.com"),
        ],
    )
    def test_a_leading_byte_order_mark_is_dropped(self, kind: Any, value: str) -> None:
        assert read(kind, f"\ufeff{value}") == value

    @pytest.mark.parametrize(
        ("kind", "value", "message"),
        [
            (LongText, "a\0b", "The control character U+0000 at position 2 is not allowed: remove it."),
            (LongText, "  one\r\n\x1b[0m", "The control character U+001B at position 8 is not allowed: remove it."),
            (Title, "It broke\x9f", "The control character U+009F at position 9 is not allowed: remove it."),
            (Name, "A\ud800", "The lone surrogate U+D800 at position 2 is not allowed: remove it."),
            (Title, "It broke\ufffe", "The noncharacter U+FFFE at position 9 is not allowed: remove it."),
            (LongText, "\ufdd0", "The noncharacter U+FDD0 at position 1 is not allowed: remove it."),
            (LongText, "a\U0010ffff", "The noncharacter U+10FFFF at position 2 is not allowed: remove it."),
            (Title, "txt.\u202eexe", "The direction override U+202E at position 5 is not allowed: remove it."),
            (Name, "Ada\u2066", "The direction override U+2066 at position 4 is not allowed: remove it."),
            (Email, "\u202dada@growfin.com", "The direction override U+202D at position 1 is not allowed: remove it."),
        ],
    )
    def test_the_message_names_the_character_and_its_position(self, kind: Any, value: str, message: str) -> None:
        with pytest.raises(ValidationError, match=re.escape(message)):
            read(kind, value)

    def test_a_text_of_several_lines_may_change_its_direction(self) -> None:
        assert read(LongText, "a \u2067b\u2069 c") == "a \u2067b\u2069 c"

    def test_a_text_is_trimmed_before_its_length_is_checked(self) -> None:
        assert read(Name, f"  {'x' * 100}\n ") == "x" * 100
        assert is_refused(Name, "x" * 101)
        assert is_refused(Name, " \t\n")
        assert read(LongText, "y" * 20_000) == "y" * 20_000
        assert is_refused(LongText, "y" * 20_001)

    @pytest.mark.parametrize("value", [None, 1, True, 1.5, [], {}])
    def test_values_of_other_types_are_refused(self, value: object) -> None:
        assert is_refused(Name, value)


class TestEmail:
    @pytest.mark.parametrize(
        ("written", "stored"),
        [
            ("Ada@GrowFin.COM", "ada@growfin.com"),
            ("  ada@growfin.com ", "ada@growfin.com"),
            ("ada+desk@localhost.localdomain", "ada+desk@localhost.localdomain"),
            ("ADA@printer.local", "ada@printer.local"),
            ("ZOË@example.com", "zoë@example.com"),
            ("Zoe\u0308@example.com", "zoë@example.com"),
            ("ada@BÜCHER.example", "ada@bücher.example"),
            ("ada@xn--bcher-kva.example", "ada@bücher.example"),
        ],
    )
    def test_an_email_is_stored_in_one_form(self, written: str, stored: str) -> None:
        assert read(Email, written) == stored

    @pytest.mark.parametrize(
        "value",
        ["ada", "@growfin.com", "ada@", "a da@growfin.com", "ada@growfin..com", "ada@-growfin.com", "a@b@c.com",
         "Ada <ada@growfin.com>", "ada@growfin.com\nBcc: x@y.com", "ada@[127.0.0.1]", "ada@127.0.0.1", '"a b"@c.com',
         f"ada@{'a' * 64}.com", f"ada@{'a.' * 130}com"],
    )  # fmt: skip
    def test_an_invalid_email_is_refused(self, value: str) -> None:
        assert is_refused(Email, value)

    @settings(max_examples=60, deadline=None)
    @given(st.one_of(ANY_TEXT, st.builds("{}@{}".format, ANY_TEXT, ANY_TEXT), st.emails()))
    def test_a_normalised_email_stays_the_same_when_normalised_again(self, text: str) -> None:
        with suppress(ValueError):
            kept = normalise_email(text)
            assert len(kept) <= MAX_EMAIL_LENGTH
            assert normalise_email(kept) == kept


class TestDomain:
    @pytest.mark.parametrize(
        ("written", "stored"),
        [
            ("GrowFin.COM", "growfin.com"),
            ("growfin.com.", "growfin.com"),
            ("Bücher.example", "xn--bcher-kva.example"),
            ("BU\u0308CHER.example", "xn--bcher-kva.example"),
            ("XN--BCHER-KVA.example", "xn--bcher-kva.example"),
            ("\uff27\uff32\uff2f\uff37\uff26\uff29\uff2e\u3002com", "growfin.com"),
            ("straße.de", "xn--strae-oqa.de"),
            ("9to5.com", "9to5.com"),
        ],
    )
    def test_a_domain_is_stored_in_one_form(self, written: str, stored: str) -> None:
        assert read(Domain, written) == stored

    @pytest.mark.parametrize(
        "value",
        ["", ".", "a..b", "-a.com", "a-.com", "a b.com", "a_b.com", "a.com/x", "a.com:80", "http://a.com", "*.a.com",
         "ada@a.com", "127.0.0.1", "[::1]", "xn--zzzzzz.com", f"{'a' * 64}.com", "a." * 127 + "com", "ü." * 80 + "com"],
    )  # fmt: skip
    def test_an_invalid_domain_is_refused(self, value: str) -> None:
        assert is_refused(Domain, value)

    @settings(max_examples=60, deadline=None)
    @given(st.one_of(ANY_TEXT, st.builds("{}.{}".format, ANY_TEXT, ANY_TEXT), st.text(max_size=300)))
    def test_a_normalised_domain_stays_the_same_when_normalised_again(self, text: str) -> None:
        with suppress(ValueError):
            kept = normalise_domain(text)
            assert kept.isascii()
            assert kept == kept.lower()
            assert normalise_domain(kept) == kept


class TestTimes:
    def test_a_time_is_converted_to_utc(self) -> None:
        assert TIMESTAMP.validate_python("2026-03-01T12:00:00+02:00") == datetime(2026, 3, 1, 10, tzinfo=UTC)

    @pytest.mark.parametrize(
        "value",
        ["2026-03-01T12:00:00", "yesterday", "9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00",
         "9500-01-01T00:00Z", "1969-12-31T23:59:59Z", "2026-02-30T00:00:00Z", 1e300, float("nan"), 2**70, None],
    )  # fmt: skip
    def test_a_time_without_a_zone_or_out_of_range_is_refused(self, value: object) -> None:
        with pytest.raises(ValidationError):
            TIMESTAMP.validate_python(value)

    def test_a_time_is_formatted_in_utc_with_a_z(self) -> None:
        east = datetime(2026, 3, 1, 12, 0, 0, 5, tzinfo=timezone(timedelta(hours=2)))
        assert to_rfc3339(east) == "2026-03-01T10:00:00.000005Z"

    @pytest.mark.parametrize("value", ["Europe/Berlin", "UTC", "America/Argentina/Ushuaia"])
    def test_zones_of_the_iana_database_are_accepted(self, value: str) -> None:
        assert read(TimeZone, value) == value

    @pytest.mark.parametrize("value", ["", "Berlin", "europe/berlin", "../../etc/passwd", "+02:00", "x" * 65, "\0"])
    def test_other_zone_names_are_refused(self, value: str) -> None:
        assert is_refused(TimeZone, value)


@pytest.mark.parametrize("name", ["\u200b", "\u2060\u00ad", "\u0301", "\u202eadA", "Ada\u2066"])
def test_a_name_needs_visible_characters_and_no_direction_overrides(name: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Name).validate_python(name)


@pytest.mark.parametrize("name", ["Ada", "李", "أمل", "O\u2019Neill", "e\u0301", "👩\u200d🚀"])
def test_names_in_any_script_are_accepted(name: str) -> None:
    assert TypeAdapter(Name).validate_python(name) == name


_ODD_TEXTS = st.lists(
    st.sampled_from(["a", " ", "\ufeff", "\n", "\r", "\r\n", "\x0b", "\x85", "\u2028", "\u3000", "\t", "\u200b"]),
    max_size=6,
)


@given(text=st.one_of(st.text(max_size=30), _ODD_TEXTS.map("".join)))
@pytest.mark.parametrize("kind", [Name, OptionalName, Title, LongText])
def test_a_text_that_was_accepted_stays_the_same_when_it_is_sent_back(kind: Any, text: str) -> None:
    field: TypeAdapter[str] = TypeAdapter(kind)
    try:
        accepted = field.validate_python(text)
    except ValidationError:
        return
    assert field.validate_python(accepted) == accepted
