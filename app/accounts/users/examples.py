"""Users in the examples of the API's documentation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.accounts.roles.rules import CUSTOMER, ENGINEER

# The fields of an engineer and a customer that differ from the default example, which is an admin.
ENGINEER_USER: Mapping[str, Any] = {
    "firstName": "Bo",
    "lastName": "Ek",
    "email": "bo@growfin.com",
    "role": ENGINEER.kind.value,
    "roleId": str(ENGINEER.id),
    "designation": ENGINEER.name,
    "secondFactor": False,
}
CUSTOMER_USER: Mapping[str, Any] = {
    "firstName": "Mia",
    "lastName": "Holm",
    "email": "mia@customer.example",
    "role": CUSTOMER.kind.value,
    "roleId": str(CUSTOMER.id),
    "designation": CUSTOMER.name,
    "available": False,
    "secondFactor": False,
}
