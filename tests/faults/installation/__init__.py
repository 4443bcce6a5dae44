"""Whole private installations that may be harmed."""

from tests.faults.installation.handles import Handle
from tests.faults.installation.installation import Installation, Plan, running
from tests.faults.installation.stores import CASSANDRA, CASSANDRA3, LAYOUTS, POSTGRESQL, Stores

__all__ = ["CASSANDRA", "CASSANDRA3", "LAYOUTS", "POSTGRESQL", "Handle", "Installation", "Plan", "Stores", "running"]
