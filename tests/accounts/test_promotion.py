"""What a standby says of itself, before and after it is promoted."""

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from accounts.positions import TIMELINE
from chatproject.launcher.postgres import PostgresServer


@pytest.fixture
def primary(tmp_path: Path) -> Iterator[PostgresServer]:
    server = PostgresServer(tmp_path / "primary")
    server.start()
    yield server
    server.stop(hurry=True)


@pytest.fixture
def standby(primary: PostgresServer, tmp_path: Path) -> Iterator[PostgresServer]:
    """A base backup of the primary that follows it."""
    if not (primary.binaries / "pg_basebackup").exists():
        pytest.skip("this PostgreSQL has no pg_basebackup")
    server = PostgresServer(tmp_path / "standby")
    server.data.mkdir(parents=True)
    server.account.own(server.data)
    copy = [str(primary.binaries / "pg_basebackup"), "-D", str(server.data), "-R", "-X", "stream", "-c", "fast"]
    command = primary._command([*copy, "-h", str(primary.socket_folder), "-U", "postgres"])
    uid = command.uid
    subprocess.run(
        command.arguments,
        env=command.environment | {"HOME": os.devnull},
        check=True,
        user=uid,
        group=uid,
        extra_groups=None if uid is None else [],
    )
    server.start()
    yield server
    server.stop(hurry=True)


def test_a_promoted_standby_is_on_the_next_timeline_at_once_and_the_same_cluster(
    primary: PostgresServer, standby: PostgresServer
) -> None:
    facts = f"SELECT {TIMELINE}, system_identifier FROM pg_control_system()"  # noqa: S608  (constants)
    with psycopg.connect(primary.url, autocommit=True) as one, psycopg.connect(standby.url, autocommit=True) as other:
        before = one.execute(facts).fetchone()
        assert before
        assert other.execute("SELECT pg_is_in_recovery()").fetchone() == (True,)
        other.execute("SELECT pg_promote(false)")
        deadline = time.monotonic() + 30
        while other.execute("SELECT pg_is_in_recovery()").fetchone() == (True,):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert other.execute(facts).fetchone() == (before[0] + 1, before[1])


def test_an_ordinary_role_may_ask(primary: PostgresServer) -> None:
    with psycopg.connect(primary.url, autocommit=True) as owner:
        owner.execute("CREATE ROLE plain LOGIN")
    with psycopg.connect(primary.url.replace("postgres@", "plain@", 1)) as plain:
        asked = f"SELECT {TIMELINE}, system_identifier, pg_postmaster_start_time() IS NOT NULL FROM pg_control_system()"  # noqa: S608  (constants)
        timeline, identifier, started = plain.execute(asked).fetchone() or (0, 0, False)
    assert (timeline, started) == (1, True)
    assert identifier
