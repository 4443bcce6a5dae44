"""Leases: work that one process of the installation does at a time, and not more often than it is wanted.

A lease is a row with a time at which it ends, not a lock: whoever is killed loses it with that time, and so does whoever is merely stopped, which
would keep a lock for as long as its connection is there. Who wakes up later finds out when it wants to go on.
"""

import time
from uuid import UUID, uuid4

from accounts import statements

LASTS_SECONDS = 30
RENEWED_AFTER_SECONDS = 5.0

# A time that is further ahead than any lease lasts is of a clock that was wrong then.
CLAIM = """
INSERT INTO accounts_lease AS l (name, owner, until) VALUES (%s, %s, clock_timestamp() + make_interval(secs => %s))
ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, until = excluded.until
WHERE (l.until < clock_timestamp() OR l.until > excluded.until)
  AND (l.finished_at IS NULL OR l.finished_at NOT BETWEEN clock_timestamp() - make_interval(secs => %s) AND clock_timestamp())
RETURNING (extract(epoch FROM clock_timestamp()) * 1000)::bigint
"""
KEEP = """
UPDATE accounts_lease SET until = clock_timestamp() + make_interval(secs => %s) WHERE name = %s AND owner = %s RETURNING true
"""
FINISH = """
UPDATE accounts_lease SET until = clock_timestamp(), finished_at = CASE WHEN %s THEN clock_timestamp() ELSE finished_at END
WHERE name = %s AND owner = %s
"""


class LeaseLost(Exception):
    """Somebody else is at work, because this process was not heard of for too long."""


class Lease:
    """A lease that is held. `claimed_ms` is PostgreSQL's clock at the claim, in milliseconds since 1970."""

    def __init__(self, name: str, owner: UUID, claimed_ms: int) -> None:
        self.claimed_ms = claimed_ms
        self._name = name
        self._owner = owner
        self._renewed_at = time.monotonic()

    async def keep(self) -> None:
        """Go on. Raises LeaseLost, StorageUnavailable."""
        if time.monotonic() - self._renewed_at < RENEWED_AFTER_SECONDS:
            return
        if not await statements.rows(KEEP, [LASTS_SECONDS, self._name, self._owner]):
            raise LeaseLost
        self._renewed_at = time.monotonic()

    async def end(self, *, finished: bool) -> None:
        """Leave the work to others; `finished`, not before it is wanted again. Raises StorageUnavailable."""
        await statements.run(FINISH, [finished, self._name, self._owner])


async def claim(name: str, *, every_seconds: float = 0) -> Lease | None:
    """The lease, unless somebody holds it or the work was finished less than so many seconds ago. Raises StorageUnavailable."""
    owner = uuid4()
    claimed = await statements.rows(CLAIM, [name, owner, float(LASTS_SECONDS), float(every_seconds)])
    return Lease(name, owner, claimed[0][0]) if claimed else None
