"""The settings of Schemathesis: the number of requests for each operation, and the checks of responses."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any, TypeVar, cast

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

Test = TypeVar("Test", bound=Callable[..., None])

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


def copy_document() -> Any:
    """Return a copy of the OpenAPI document that the caller may change."""
    return deepcopy(create_api(Settings.model_validate({"secret_key": None, "database_url": None})).openapi())


def load_schema(max_examples: int, document: Any = None, **of_operations: int) -> Any:
    """Load the OpenAPI document into Schemathesis.

    Args:
        max_examples: the number of random requests for each operation, after those from the document's examples.
        of_operations: the number for single operations, by their ids.
    """
    config = SchemathesisConfig.from_dict(
        {
            "suppress-health-check": ["all"],  # this machine may be slow
            "generation": {
                "mode": "all",
                "max-examples": max_examples,
                "allow-x00": True,
                "with-security-parameters": False,  # each test adds its credentials
                "deterministic": True,
                "database": "none",
            },
            "operations": [
                {"include-operation-id": operation_id, "generation": {"max-examples": few}}
                for operation_id, few in of_operations.items()
            ],
        }
    )
    return schemathesis.openapi.from_dict(document or copy_document(), config=config)


def each_operation(max_examples: int, **of_operations: int) -> Callable[[Test], Test]:
    """Run a test with many requests for each operation (see `load_schema` for the arguments)."""
    return cast("Callable[[Test], Test]", load_schema(max_examples, **of_operations).parametrize())
