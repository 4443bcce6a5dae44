"""What a standby says of itself, before and after it is promoted."""

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from accounts.positions import TIMELINE
from chatproject.launcher.postgres import PostgresServer
from devices import prekeys


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
        promote(other)
        assert other.execute(facts).fetchone() == (before[0] + 1, before[1])


POOL = f"""
CREATE TABLE accounts_era (added integer);
INSERT INTO accounts_era VALUES (0);
CREATE TABLE devices_device (id bigint, prekeys_era integer, pq_prekeys_era integer);
INSERT INTO devices_device SELECT 1001, {TIMELINE}, {TIMELINE};
CREATE TABLE devices_one_time_prekey (id bigserial, device_id bigint, kind text, key_id integer, public_key bytea, signature bytea);
INSERT INTO devices_one_time_prekey (device_id, kind, key_id, public_key) SELECT 1001, 'curve', n, '' FROM generate_series(1, 3) n;
"""  # noqa: S608  (constants)


def test_a_promoted_standby_hands_out_no_prekey_that_the_former_primary_may_hand_out(
    primary: PostgresServer, standby: PostgresServer
) -> None:
    def take(server: psycopg.Connection) -> list[int]:
        return [row[2] for row in server.execute(prekeys._TAKE.encode(), [[1001]])]

    with psycopg.connect(primary.url, autocommit=True) as one, psycopg.connect(standby.url, autocommit=True) as other:
        one.execute(POOL.encode())
        copied = "SELECT pg_current_wal_lsn() <= replay_lsn FROM pg_stat_replication"
        wait_for(lambda: one.execute(copied).fetchone() == (True,))
        assert take(one) == [1]
        promote(other)
        assert other.execute("SELECT count(*) FROM devices_one_time_prekey").fetchone() != (0,)
        assert take(other) == [], "whether it knows that the first is gone or not"
        assert take(one) == [2]
        other.execute(f"UPDATE devices_device SET prekeys_era = {TIMELINE}".encode())  # noqa: S608  (constants)
        assert take(other) != [], "and of this era it does"


def promote(standby: psycopg.Connection) -> None:
    assert standby.execute("SELECT pg_is_in_recovery()").fetchone() == (True,)
    standby.execute("SELECT pg_promote(false)")
    wait_for(lambda: standby.execute("SELECT pg_is_in_recovery()").fetchone() == (False,))


def wait_for(came: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not came():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_an_ordinary_role_may_ask(primary: PostgresServer) -> None:
    with psycopg.connect(primary.url, autocommit=True) as owner:
        owner.execute("CREATE ROLE plain LOGIN")
    with psycopg.connect(primary.url.replace("postgres@", "plain@", 1)) as plain:
        asked = f"SELECT {TIMELINE}, system_identifier, pg_postmaster_start_time() IS NOT NULL FROM pg_control_system()"  # noqa: S608  (constants)
        timeline, identifier, started = plain.execute(asked).fetchone() or (0, 0, False)
    assert (timeline, started) == (1, True)
    assert identifier
