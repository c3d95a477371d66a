"""Names that look the same do not belong to different people."""

from __future__ import annotations

import pytest

from app.core.lookalikes import describe_lookalike, map_widths, refuse_lookalike


@pytest.mark.parametrize(
    ("typed", "usual"),
    [("\uff4d\uff49\uff4b\uff45", "mike"), ("\uff8a\uff9e\uff85", "バナ"), ("mike\uff20x", "mike@x"), ("Zoë", "Zoë")],
)
def test_characters_of_other_widths_become_the_usual_ones(typed: str, usual: str) -> None:
    assert map_widths(typed) == usual


@pytest.mark.parametrize(
    "name",
    [
        "mike",
        "o'neil+x",
        "müller",
        "straße",
        "øystein",
        "łukasz",
        "пётр",
        "αλεξης",
        "用户",
        "山田tarou",
        "ハナ",
        "한국",
        "नमस्ते",
        "иван.petrov",
        "ivan-петров",
    ],
)
def test_names_of_one_script_are_accepted(name: str) -> None:
    assert refuse_lookalike(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "m\u0131ke",  # dotless i
        "mik\u0435",  # Cyrillic e
        "\u0430\u0440\u0435",  # wholly of Cyrillic letters that look Latin
        "\u043e\u0441\u0430.petrov",  # a Cyrillic word that looks Latin beside a Latin one
        "\u03bf",  # Greek omicron
        "\u0251lice",  # Latin alpha
        "i\u0307ke",  # an i with a second dot
        "\ufb01le",  # a ligature
        "\u2177",  # a Roman numeral
        "\U0001f600",
        "mi\u00adke",  # soft hyphen
        "mi\u200dke",  # zero width joiner
        "\u0378",  # not assigned
    ],
)
def test_names_that_could_be_mistaken_for_others_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"mistaken|not allowed"):
        refuse_lookalike(name)


@pytest.mark.parametrize(
    ("name", "letters"),
    [
        ("mike", None),
        ("иванов", None),
        ("m\u0131ke", "Latin small letter dotless i"),
        ("mik\u0435", "Cyrillic small letter ie"),
        ("i\u0307ke", "Combining dot above"),
        ("\u0440\u043e\u0441\u0430", "Cyrillic small letter er, Cyrillic small letter o, Cyrillic small letter es, …"),
    ],
)
def test_the_letters_of_names_that_could_be_mistaken_are_named(name: str, letters: str | None) -> None:
    assert describe_lookalike(name) == letters
