"""Names that look the same do not belong to different people."""

from __future__ import annotations

import pytest

from app.core.lookalikes import map_widths, refuse_lookalike


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
