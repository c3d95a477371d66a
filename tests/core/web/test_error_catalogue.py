"""The table of error codes states the way out of each error: from its title, or in words of its own."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import pytest

import app
from app.accounts.roles.errors import RoleInUse, RoleNotFound
from app.authentication.errors import NoPassword
from app.core.errors import Conflict, TesseraError, TooMany
from app.core.web.error_catalogue import find_way_out, list_error_classes

import_module("app.main")  # and with it all errors
ERRORS = [kind for kind in list_error_classes() if "code" in vars(kind)]
SOURCES = "\n".join(path.read_text() for path in Path(app.__file__).parent.rglob("*.py"))


@pytest.mark.parametrize(
    ("kind", "way_out"),
    [
        (RoleInUse, "Assign another role to them first."),  # after a colon
        (NoPassword, "Set one with `POST /auth/password/forgot`."),  # names an operation
        (RoleNotFound, "`GET /roles` lists the roles."),  # the title has none
        (TooMany, "Wait for the seconds that `Retry-After` names, then try again."),  # the title says less
    ],
)
def test_the_way_out_is_in_the_title_or_in_the_advice(kind: type[TesseraError], way_out: str) -> None:
    assert find_way_out(kind) == way_out


def test_an_error_without_a_way_out_is_refused() -> None:
    class NoWayOut(Conflict):
        title = "This is impossible."

    with pytest.raises(TypeError, match="NoWayOut has neither advice nor"):
        find_way_out(NoWayOut)


@pytest.mark.parametrize("kind", [*list_error_classes()], ids=lambda kind: kind.__name__)
def test_a_class_of_errors_has_a_code_exactly_if_it_is_raised(kind: type[TesseraError]) -> None:
    is_concrete = not kind.__subclasses__()
    is_raised = re.search(rf"\b(raise|return) (errors\.)?{kind.__name__}\b|= {kind.__name__}\)", SOURCES) is not None

    assert hasattr(kind, "code") == (is_concrete or is_raised)


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
def test_no_advice_repeats_the_title(kind: type[TesseraError]) -> None:
    assert find_way_out(kind).endswith(".")
    if "advice" in vars(kind):
        advice = kind.advice.replace("`", "")
        assert advice[0].lower() + advice[1:] not in kind.title
        assert advice not in kind.title
