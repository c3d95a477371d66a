"""What Schemathesis is told: how much to try of which operation, and what an answer must be like."""

from __future__ import annotations

from typing import Any

import schemathesis
from schemathesis.checks import not_a_server_error
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from app.core.config import Settings
from app.main import create_api

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


def the_schema(max_examples: int, **of_operations: int) -> Any:
    """The OpenAPI document as Schemathesis reads it.

    Args:
        max_examples: how many random requests for each operation, after those that the document suggests by itself.
        of_operations: the same for some of them, by their ids.
    """
    config = SchemathesisConfig.from_dict(
        {
            "suppress-health-check": "all",  # this machine may be slow
            "generation": {
                "mode": "all",
                "max-examples": max_examples,
                "allow-x00": True,
                "with-security-parameters": False,  # each test has credentials of its own, or none
                "deterministic": True,
                "database": "none",
            },
            "operations": [
                {"include-operation-id": operation_id, "generation": {"max-examples": few}}
                for operation_id, few in of_operations.items()
            ],
        }
    )
    document = create_api(Settings.model_validate({"secret_key": None, "database_url": None})).openapi()
    return schemathesis.openapi.from_dict(document, config=config)
