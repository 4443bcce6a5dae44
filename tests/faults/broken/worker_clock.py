"""What is written to Cassandra bears the time of the worker's clock, as with the driver's own timestamps.

A deposit that is repeated after its ack brings the ciphertext back. The SQL store has no write times: this build is for Cassandra.
"""

from messaging.store.cassandra import CassandraStore
from tests.faults.broken.surgery import rewrite


def install() -> None:
    rewrite(CassandraStore, "_kept", ("written = bigint(entry.kept_ms * 1000)", "written = bigint(now_us)"))
    rewrite(
        CassandraStore,
        "_mailbox_rows",
        ("(bigint(entry.kept_ms * 1000), ttl)", "(bigint(now_us), ttl)"),
    )
    rewrite(CassandraStore, "_ack_rows", ("at_us = max(now_us, ack.kept_ms * 1000 + 1)", "at_us = now_us"))
    rewrite(CassandraStore, "_deletions", ("_Deletion(kept_ms * 1000 + DELETION_RANK, ", "_Deletion(self._clock(), "))
    rewrite(CassandraStore, "move_cursor", ("bigint(rising_time(cursor.low_position))", "bigint(self._clock())"))
