"""The guard of lineage: a serving process appends nothing to a PostgreSQL that is not what has become of the one it knows.

What it knows is the newest mark that was found to fit: the message store's last heartbeat, and what this process has seen since. Each new connection
of the asynchronous road is compared with it, because a server that goes back cannot do so under a connection.
"""

import logging
import time
from typing import Any

import psycopg
from django.db import OperationalError

from accounts.lineage import Mark, departure
from accounts.positions import ERA, TIMELINE
from accounts.wire.refusals import StorageUnavailable

logger = logging.getLogger(__name__)

# More promotions than this within one heartbeat's time there cannot be: eras that positions may have had and the message store has not heard of.
UNHEARD_ERAS = 16

# A process whose heart has not tried to beat for so long was stopped. What it knows may be older than the backup that was restored meanwhile.
STOPPED_SECONDS = 30.0

# Of this run of the server, in whatever time zone.
RUN = "extract(epoch FROM pg_postmaster_start_time())::text"
LINEAGE = f"""
SELECT (SELECT system_identifier FROM pg_control_system()), {TIMELINE}, {ERA}, beat, compared_run = {RUN} FROM accounts_beat
"""  # noqa: S608  (constants)
BEAT = f"""
UPDATE accounts_beat SET beat = GREATEST(beat, %s) + 1, compared_run = {RUN}
RETURNING (SELECT system_identifier FROM pg_control_system()), {TIMELINE}, {ERA}, beat
"""  # noqa: S608
RAISE_ERA = f"""
UPDATE accounts_era SET added = n.added, restored_era = n.added + {TIMELINE}
FROM (SELECT GREATEST(added, %s + {UNHEARD_ERAS} - {TIMELINE}) AS added FROM accounts_era) n
"""  # noqa: S608


class Departed(psycopg.OperationalError):
    """A connection leads to another PostgreSQL, or to an earlier state of it."""


class Guard:
    """What one process knows, and whether it may append."""

    def __init__(self) -> None:
        # Commands and tests that serve nobody are not guarded.
        self.is_serving = False
        self.complaint: str | None = None
        # The newest mark that was found to fit.
        self.known: Mark | None = None
        self._awake_at = 0.0

    def serve(self) -> None:
        """From now on nothing is appended before `accept` was called."""
        self.is_serving = True
        self.complaint = self.known = None
        self._awake_at = _steady()

    def awake(self) -> None:
        """This process is at work, whatever its stores do. One that was stopped knows nothing any more, and has to compare anew."""
        if self._was_stopped:
            self.known = None
        self._awake_at = _steady()

    @property
    def _was_stopped(self) -> bool:
        return _steady() - self._awake_at > STOPPED_SECONDS

    def rest(self) -> None:
        """This process serves nobody any more."""
        self.is_serving = False
        self.complaint = self.known = None

    @property
    def is_compared(self) -> bool:
        """Whether PostgreSQL was found to be the one the message store knows."""
        return self.known is not None

    @property
    def may_serve(self) -> bool:
        """Whether people may be served from PostgreSQL: it is, as far as anybody knows, the one the message store knows, and somebody has looked."""
        return not self.is_serving or (self.complaint is None and self.is_compared)

    def accept(self, mark: Mark) -> None:
        """This fits what was known before: appending may go on."""
        if self.complaint is not None:
            logger.warning("PostgreSQL is the one that was known before; messages are accepted again")
        self.complaint = None
        if self.known is None or mark.rank > self.known.rank:
            self.known = mark

    def refuse(self, complaint: str) -> None:
        """Append nothing until `accept` is called."""
        if complaint != self.complaint:
            logger.error("nothing is accepted: %s", complaint)
        self.complaint = complaint

    def require(self) -> None:
        """Raise StorageUnavailable unless this process may append."""
        if self.is_serving and (self.complaint is not None or self.known is None or self._was_stopped):
            raise StorageUnavailable


def _steady() -> float:
    """Seconds of a clock that nobody sets; where the system has one that also counts while it is suspended, that one."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


guard = Guard()


def sentence(reason: str) -> str:
    """What an operator reads."""
    return (
        f"PostgreSQL is not the one the message store knows: {reason}. If it was restored or replaced on purpose, stop all "
        "web processes and say so with: manage.py accept_restore"
    )


async def check_connection(connection: psycopg.AsyncConnection[Any]) -> None:
    """Raise Departed if this new connection leads to where nothing may be written. A standby decides nothing, and is not asked."""
    if guard.is_serving:
        standby = await (await connection.execute("SELECT pg_is_in_recovery()")).fetchone()
        if standby == (False,):
            # Before the server is asked: what is known a moment later may be newer than its answer.
            known = guard.known
            await _check_against(known, connection)


async def _check_against(known: Mark | None, connection: psycopg.AsyncConnection[Any]) -> None:
    mark, _ = await read(connection)
    reason = departure(mark, known) if known is not None else None
    if reason is not None:
        guard.refuse(sentence(reason))
        raise Departed(sentence(reason))


def require_known(cursor: Any) -> None:
    """Raise StorageUnavailable unless what is given once only may be given on this connection of the synchronous road.

    A connection that is newer than the last beat may lead to an earlier state of the server, which nobody has noticed yet.
    """
    guard.require()
    if guard.is_serving:
        # Before the server is asked: what is known a moment later may be newer than its answer.
        known = guard.known
        cursor.execute(LINEAGE)
        reason = departure(Mark(*cursor.fetchone()[:4]), known) if known is not None else None
        if reason is not None:
            guard.refuse(sentence(reason))
            raise StorageUnavailable


async def read(connection: psycopg.AsyncConnection[Any]) -> tuple[Mark, bool]:
    """What PostgreSQL says of itself; and whether this run of the server has been compared with the message store by any process."""
    row = await (await connection.execute(LINEAGE)).fetchone()
    if row is None:
        raise StorageUnavailable
    return Mark(*row[:4]), bool(row[4])


async def beat(connection: psycopg.AsyncConnection[Any], *, above: int) -> Mark:
    """Count one beat, above `above` too. PostgreSQL remembers it when this returns."""
    row = await (await connection.execute(BEAT, [above])).fetchone()
    if row is None:
        raise StorageUnavailable
    return Mark(*row)


def refuse_connections(connection: Any, **_: Any) -> None:
    """Of the synchronous road: a receiver of Django's `connection_created`. Raises OperationalError while there is a complaint, or nobody knows yet.

    Who signed in to a backup would be signed out by what it was a backup of, and who was unlinked since would be let in.
    """
    if connection.alias == "default" and not guard.may_serve:
        # It stands already: the thread's next query would find it open.
        connection.close()
        raise OperationalError(guard.complaint or "PostgreSQL was not compared with the message store yet")
