import os
import subprocess
import time
from pathlib import Path

import psycopg
import pytest

from chatproject.launcher.errors import LauncherError
from chatproject.launcher.postgres import PostgresServer
from chatproject.launcher.server import DiedAtStart
from tests.deadlines import promised


def count_letters(server: PostgresServer) -> int:
    with psycopg.connect(server.url) as connection:
        row = connection.execute("SELECT count(*) FROM letters").fetchone()
    return int(row[0]) if row else 0


def write_letter(server: PostgresServer) -> None:
    with psycopg.connect(server.url) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS letters (body text UNIQUE)")
        connection.execute("INSERT INTO letters VALUES ('from Alice')")


def test_it_serves_on_a_socket_alone_and_every_commit_is_on_disk_first(postgres: PostgresServer) -> None:
    postgres.start()
    with psycopg.connect(postgres.url) as connection:
        settings: dict[str, str] = dict(connection.execute("SELECT name, setting FROM pg_settings").fetchall())
    assert settings["listen_addresses"] == ""
    assert (settings["fsync"], settings["synchronous_commit"], settings["max_connections"]) == ("on", "on", "200")


def test_a_kill_loses_nothing_that_was_committed(postgres: PostgresServer) -> None:
    postgres.start()
    write_letter(postgres)
    postgres.kill()
    postgres.start()
    assert count_letters(postgres) == 1


def test_a_start_ends_the_server_that_a_killed_launcher_left(postgres: PostgresServer) -> None:
    postgres.start()
    write_letter(postgres)
    left = postgres.pid
    again = PostgresServer(postgres.directory)
    again.start()
    try:
        assert not postgres.alive()
        assert again.pid != left
        assert count_letters(again) == 1
    finally:
        again.stop()


def test_a_lock_file_that_names_a_living_stranger_does_not_keep_it_from_starting(postgres: PostgresServer) -> None:
    postgres.start()
    write_letter(postgres)
    postgres.kill()
    lock = postgres.data / "postmaster.pid"
    lines = lock.read_text().splitlines()
    lock.write_text("\n".join([str(os.getpid()), *lines[1:]]))
    postgres.start()
    assert count_letters(postgres) == 1


def test_a_stop_does_not_wait_for_clients_that_stay(postgres: PostgresServer) -> None:
    postgres.start()
    with psycopg.connect(postgres.url, autocommit=True):
        began = time.monotonic()
        postgres.stop()
        assert time.monotonic() - began < promised(5)
    assert not postgres.alive()


def test_a_stopped_server_leaves_no_socket(postgres: PostgresServer) -> None:
    postgres.start()
    folder = postgres.socket_folder
    assert folder.exists()
    postgres.stop()
    assert not folder.exists()


def test_its_socket_has_a_short_path_however_deep_the_checkout_lies(tmp_path: Path) -> None:
    server = PostgresServer(tmp_path / ("deep" * 20) / ("deeper" * 20))
    assert len(os.fsencode(server.socket_folder / ".s.PGSQL.5432")) <= 107


def test_its_log_does_not_quote_what_people_send(postgres: PostgresServer) -> None:
    postgres.start()
    write_letter(postgres)
    with psycopg.connect(postgres.url) as connection, pytest.raises(psycopg.errors.UniqueViolation):
        connection.execute("INSERT INTO letters VALUES (%s)", ["from Alice"])
    with psycopg.connect(postgres.url) as connection, pytest.raises(psycopg.errors.InvalidTextRepresentation):
        connection.execute("SELECT 'from Bob'::int")
    postgres.stop()
    log = postgres.log.read_text()
    assert "ready to accept connections" in log
    assert "from Alice" not in log
    assert "from Bob" not in log


def test_data_of_another_major_version_are_refused_in_one_sentence(postgres: PostgresServer) -> None:
    postgres.start()
    postgres.stop()
    (postgres.data / "PG_VERSION").write_text("14\n")
    with pytest.raises(LauncherError, match="were made by PostgreSQL 14, this is 18"):
        postgres.start()


def test_a_start_that_fails_says_what_the_server_said(postgres: PostgresServer) -> None:
    postgres.start()
    postgres.stop()
    (postgres.data / "postgresql.conf").write_text("no_such_setting = 1\n")
    with pytest.raises(DiedAtStart, match=r"PostgreSQL did not start: .*postgresql\.conf.* contains errors"):
        postgres.start()


def test_a_first_start_cut_short_leaves_no_half_of_a_data_directory(postgres: PostgresServer) -> None:
    postgres.data.mkdir(parents=True)
    (postgres.data.with_name("data.new") / "base").mkdir(parents=True)
    postgres.start()
    assert (postgres.data / "PG_VERSION").exists()
    assert not postgres.data.with_name("data.new").exists()


def test_its_files_are_closed_to_everybody_else(postgres: PostgresServer) -> None:
    postgres.start()
    assert postgres.data.stat().st_mode & 0o077 == 0
    assert postgres.socket_folder.stat().st_mode & 0o077 == 0


def test_making_a_database_twice_makes_one(postgres: PostgresServer) -> None:
    postgres.start()
    assert postgres.create_database("waypost") == postgres.create_database("waypost")
    with psycopg.connect(postgres.url_for("waypost")) as connection:
        assert connection.info.dbname == "waypost"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to become somebody else")
def test_root_runs_it_as_nobody_and_leaves_the_directories_above_alone(postgres: PostgresServer) -> None:
    above = {place: place.stat().st_mode for place in postgres.directory.parents}
    postgres.start()
    seen = subprocess.run(
        ["sh", "-c", f"grep ^Uid: /proc/{postgres.pid}/status"], capture_output=True, text=True, check=True
    )
    in_namespace = bool(postgres.account.prefix)
    assert seen.stdout.split()[1] == ("0" if in_namespace else "65534")
    assert above == {place: place.stat().st_mode for place in postgres.directory.parents}
