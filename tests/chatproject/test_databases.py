"""From a URL to Django's DATABASES entry."""

import pytest
from cassandra import ConsistencyLevel
from django.core.exceptions import ImproperlyConfigured

from chatproject import databases, environment
from messaging.store.profiles import cluster_config

URL = "scylladb://chat:p%40ss@10.0.0.1:9043,10.0.0.2:9043/chat?dc=dc1&rf=3"


def test_messages_may_live_in_postgresql() -> None:
    entry = databases.keeps("postgresql://alice@db.example:5433/chat_messages")
    assert (entry["ENGINE"], entry["NAME"], entry["HOST"], entry["PORT"]) == (
        "django.db.backends.postgresql",
        "chat_messages",
        "db.example",
        5433,
    )
    assert databases.engine_name("postgresql://x/y") == "postgresql"
    assert databases.engine_apps("postgresql://x/y") == []


def test_messages_may_live_in_a_cluster() -> None:
    entry = databases.keeps(URL)
    assert (entry["ENGINE"], entry["NAME"], entry["HOST"]) == ("django_cassandra_engine", "chat", "10.0.0.1,10.0.0.2")
    assert (entry["USER"], entry["PASSWORD"]) == ("chat", "p@ss")
    assert entry["OPTIONS"]["replication"] == {"strategy_class": "NetworkTopologyStrategy", "dc1": 3}
    assert databases.engine_name(URL) == "scylladb"
    assert databases.engine_apps(URL) == ["django_cassandra_engine"]


def test_a_cluster_is_connected_at_first_use_and_again_after_a_failed_one() -> None:
    options = databases.keeps(URL)["OPTIONS"]["connection"]
    assert options["lazy_connect"]
    assert options["retry_connect"]
    assert options["port"] == 9043
    assert "consistency" not in options


def test_every_profile_asks_for_a_local_quorum_and_belongs_to_one_cluster() -> None:
    one, other = (databases.keeps(URL)["OPTIONS"]["connection"]["execution_profiles"] for _ in range(2))
    assert {profile.consistency_level for profile in one.values()} == {ConsistencyLevel.LOCAL_QUORUM}
    policies = [profile.load_balancing_policy for profile in (*one.values(), *other.values())]
    assert len({id(policy) for policy in policies}) == len(policies)


def test_the_store_reads_back_what_the_url_said() -> None:
    config = environment.cassandra(URL)
    assert cluster_config(databases.keeps(URL)) == {
        name: config[name] for name in ("hosts", "port", "keyspace", "user", "password", "dc", "rf")
    }


@pytest.mark.parametrize("url", ["mysql://x/y", "redis://x/0", "nonsense"])
def test_other_databases_are_refused(url: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="must begin with"):
        databases.engine_name(url)
