"""Folding a text and splitting it into words."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.core.words import fold, split_words

TEXT = st.text(st.characters(exclude_categories=["Cs"]))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Export MARCH", "export march"),
        ("  around  ", "around"),
        ("\u00a0around\u2003", "around"),
        ("Ångström", "angstrom"),
        ("A\u030angstro\u0308m", "angstrom"),  # the same with combining marks
        ("naïve café", "naive cafe"),
        ("Straße", "strasse"),
        ("ΠΑΠΑΔΌΠΟΥΛΟΣ", "παπαδοπουλοσ"),
        ("Παπαδόπουλος", "παπαδοπουλοσ"),
        ("İSTANBUL", "istanbul"),
        ("Ёлка", "елка"),
        ("ﬁne", "fine"),
        ("\uff14\uff12", "42"),
        ("x²", "x2"),
        ("日本語", "日本語"),
        ("", ""),
        ("\u00b4", ""),  # an accent alone: a space and a mark
    ],
)
def test_folding_removes_case_accents_and_outer_spaces(text: str, expected: str) -> None:
    assert fold(text) == expected


@given(TEXT)
@example("\x1f around \x1c")
def test_folding_gives_the_same_text_for_any_case(text: str) -> None:
    assert fold(text.casefold()) == fold(text)
    assert fold(text) == fold(text).strip()


@given(st.text(st.characters(max_codepoint=127)))
def test_ascii_letters_are_folded_alike_with_and_without_other_letters(text: str) -> None:
    # A text with only ASCII characters takes another code path.
    assert fold(f"é{text}é") == f"e{text.casefold()}e"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("export the march report", ["export", "the", "march", "report"]),
        ("no, no; never.", ["no", "no", "never"]),
        ("mia.moreau+tag@customer.example", ["mia", "moreau", "tag", "customer", "example"]),
        ("snake_case kebab-case o'neill", ["snake", "case", "kebab", "case", "o", "neill"]),
        ("error 0x1f at 10:42", ["error", "0x1f", "at", "10", "42"]),
        ("/var/log/app.log", ["var", "log", "app", "log"]),
        ("\tfirst\nsecond\u2028third", ["first", "second", "third"]),
        ("日本語 ελληνικα русский", ["日本語", "ελληνικα", "русский"]),
        ("👍🏽 fine", ["fine"]),
        ("!!! --- ___ €", []),
        ("", []),
    ],
)
def test_words_are_runs_of_letters_and_digits(text: str, expected: list[str]) -> None:
    assert split_words(text) == expected


@given(TEXT)
def test_a_word_contains_no_query_syntax(text: str) -> None:
    assert all(word and word.isalnum() for word in split_words(text))
    assert split_words(" ".join(split_words(text))) == split_words(text)
