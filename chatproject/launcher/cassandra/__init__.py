"""A real Cassandra without Docker: jars from Maven Central under Java 17, nodes on loopback addresses."""

from chatproject.launcher.cassandra.node import BENCH, RUN, TEST, CassandraNode, Profile, loopback_address

__all__ = ["BENCH", "RUN", "TEST", "CassandraNode", "Profile", "loopback_address"]
