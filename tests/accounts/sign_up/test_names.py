"""Names of users: mails show them, so mail programs must not make links of them."""

from __future__ import annotations

import pytest

from tests.accounts.sign_up.test_public_sign_up import sign_up
from tests.organisation_client import Desk
from tests.problems import read_invalid_fields
from tests.services import unique_email


@pytest.mark.parametrize(
    "name", ["growfin.com", "user@mail.com", "Eve evil.com/free", "www.evil", "10.0.0.1", "T.Co/x", "https://evil"]
)
async def test_a_name_of_which_mail_programs_make_a_link_is_refused(desk: Desk, name: str) -> None:
    for field in ("firstName", "lastName"):
        assert read_invalid_fields(await sign_up(desk, unique_email(), **{field: name})) == {field}
    assert read_invalid_fields(await desk.admin.patch("/me", {"firstName": name})) == {"firstName"}


@pytest.mark.parametrize("name", ["J.Doe", "St.John", "J.R.R.", "J.Li", "M.A.Ng", "O.Reilly", "Dr. Who", "Mary-Jane"])
async def test_a_name_with_initials_is_accepted(desk: Desk, name: str) -> None:
    answer = await desk.admin.patch("/me", {"firstName": name, "lastName": name})
    assert answer.status_code == 200, answer.text
