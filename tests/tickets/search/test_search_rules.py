"""The rules of full-text search: lexemes of tickets, and queries, which PostgreSQL parses."""

from __future__ import annotations

import re
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from sqlalchemy import text as sql
from sqlalchemy.ext.asyncio import AsyncConnection

from app.core.search_texts import MAX_TERMS, Lookup, SearchText
from app.core.words import MAX_WORD_LENGTH
from app.tickets.lists.schemas import TicketListQuery
from app.tickets.search.rules import (
    COMMON_FACTOR,
    MAX_REQUESTERS,
    MAX_WORDS,
    MIN_COMMON,
    NO_COUNTS,
    LexemeCounts,
    describe_limits,
    index_query,
    is_common,
    lexemes,
    match_word,
    query,
    ticket_lexemes,
    word_range,
)

ORG = UUID("0190b8e5-7a3c-7d1e-9f42-3b6adeadbeef")
OWN = "deadbeef"
REQUESTER = UUID("0190b8e5-7a3c-7d1e-9f42-3b6a5c8d1e20")
TEXT = st.text(st.characters(exclude_categories=["Cs"]))


def lexemes_without_prefix(org_id: UUID, *texts: str) -> list[str]:
    """Return the lexemes without the organisation's prefix."""
    prefix, found = org_id.hex[-8:], lexemes(org_id, *texts)
    assert all(one.startswith(prefix) for one in found)
    return [one.removeprefix(prefix) for one in found]


def query_without_prefix(text: str, reference_prefix: str = "GROWFIN") -> str:
    """Return the query without the organisation's prefix of each term."""
    found = query(ORG, text, reference_prefix)
    assert found is not None
    assert found.count("'") == 2 * found.count(f"'{OWN}")
    return found.replace(f"'{OWN}", "'")


# --- lexemes of tickets ----------------------------------------------------------------------------------------------


def test_lexemes_start_with_the_last_eight_digits_of_the_organisation_id() -> None:
    # The first digits are the time of the sign-up, so organisations that sign up at about the same time share them.
    found = ticket_lexemes(ORG, 7, REQUESTER, "It broke")
    assert found == ["deadbeef#7", f"deadbeef@{REQUESTER.hex}", "deadbeefit", "deadbeefbroke"]


def test_lexemes_are_distinct_and_in_order() -> None:
    assert lexemes_without_prefix(ORG, "Export, export!", "The EXPORT of Márch") == ["export", "the", "of", "march"]
    assert lexemes_without_prefix(ORG, "", "!?") == []


def test_an_email_is_split_into_words() -> None:
    assert lexemes_without_prefix(ORG, "mia.moreau@customer.example") == ["mia", "moreau", "customer", "example"]


def test_the_number_lexeme_differs_from_the_word() -> None:
    assert ticket_lexemes(ORG, 42, REQUESTER, "42")[::2] == [f"{OWN}#42", f"{OWN}42"]
    assert lexemes_without_prefix(ORG, "#42") == ["42"]


def test_long_words_are_cut() -> None:
    long = "x" * MAX_WORD_LENGTH

    assert lexemes_without_prefix(ORG, long, f"{long}y", f"{long}z", f"y{long}") == [long, f"y{long[1:]}"]


def test_the_number_of_lexemes_is_limited() -> None:
    text = " ".join(f"w{n}" for n in range(2 * MAX_WORDS))

    found = ticket_lexemes(ORG, 1, REQUESTER, text)
    assert found[2:] == [f"{OWN}w{n}" for n in range(MAX_WORDS - 2)]
    assert len(lexemes_without_prefix(ORG, text)) == MAX_WORDS - 1


@given(st.lists(TEXT))
def test_lexemes_are_distinct_and_of_limited_number(texts: list[str]) -> None:
    found = lexemes_without_prefix(ORG, *texts)

    assert len(found) == len(set(found)) <= MAX_WORDS


# --- queries ---------------------------------------------------------------------------------------------------------


def test_all_terms_must_match_and_long_ones_match_prefixes() -> None:
    assert query(ORG, "Export to CSV", "GROWFIN") == "'deadbeefexport':* & 'deadbeefto' & 'deadbeefcsv':*"
    assert query_without_prefix("ab abc") == "'ab' & 'abc':*"


def test_any_spelling_of_a_term_matches() -> None:
    assert query_without_prefix("Müller's") == ("('mullers':* | 'muellers':* | 'muller' & 's')")
    assert query_without_prefix("登录系") == "'登录' & '录系'"
    assert query_without_prefix("登") == "'登':*"
    assert query_without_prefix("030 12 34") == "('030':* & '12' & '34' | '+0301234':* | '<4321030':*)"


@pytest.mark.parametrize("text", ["", "!!!", "#", "-", "_ __", "' & | ! ( ) : * <->", "\u0301", "€"])
def test_a_text_without_words_gives_no_query(text: str) -> None:
    assert query(ORG, text, "GROWFIN") is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("42", "'42' | '#42'"),
        ("#42", "'42' | '#42'"),
        (" 42 ", "'42' | '#42'"),
        ("\uff14\uff12", "'42' | '#42'"),
        ("0042", "('0042':* | '<2400':*) | '#42'"),
        ("1234", "('1234':* | '<4321':*) | '#1234'"),
        ("GROWFIN-42", "'growfin':* & '42' | '#42' | 'growfin-42'"),
        ("growfin-42", "'growfin':* & '42' | '#42' | 'growfin-42'"),
        ("Growfin-042", "'growfin':* & '042':* | '#42' | 'growfin-42'"),
        ("[GROWFIN-42]", "'growfin':* & '42' | '#42' | 'growfin-42'"),
        ("(#42).", "'42' | '#42'"),
        ("9" * 18, f"'{'9' * 18}':* | '#{'9' * 18}'"),
        ("Re: [GROWFIN-42] Export", "'growfin':* & '42' & 'export':* | '#42' | 'growfin-42'"),
        # These are not numbers of tickets:
        ("9" * 19, f"'{'9' * 19}':*"),
        ("OTHER-42", "'other':* & '42'"),
        ("GROWFIN-", "'growfin':*"),
        ("GROWFIN42", "'growfin42':*"),
        ("GROWFIN 42", "'growfin':* & '42'"),
        ("XGROWFIN-42", "'xgrowfin':* & '42'"),
        ("GROWFIN-42 export", "'growfin':* & '42' & 'export':* | '#42' | 'growfin-42'"),
        ("-42", "'42'"),
        ("##42", "'42'"),
        ("#-42", "'42'"),
        ("4.2", "'4' & '2'"),
        ("42x", "'42x':*"),
        ("٤٢", "'42' | '#42'"),
    ],
)
def test_a_number_or_reference_also_matches_its_ticket(text: str, expected: str) -> None:
    assert query_without_prefix(text) == expected


def test_reference_prefixes_of_any_kind_are_recognised() -> None:
    assert query_without_prefix("1A2B3C-7", "1A2B3C") == "'1a2b3c':* & '7' | '#7' | '1a2b3c-7'"
    assert query_without_prefix("123-7", "123") == "('123':* & '7' | '<7321':*) | '#7' | '123-7'"
    assert query_without_prefix("T-7", "T") == "'t' & '7' | '#7' | 't-7'"
    assert query_without_prefix("TT-7", "T") == "'tt' & '7'"


# --- any search text -------------------------------------------------------------------------------------------------

ANYTHING = TEXT | st.lists(
    st.sampled_from(
        ["'", "''", "\\", "\\'", ":*", ":A", "&", "|", "!", "(", ")", "<->", "<2>", "a", "export", "7", " "]
    ),
    max_size=30,
).map("".join)


@settings(deadline=None, max_examples=300, suppress_health_check=list(HealthCheck))
@given(ANYTHING, st.sampled_from(["GROWFIN", "T", "1234567890"]))
@example("\\", "T")
@example("it's 'quoted' \\' | 'deadbeef", "T")
@example("ﷺ" * 100, "T")
@example("𐍈" * 100, "T")
@example("T-000000000000000000", "T")
async def test_every_valid_text_gives_a_query_within_the_organisation(
    connection: AsyncConnection, text: str, reference_prefix: str
) -> None:
    try:
        asked = TicketListQuery(q=text).q
    except ValidationError:
        return
    assert asked is not None
    org_id = uuid4()
    wanted = query(org_id, asked, reference_prefix)

    if wanted is None:
        assert not SearchText.parse(asked).terms
        return
    async with connection.begin():
        read = await connection.execute(sql("SELECT CAST(CAST(:wanted AS text) AS tsquery)::text"), {"wanted": wanted})
        terms = re.findall(r"'((?:[^'\\]|''|\\.)*)'", read.scalar_one())
    assert terms
    assert len(SearchText.parse(asked).terms) <= MAX_TERMS
    assert {term[:8] for term in terms} == {org_id.hex[-8:]}
    assert {term[8:] for term in terms} >= {lookup.word for lookup in SearchText.parse(asked).lookups}


@pytest.mark.parametrize(
    ("written", "looked_for"),
    [("ŁÓDŹ", "lodz"), ("đường", "duong"), ("Æble", "aeble"), ("ŒUVRE", "oeuvre")],
)
def test_special_letters_are_found_by_plain_ones(written: str, looked_for: str) -> None:
    assert lexemes(ORG, written) == lexemes(ORG, looked_for)
    assert query_without_prefix(written) == query_without_prefix(looked_for)


# --- requesters ------------------------------------------------------------------------------------------------------


def test_a_term_is_also_matched_by_the_requesters_that_have_it() -> None:
    found = query(ORG, "Mia export", "GROWFIN", {Lookup("mia"): [REQUESTER]})

    assert found == f"('{OWN}mia':* | '{OWN}@{REQUESTER.hex}') & '{OWN}export':*"


def test_a_limited_number_of_requesters_is_searched_for() -> None:
    many = {Lookup("mia"): [UUID(int=number) for number in range(MAX_REQUESTERS + 1)]}
    found = query(ORG, "mia", "GROWFIN", many)

    assert found is not None
    assert found.count("@") == MAX_REQUESTERS
    assert "More than 200 requesters match mia" in (describe_limits("mia", many) or "")
    assert describe_limits("mia", {Lookup("mia"): [REQUESTER]}) is None


@given(st.text(st.characters(categories=["Ll", "Lo", "Nd"]), min_size=1), st.booleans(), st.text(min_size=1))
def test_the_range_of_a_word_has_the_words_that_match_it(term: str, is_whole: bool, other: str) -> None:
    lookup = Lookup(term, is_whole)
    low, high = word_range(lookup)

    for word in (term, term + other, other, other + term):
        is_in_range = low <= word < high
        assert is_in_range or not match_word(lookup, word)
    assert not low <= chr(ord(term[0]) + 1) < high


# --- common words ----------------------------------------------------------------------------------------------------

COMMON, MEDIUM, RARE = 1_000_000, 2 * MIN_COMMON, MIN_COMMON // 2
COUNTS = LexemeCounts(
    {f"{OWN}{word}": count for word, count in {"export": COMMON, "exporter": 5, "week": MEDIUM, "12": RARE}.items()}
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("export unheard", "'unheard':*"),
        ("export 12", "'12'"),
        ("exp 12", "'12'"),  # `export` begins with it
        ("export week", "'week':*"),
        ("export week 12", "'week':* & '12'"),
        ("week 12", None),  # not so much more common
        ("export", None),
        ("export exporter", None),  # one term
        ("unheard words", None),
        ("export T-7", "'t' & '7' | '#7' | 't-7'"),
    ],
)
def test_the_index_is_read_for_the_rarer_words(text: str, expected: str | None) -> None:
    found = index_query(ORG, text, "T", {}, COUNTS)

    assert (found and found.replace(OWN, "")) == expected
    assert index_query(ORG, text, "T", {}, NO_COUNTS) is None
    assert COMMON / COMMON_FACTOR > MEDIUM


@pytest.mark.parametrize(
    ("text", "expected"), [("export", True), ("export week", True), ("export 12", False), ("?", False)]
)
def test_a_search_for_common_words_only_is_known(text: str, *, expected: bool) -> None:
    assert is_common(ORG, text, {}, COUNTS) is expected
    assert not is_common(ORG, text, {}, NO_COUNTS)


@given(
    st.dictionaries(st.text("abc", min_size=1, max_size=3), st.integers(1, 9)), st.text("abc", min_size=1, max_size=3)
)
def test_counts_of_words_with_a_beginning_are_added_up(counts: dict[str, float], word: str) -> None:
    found = LexemeCounts(counts)

    assert found.count(word, with_longer=False) == counts.get(word, 0)
    assert found.count(word, with_longer=True) == sum(n for one, n in counts.items() if one.startswith(word))
