"""Folding a text, the words that are stored of it, and the words that a search looks up."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from app.core.search_texts import MAX_TERMS, Lookup, SearchText, Term
from app.core.words import MAX_WORD_BYTES, MAX_WORD_LENGTH, fold, index_name, index_words, prefix_upper_bound

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
        ("\u00b4", "'"),
        ("\u0301", ""),
        ("Łódź, Đức, Ærø, Þór", "lodz, duc, aero, thor"),
        ("ガｶﾞ", "ガガ"),  # marks of these scripts are no accents
        ("हिन्दी", "हिन्दी"),
        ("김철수", "김철수"),
        ("so\u00adft\u200d \u2068ab\u2069", "soft ab"),
        ("٤٢ ۴۲", "42 42"),
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


# --- stored words ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Export the MÁRCH report", "export the march report"),
        ("no, no; never.", "no never"),
        ("mia.moreau+tag@customer.example", "mia moreau tag customer example"),
        ("snake_case e-mail GROWFIN-AB", "snake case email e mail growfinab growfin ab"),
        ("o'neill l’homme", "oneill o neill lhomme l homme"),
        ("'quoted' dogs'", "quoted dogs"),
        ("Hanaialiʻi col·legi", "hanaialii hanaiali i collegi col legi"),
        ("error 0x1f at 10:42", "error 0x1f at 10 42"),
        ("/var/log/app.log", "var log app"),
        ("\tfirst\nsecond\u2028third", "first second third"),
        ("ελληνικα русский", "ελληνικα русскии"),
        ("Müller Straße Østergård", "muller mueller strasse ostergard oestergaard"),
        ("Widget™ 40㎏ №5", "widget tm 40 kg no 5"),
        ("日本語", "日本 本語 語"),
        ("日", "日"),
        ("日本 語", "日本 本 本語 語"),  # a space does not matter
        ("日本, 語", "日本 本 語"),
        ("PDF出力する", "pdf 出力 力す する る"),
        ("로그인 오류", "로그 그인 인 인오 오류 류"),
        ("REF-7 covid-19 2024-17", "ref 7 covid 19 2024 17 ref-7 covid-19"),
        ("👍🏽 fine", "fine"),
        ("!!! --- ___ €", ""),
        ("", ""),
    ],
)
def test_words_are_stored_so_that_their_spellings_find_them(text: str, expected: str) -> None:
    assert index_words(text) == expected.split()


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["Mia", "Chen"], "mia chen miachen chenmia"),
        (["Mia Chen"], "mia chen miachen chenmia"),
        (["Mia"], "mia"),
        (["山田太郎"], "山田 田太 太郎 郎 郎山"),
        ([""], ""),
        (["太郎", "山田"], "太郎 郎 郎山 山田 田 田太"),
        (["Anna Maria", "Smith"], "anna maria smith annamariasmith mariasmithanna smithannamaria"),
    ],
)
def test_names_are_stored_together_in_either_order(names: list[str], expected: str) -> None:
    assert set(index_name(*names)) == set(expected.split())


@given(TEXT)
@example("ﷺ" * 300)
@example("𐍈" * 300)
def test_stored_words_are_short_and_contain_no_query_syntax(text: str) -> None:
    for word in index_words(text):
        assert word
        assert len(word) <= MAX_WORD_LENGTH
        assert len(word.encode()) <= MAX_WORD_BYTES
        assert not set(word) & set(" \t\n'\\\":&|!()*#@")
    assert len(set(index_words(text))) == len(index_words(text))


# --- looked up words -------------------------------------------------------------------------------------------------


def texts_of(terms: Sequence[Term]) -> list[str]:
    return [term.text for term in terms]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Export MÄRCH", "export march"),
        ("export export", "export"),
        ("exp expo export", "export"),  # a word that starts with the longest term starts with all of them
        ("it item", "it item"),  # `it` may match only the whole word
        ("a an ant", "a an ant"),
        ("mia@customer.example", "mia customer example"),
        ("x" * 40 + " " + "x" * 33, "x" * MAX_WORD_LENGTH),
        ("登录系统", "登录 录系 系统"),
        ("Re: AW: export", "export"),
        ("re", "re"),
        ("Re:", "re"),
        ("!!! 🔥 \u0301", ""),
    ],
)
def test_terms_are_distinct_and_imply_no_other(text: str, expected: str) -> None:
    assert texts_of(SearchText.parse(text).terms) == expected.split()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mueller", [["mueller"]]),
        ("Müller", [["muller"], ["mueller"]]),
        ("o'connor", [["oconnor"], ["=o", "connor"]]),
        ("e-mail", [["email"], ["=e", "mail"]]),
        ("快", [["快"]]),
        ("快乐", [["=快乐"]]),
        ("1234", [["1234"], ["<4321"]]),
        ("089 123456", [["089", "123456"], ["+089123456"], ["<654321980"]]),
        ("12 34", [["12", "34"], ["<4321"]]),
    ],
)
def test_a_term_has_an_alternative_for_each_spelling(text: str, expected: list[list[str]]) -> None:
    (term,) = SearchText.parse(text).terms
    assert [
        [("=" if lookup.is_whole else "") + lookup.word for lookup in alternative] for alternative in term.alternatives
    ] == expected


def test_of_an_email_only_the_last_word_may_be_longer() -> None:
    assert SearchText.parse("to ad@grow.exam now").lookups == [
        Lookup("to"), Lookup("ad", is_whole=True), Lookup("grow", is_whole=True), Lookup("exam"), Lookup("now"),
    ]  # fmt: skip


def test_the_rarest_of_many_words_are_kept_in_their_order() -> None:
    found = SearchText.parse("I am not able to sign in at 10 since the last update of Firefox on Monday")

    assert len(found.terms) == MAX_TERMS
    assert texts_of(found.terms) == ["able", "sign", "10", "since", "last", "update", "firefox", "monday"]
    assert texts_of(found.left_out) == ["i", "am", "not", "to", "in", "at", "the", "of", "on"]


# --- any text --------------------------------------------------------------------------------------------------------

ALPHABETS = [
    "abcdefgz", "äöüßøåéł", "абвгдї'", "登录系统快乐新年", "キャンセルガーかなべ", "로그인오류김철수", "สวัสดีครั",
    "ລະບົບໄ", "ខ្ញុំ", "ကျွန်", "हिन्दीक्या", 'אבג"״', "ابتثأًـ", "0123456789", " ", " .,-_@'/()", "🔥™\u00ad\u200d",
]  # fmt: skip
MIXED = st.lists(st.sampled_from(ALPHABETS).flatmap(lambda letters: st.text(letters, max_size=6)), max_size=12).map(
    "".join
)
UNSPACED = st.sampled_from(["登录系统快乐新年", "キャンセルかな", "로그인오류", "สวัสดีครับ", "ລະບົບ"]).flatmap(
    lambda letters: st.text(letters, min_size=1, max_size=20)
)


def is_found(text: str, q: str) -> bool:
    stored = index_words(text)
    return all(
        any(
            all(any(matches(lookup, word) for word in stored) for lookup in alternative)
            for alternative in term.alternatives
        )
        for term in SearchText.parse(q).terms
    )


def matches(lookup: Lookup, word: str) -> bool:
    if lookup.is_whole or lookup.is_short:
        return word == lookup.word
    return lookup.word <= word < prefix_upper_bound(lookup.word)


@settings(max_examples=300)
@given(MIXED | TEXT)
@example("+49 (0)89 123456-78")
@example("a'b'c o'connor's")
@example("+49 89 12'3 and 0'0")
def test_a_whole_text_finds_itself(text: str) -> None:
    assert is_found(text, text)


@settings(max_examples=300)
@given(MIXED)
def test_every_word_of_a_text_finds_it(text: str) -> None:
    for word in text.split(" "):
        assert is_found(text, word)


@pytest.mark.parametrize(
    ("q", "words"),
    [
        ("k'\u05b7", {"k"}),
        ("\u05b7-k", {"k"}),
        ("a'\u05b7'b", {"ab", "a", "b"}),
        ("\u05b7'\u05b7", set()),
        ("\u0301-\u0301", set()),
    ],
)
def test_a_piece_of_accents_alone_is_not_looked_up(q: str, words: set[str]) -> None:
    assert {lookup.word for lookup in SearchText.parse(q).lookups} == words
    assert is_found(q, q)


@given(MIXED | st.text("ak'-\u05b7\u0301登 "))
def test_no_empty_word_is_looked_up(q: str) -> None:
    assert "" not in {lookup.word for lookup in SearchText.parse(q).lookups}


@given(UNSPACED, st.data())
def test_every_part_of_a_text_without_spaces_finds_it(text: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(text) - 1))
    end = data.draw(st.integers(start + 1, len(text)))

    assert SearchText.parse(text[start:end]).terms
    assert is_found(f"abc {text} xyz", text[start:end])


@given(st.text("abcdefghij", min_size=1, max_size=20), st.data())
def test_the_beginning_of_a_word_finds_it(word: str, data: st.DataObject) -> None:
    beginning = word[: data.draw(st.integers(3, 20))]

    assert is_found(f"x {word} y", beginning)
