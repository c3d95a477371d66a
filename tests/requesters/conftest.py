"""The product whose requesters the tests of this folder use."""

from __future__ import annotations

import pytest

from tests.organisation_client import Desk
from tests.requesters.product import Product


@pytest.fixture
def product(desk: Desk) -> Product:
    return Product(desk)
