"""The bill of materials and the audit of the locked dependencies, which `make check` makes."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def dependencies() -> ModuleType:
    spec = importlib.util.spec_from_file_location("dependencies", ROOT / ".ci/dependencies.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_bill_of_materials_lists_what_production_installs(dependencies: ModuleType) -> None:
    lock = (ROOT / "requirements-production.lock").read_text()
    bom = dependencies.make_bill_of_materials(lock)
    document = json.loads(make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_6).output_as_string())

    assert (document["bomFormat"], document["metadata"]["component"]["name"]) == ("CycloneDX", "tessera")
    listed = {(one["name"], one["version"]): one for one in document["components"]}
    assert listed.keys() == set(re.findall(r"^([\w.-]+)(?:\[.*\])?==(\S+)", lock, re.MULTILINE))
    assert sum(len(one["hashes"]) for one in listed.values()) == lock.count("--hash=sha256:")
    assert any("licenses" in one for one in listed.values())


def test_a_vulnerability_fails_the_check(dependencies: ModuleType) -> None:
    faults = [{"id": "PYSEC-1", "fix_versions": ["1.1"]}, {"id": "PYSEC-2", "fix_versions": []}]
    findings = {"dependencies": [{"name": "a", "version": "1.0", "vulns": faults}, {"name": "b", "vulns": []}]}
    assert dependencies.summarise(findings) == (
        ["a 1.0: PYSEC-1, fixed in 1.1", "a 1.0: PYSEC-2, fixed in none"],
        True,
    )


def test_packages_that_cannot_be_audited_are_reported(dependencies: ModuleType) -> None:
    findings = {"dependencies": [{"name": "a", "skip_reason": "not found"}, {"name": "b", "vulns": []}]}
    assert dependencies.summarise(findings) == (["The audit was skipped: for 1 of 2 packages (not found)"], False)
    assert dependencies.summarise({"dependencies": [{"name": "b", "vulns": []}]}) == (
        ["No known vulnerability in 1 packages"],
        False,
    )


def test_an_audit_that_fails_is_skipped_in_one_line(
    dependencies: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "pip-audit"
    program.write_text("#!/bin/sh\necho 'cannot connect' >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    assert dependencies.summarise(dependencies.audit(tmp_path)) == (["The audit was skipped: cannot connect"], False)

    program.write_text("#!/bin/sh\nexec sleep 60\n")
    monkeypatch.setattr(dependencies, "AUDIT_TIMEOUT", 0.1)
    lines, is_vulnerable = dependencies.summarise(dependencies.audit(tmp_path))
    assert (len(lines), is_vulnerable) == (1, False)
    assert "did not respond" in lines[0]
