"""`migrate` and `showmigrations` on both engines, as an operator calls them: twice, for each alias, and with the other server away."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from cassandra.cluster import Cluster
from django.conf import settings

from chatproject import environment
from messaging.store.profiles import cluster_options, shut_down

PROJECT = Path(__file__).parents[2]
AWAY = "postgresql://nobody@127.0.0.1:1/nothing"
CLUSTER_AWAY = "cassandra://127.0.0.1:1/nothing?dc=dc1"


def manage(urls: Mapping[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if name not in ("MESSAGES_URL", "SCYLLADB_URL")}
    command = [sys.executable, "manage.py", *arguments, "--no-color"]
    return subprocess.run(
        command, cwd=PROJECT, env={**inherited, **urls}, capture_output=True, text=True, timeout=90, check=False
    )


def done(urls: Mapping[str, str], *arguments: str) -> str:
    """What a command that succeeds says."""
    result = manage(urls, *arguments)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def refused(urls: Mapping[str, str], *arguments: str) -> str:
    """The one sentence of a command that refuses."""
    result = manage(urls, *arguments)
    assert result.returncode == 1
    said = [line for line in result.stderr.splitlines() if line.startswith("CommandError")]
    assert len(said) == 1, result.stderr
    return said[0]


def recorded_apps(url: str) -> set[str]:
    with psycopg.connect(url) as connection:
        return {app for (app,) in connection.execute("SELECT DISTINCT app FROM django_migrations")}


def tables(url: str) -> set[str]:
    with psycopg.connect(url) as connection:
        return {name for (name,) in connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")}


@pytest.fixture
def urls() -> Iterator[dict[str, str]]:
    """Two new databases on the tests' server."""
    name = f"migrating_{uuid4().hex[:12]}"
    names = {"POSTGRES_URL": name, "MESSAGES_URL": f"{name}_messages"}
    with psycopg.connect(environment.with_database(settings.POSTGRES_URL, "postgres"), autocommit=True) as server:
        for one in names.values():
            server.execute(f'CREATE DATABASE "{one}"')
        yield {key: environment.with_database(settings.POSTGRES_URL, one) for key, one in names.items()}
        for one in names.values():
            server.execute(f'DROP DATABASE "{one}" WITH (FORCE)')


@pytest.fixture
def clustered(urls: dict[str, str], keyspace: Mapping[str, object]) -> Iterator[dict[str, str]]:
    """A new database and a keyspace that is not there yet."""
    name = f"migrating_{uuid4().hex[:12]}"
    url = re.sub(r"/[^/?]+(\?|$)", rf"/{name}\1", os.environ["CASSANDRA_TEST_URL"])
    yield {"POSTGRES_URL": urls["POSTGRES_URL"], "SCYLLADB_URL": url}
    cluster = Cluster(list(keyspace["hosts"]), **cluster_options(keyspace))  # type: ignore[call-overload]  # a plain dict
    cluster.connect().execute(f"DROP KEYSPACE IF EXISTS {name}", execution_profile="schema")
    shut_down(cluster)


def test_each_postgresql_database_gets_the_tables_of_its_apps_and_no_more(urls: dict[str, str]) -> None:
    for _ in range(2):
        assert "messaging" not in done(urls, "migrate")
        assert "accounts" not in done(urls, "migrate", "--database=messages")
    assert recorded_apps(urls["MESSAGES_URL"]) == {"messaging"}
    assert {"accounts", "admin", "auth", "conversations", "devices"} <= recorded_apps(urls["POSTGRES_URL"]) - {
        "messaging"
    }
    assert "messaging" not in recorded_apps(urls["POSTGRES_URL"])
    assert tables(urls["MESSAGES_URL"]) == {
        "django_migrations",
        "message_history",
        "message_mailbox",
        "mailbox_cursor",
        "store_heartbeat",
    }
    shown = done(urls, "showmigrations", "--database=messages")
    assert shown.split("\n")[0] == "messaging"
    assert "[ ]" not in shown
    assert "accounts" not in shown
    assert "messaging" not in done(urls, "showmigrations")


def test_a_database_is_migrated_while_the_other_is_away(urls: dict[str, str]) -> None:
    without_default, without_messages = urls | {"POSTGRES_URL": AWAY}, urls | {"MESSAGES_URL": AWAY}
    done(without_default, "migrate", "--database=messages")
    assert "[ ]" not in done(without_default, "showmigrations", "--database=messages")
    done(without_messages, "migrate")


def test_an_app_that_lives_elsewhere_is_refused(urls: dict[str, str]) -> None:
    assert "accounts does not live" in refused(urls, "migrate", "accounts", "--database=messages")
    assert "messaging does not live" in refused(urls, "migrate", "messaging")
    assert tables(urls["MESSAGES_URL"]) == tables(urls["POSTGRES_URL"]) == set()


def test_checks_and_makemigrations_need_no_server() -> None:
    for urls in ({"POSTGRES_URL": AWAY, "MESSAGES_URL": AWAY}, {"POSTGRES_URL": AWAY, "SCYLLADB_URL": CLUSTER_AWAY}):
        assert "no issues" in done(urls, "check")
        assert "No changes" in done(urls, "makemigrations", "--check", "--dry-run")


@pytest.mark.cassandra
def test_the_keyspace_gets_the_numbered_files_once(clustered: dict[str, str]) -> None:
    assert "[ ] 0001_initial" in done(clustered, "showmigrations", "--database=messages")
    assert "Applying messaging.cql.0001_initial" in done(clustered, "migrate", "--database=messages")
    assert "No migrations to apply" in done(clustered, "migrate", "messaging", "0001", "--database=messages")
    assert "[X] 0001_initial" in done(clustered, "showmigrations", "messaging", "--database=messages")
    assert "accounts does not live" in refused(clustered, "migrate", "accounts", "--database=messages")


@pytest.mark.cassandra
def test_postgresql_is_migrated_while_the_cluster_is_away(urls: dict[str, str]) -> None:
    cluster_away = {"POSTGRES_URL": urls["POSTGRES_URL"], "SCYLLADB_URL": CLUSTER_AWAY}
    done(cluster_away, "migrate")
    assert "messaging" not in recorded_apps(urls["POSTGRES_URL"])
    assert "No node of the message cluster answers" in refused(cluster_away, "migrate", "--database=messages")


@pytest.mark.cassandra
def test_the_keyspace_is_migrated_without_postgresql_only_if_the_operator_says_so(clustered: dict[str, str]) -> None:
    alone = clustered | {"POSTGRES_URL": AWAY}
    assert "--no-lock" in refused(alone, "migrate", "--database=messages")
    result = manage(alone, "migrate", "--database=messages", "--no-lock")
    assert result.returncode == 0
    assert "without a lock" in result.stderr
    assert "[X] 0001_initial" in done(alone, "showmigrations", "--database=messages")


@pytest.mark.cassandra
def test_only_one_migrates_a_keyspace(clustered: dict[str, str]) -> None:
    keyspace = environment.cassandra(clustered["SCYLLADB_URL"])["keyspace"]
    with psycopg.connect(clustered["POSTGRES_URL"]) as other:
        other.execute("SELECT pg_advisory_lock(hashtext(%s))", [f"cql:messages:{keyspace}"])
        assert "Somebody else is migrating" in refused(clustered, "migrate", "--database=messages")
    done(clustered, "migrate", "--database=messages")


@pytest.mark.cassandra
def test_a_data_centre_that_does_not_exist_is_named(clustered: dict[str, str]) -> None:
    elsewhere = clustered | {"SCYLLADB_URL": re.sub(r"dc=\w+", "dc=nowhere", clustered["SCYLLADB_URL"])}
    assert "no data centre nowhere" in refused(elsewhere, "migrate", "--database=messages")
