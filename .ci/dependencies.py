"""Write the bill of materials of the locked production dependencies (CycloneDX), and look for known vulnerabilities.

Fails if there is a vulnerability. Where the database of vulnerabilities cannot be reached, it says so and succeeds.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from packageurl import PackageURL

ROOT = Path(__file__).parents[1]
LOCK = ROOT / "requirements-production.lock"
SBOM = ROOT / "build" / "sbom.json"
AUDIT_TIMEOUT = 15.0  # seconds in all
REQUEST_TIMEOUT = "5"  # seconds

_PIN = re.compile(r"^([A-Za-z0-9._-]+)(?:\[.*?\])?==([^\s;\\]+)(.*?)(?=^\S|\Z)", re.MULTILINE | re.DOTALL)
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")


def make_bill_of_materials(lock: str) -> Bom:
    """Make the bill of materials: what the lock pins, with the hashes of its files, and the licence if installed."""
    bom = Bom()
    product = Component(name="tessera", version=metadata.version("tessera"), type=ComponentType.APPLICATION)
    bom.metadata.component = product
    libraries = [
        Component(
            name=name,
            version=version,
            type=ComponentType.LIBRARY,
            purl=PackageURL("pypi", name=name, version=version),
            bom_ref=f"{name}=={version}",
            licenses=_read_licences(name),
            hashes=[HashType(alg=HashAlgorithm.SHA_256, content=content) for content in _HASH.findall(rest)],
        )
        for name, version, rest in _PIN.findall(lock)
    ]
    for library in libraries:
        bom.components.add(library)
    bom.register_dependency(product, libraries)
    return bom


def _read_licences(name: str) -> list[Any]:
    try:
        described = metadata.metadata(name)
    except metadata.PackageNotFoundError:  # for another system or version of Python
        return []
    if "License-Expression" not in described:
        return []
    return [LicenseFactory().make_with_expression(described["License-Expression"])]


def audit(lock: Path) -> dict[str, Any] | str:
    """Return the findings of pip-audit, or why there are none."""
    command = [
        str(Path(sys.executable).with_name("pip-audit")), "--disable-pip", "--require-hashes",
        "--requirement", str(lock), "--format", "json", "--progress-spinner", "off", "--timeout", REQUEST_TIMEOUT,
    ]  # fmt: skip
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=AUDIT_TIMEOUT, check=False)  # noqa: S603
    except subprocess.TimeoutExpired:
        return f"the database of vulnerabilities did not respond within {AUDIT_TIMEOUT:g} s"
    try:
        findings: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        return (done.stderr.strip().splitlines() or ["no output"])[-1][:200]
    return findings


def summarise(findings: dict[str, Any] | str) -> tuple[list[str], bool]:
    """Return the lines to print, and whether there is a vulnerability."""
    if isinstance(findings, str):
        return [f"The audit was skipped: {findings}"], False
    packages = findings["dependencies"]
    lines = [
        f"{package['name']} {package['version']}: {fault['id']}, fixed in {', '.join(fault['fix_versions']) or 'none'}"
        for package in packages
        for fault in package.get("vulns", ())
    ]
    is_vulnerable = bool(lines)
    skipped = [package for package in packages if "skip_reason" in package]
    if skipped:
        reason = skipped[0]["skip_reason"]
        lines.append(f"The audit was skipped: for {len(skipped)} of {len(packages)} packages ({reason})")
    elif not is_vulnerable:
        lines.append(f"No known vulnerability in {len(packages)} packages")
    return lines, is_vulnerable


def main() -> int:
    """Write the bill, print the findings, and return the exit code."""
    bom = make_bill_of_materials(LOCK.read_text())
    SBOM.parent.mkdir(exist_ok=True)
    make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_6).output_to_file(str(SBOM), allow_overwrite=True, indent=2)
    lines, is_vulnerable = summarise(audit(LOCK))
    for line in (f"{SBOM.relative_to(ROOT)}: {len(bom.components)} packages", *lines):
        sys.stdout.write(f"{line}\n")
    return int(is_vulnerable)


if __name__ == "__main__":
    sys.exit(main())
