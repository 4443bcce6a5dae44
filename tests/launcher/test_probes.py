import pytest

from chatproject.launcher.probes import cql_hosts, place
from chatproject.launcher.stores import given_urls


@pytest.mark.parametrize(
    ("url", "hosts"),
    [
        ("cassandra://127.0.0.1/waypost", [("127.0.0.1", 9042)]),
        ("scylladb://alice:secret@a:19042,b/waypost?dc=dc1", [("a", 19042), ("b", 19042)]),
        ("scylladb:///waypost", []),
    ],
)
def test_contact_points_are_read_from_the_url(url: str, hosts: list[tuple[str, int]]) -> None:
    assert cql_hosts(url) == hosts


def test_a_url_is_shown_without_its_password() -> None:
    assert place("postgresql://alice:secret@db:5432/waypost?sslmode=require") == "db:5432/waypost"


@pytest.mark.parametrize(
    ("environment", "urls"),
    [
        ({}, {}),
        ({"DATABASE_URL": "postgresql://old/x"}, {"POSTGRES_URL": "postgresql://old/x"}),
        (
            {"DATABASE_URL": "postgresql://old/x", "POSTGRES_URL": "postgresql://new/x"},
            {"POSTGRES_URL": "postgresql://new/x"},
        ),
        ({"MESSAGES_URL": "postgresql://m/x", "SCYLLADB_URL": "scylladb://s/x"}, {"SCYLLADB_URL": "scylladb://s/x"}),
        ({"MESSAGES_URL": "postgresql://m/x"}, {"MESSAGES_URL": "postgresql://m/x"}),
        ({"MESSAGES_URL": "postgresql://m/x", "MESSAGES": "cassandra"}, {}),
    ],
)
def test_the_newer_name_beats_the_older_one(environment: dict[str, str], urls: dict[str, str]) -> None:
    assert given_urls(environment) == urls
