"""The folder of an embedded PostgreSQL: any will do, and one that will not is refused in one line."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from app.core.embedded import attach, start
from tests.core.embedded.embedded_server import ROOT, START, ask, only_root, refusal


@pytest.mark.parametrize("name", ["n" * 150, "mine, yours: ünd 'more' %41"])
def test_any_path_will_do(folder: Path, name: str) -> None:
    folder = folder.parent / name
    with start(folder, durable=False) as server:
        assert ask(server.address.service_url, "SELECT 1") == 1
        sockets = Path(server.address.service_url.partition("host=")[2].partition("&")[0])
        assert sockets.parent == Path("/tmp")
        assert attach(folder) == server.address
    assert not sockets.exists()


def test_a_socket_folder_of_somebody_else_is_refused(folder: Path) -> None:
    folder = folder.parent / ("n" * 150)
    with start(folder, durable=False) as server:
        sockets = Path(server.address.service_url.partition("host=")[2].partition("&")[0])
    sockets.symlink_to("/")
    try:
        assert f"{sockets}" in refusal(folder)
    finally:
        sockets.unlink()


@pytest.mark.parametrize("content", [None, "", '{"postgres": "x"}'])
def test_lost_passwords_are_made_anew_and_the_data_kept(used_folder: Path, content: str | None) -> None:
    with start(used_folder, durable=False) as server:
        ask(server.address.owner_url, "CREATE TABLE notes AS SELECT 'kept' AS body")
    (used_folder / "postgres.json").unlink()
    if content is not None:
        (used_folder / "postgres.json").write_text(content)
    with start(used_folder, durable=False) as renewed:
        assert renewed.address != server.address
        assert ask(renewed.address.service_url, "SELECT body FROM notes") == "kept"
    assert stat.S_IMODE((used_folder / "postgres.json").stat().st_mode) == 0o600


def test_a_folder_of_another_major_version_is_refused_in_one_line(folder: Path) -> None:
    (folder / "postgres").mkdir(parents=True)
    (folder / "postgres/PG_VERSION").write_text("9\n")
    folder.chmod(0o711)
    assert f"{folder}/postgres is of PostgreSQL 9, and this is PostgreSQL 1" in refusal(folder)


def test_a_server_that_gives_up_is_quoted_and_frees_the_folder(used_folder: Path) -> None:
    start(used_folder, durable=False).stop()
    settings = used_folder / "postgres/postgresql.conf"
    good = settings.read_text()
    settings.write_text("no such thing\n")
    said = refusal(used_folder)
    assert f'FATAL:  configuration file "{settings}" contains errors' in said
    assert f"see {used_folder}/postgres.log" in said
    settings.write_text(good)
    start(used_folder, durable=False).stop()


def test_a_data_dir_that_is_a_file_is_refused_in_one_line(folder: Path) -> None:
    folder.touch()
    assert "set DATA_DIR to another folder" in refusal(folder)


def test_without_the_package_the_extra_is_named(folder: Path) -> None:
    code = START.replace("import *", "import start, EmbeddedUnavailable") + (
        "\ntry: start(folder)\nexcept EmbeddedUnavailable as error: print(error)"
    )
    bare = subprocess.run(
        [sys.executable, "-S", "-c", code, folder], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert bare.stdout == "there is no PostgreSQL here: install the extra tessera[embedded], or set DATABASE_URL\n"
    assert not folder.exists()


@only_root
@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_folders_that_root_makes_can_be_passed_through(folder: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        start(folder / "deep" / "er", durable=False).stop()
    finally:
        os.umask(before)


@only_root
def test_a_data_dir_that_the_server_cannot_enter_is_refused_in_one_line(folder: Path) -> None:
    folder.parent.chmod(0o700)
    said = refusal(folder)
    assert said.startswith("PostgreSQL must run as '")
    assert said.endswith(
        f"', who cannot enter {folder.parent}: set DATA_DIR to a folder that others may enter "
        "(such as /var/lib/tessera), or set DATABASE_URL"
    )
