"""Which tests stay together when they run in several processes: those that share something expensive, or something there is only one of."""

from xdist.scheduler import LoadScopeScheduling

# (where, what is in the test's name, who stays together)
GROUPS = (
    ("tests/acceptance", "cassandra", "a house with Cassandra"),
    ("tests/acceptance", "", "a house with PostgreSQL"),
    ("tests/faults/test_runs.py", "", "a run under faults"),
    ("tests/faults/test_load.py", "", "a run of the load"),
    ("tests/launcher", "", "the launcher"),
    ("tests/chatproject/test_databases_migrations.py", "", "migrations"),
    ("tests/messaging/store/test_cassandra", "", "the keyspace"),
    ("tests/messaging/store/test_streams.py", "", "the keyspace"),
    ("tests/faults/test_broken_builds.py", "worker_clock", "the keyspace"),
    ("tests/messaging/test_libsignal.py", "", "libsignal's process"),
)


class Together(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no annotations
    """Groups first, the largest of them before the others; every other test goes to whoever is free."""

    def _split_scope(self, nodeid: str) -> str:
        for place, word, group in GROUPS:
            if nodeid.startswith(place) and word in nodeid:
                return group
        return nodeid
