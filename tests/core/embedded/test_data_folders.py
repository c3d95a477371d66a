"""The data folder of an embedded PostgreSQL: paths that work, and errors in one line for the others."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from app.core.embedded import attach, start
from tests.core.embedded.embedded_server import ROOT, START, only_root, query, start_error


@pytest.mark.parametrize("name", ["n" * 150, "mine, yours: ünd 'more' %41"])
def test_long_and_unusual_paths_work(folder: Path, name: str) -> None:
    folder = folder.parent / name
    with start(folder, durable=False) as server:
        assert query(server.address.service_url, "SELECT 1") == 1
        sockets = Path(server.address.service_url.partition("host=")[2].partition("&")[0])
        assert sockets.parent == Path("/tmp")
        assert attach(folder) == server.address
    assert not sockets.exists()


def test_a_socket_folder_that_is_a_link_is_refused(folder: Path) -> None:
    folder = folder.parent / ("n" * 150)
    with start(folder, durable=False) as server:
        sockets = Path(server.address.service_url.partition("host=")[2].partition("&")[0])
    sockets.symlink_to("/")
    try:
        assert f"{sockets}" in start_error(folder)
    finally:
        sockets.unlink()


@pytest.mark.parametrize("content", [None, "", '{"postgres": "x"}'])
def test_lost_passwords_are_replaced_without_losing_data(used_folder: Path, content: str | None) -> None:
    with start(used_folder, durable=False) as server:
        query(server.address.owner_url, "CREATE TABLE notes AS SELECT 'kept' AS body")
    (used_folder / "postgres.json").unlink()
    if content is not None:
        (used_folder / "postgres.json").write_text(content)
    with start(used_folder, durable=False) as renewed:
        assert renewed.address != server.address
        assert query(renewed.address.service_url, "SELECT body FROM notes") == "kept"
    assert stat.S_IMODE((used_folder / "postgres.json").stat().st_mode) == 0o600


def test_a_folder_of_another_major_version_is_refused_in_one_line(folder: Path) -> None:
    (folder / "postgres").mkdir(parents=True)
    (folder / "postgres/PG_VERSION").write_text("9\n")
    folder.chmod(0o711)
    assert f"{folder}/postgres was created by PostgreSQL 9, but the installed version is 1" in start_error(folder)


def test_a_failed_start_reports_the_servers_error_and_releases_the_folder(used_folder: Path) -> None:
    start(used_folder, durable=False).stop()
    settings = used_folder / "postgres/postgresql.conf"
    valid = settings.read_text()
    settings.write_text("no such thing\n")
    message = start_error(used_folder)
    assert f'FATAL:  configuration file "{settings}" contains errors' in message
    assert f"see {used_folder}/postgres.log" in message
    settings.write_text(valid)
    start(used_folder, durable=False).stop()


def test_a_data_dir_that_is_a_file_is_refused_in_one_line(folder: Path) -> None:
    folder.touch()
    assert "set DATA_DIR to another folder" in start_error(folder)


def test_a_missing_package_is_reported_with_the_extra_to_install(folder: Path) -> None:
    code = START.replace("import *", "import start, EmbeddedUnavailable") + (
        "\ntry: start(folder)\nexcept EmbeddedUnavailable as error: print(error)"
    )
    bare = subprocess.run(
        [sys.executable, "-S", "-c", code, folder], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert bare.stdout == "PostgreSQL is not installed: install the extra tessera[embedded], or set DATABASE_URL\n"
    assert not folder.exists()


@only_root
@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_folders_created_by_root_can_be_entered_by_the_server(folder: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        start(folder / "deep" / "er", durable=False).stop()
    finally:
        os.umask(before)


@only_root
def test_a_data_dir_that_the_server_cannot_enter_is_refused_in_one_line(folder: Path) -> None:
    folder.parent.chmod(0o700)
    message = start_error(folder)
    assert message.startswith("PostgreSQL must run as '")
    assert message.endswith(
        f"', who cannot enter {folder.parent}: set DATA_DIR to a folder that other users may enter "
        "(such as /var/lib/tessera), or set DATABASE_URL"
    )
