"""The log: append = commit.

One PostgreSQL transaction orders many sends: it locks the conversations' rows, reads audiences and idempotency keys *after* the locks, decides,
and writes ledger rows, ciphertext bundles (the transactional outbox) and the new heads. Two round trips, however many sends.

A row that somebody else holds is left out (`SKIP LOCKED`), so one held conversation never stops the others; its sends come back as SKIPPED.
"""

import asyncio
import logging
from collections.abc import Collection, Iterable, Sequence
from itertools import chain
from typing import Any
from uuid import UUID

import psycopg
from django.dispatch import Signal
from psycopg import errors

from accounts import postgresql
from accounts.arrays import bigints, bools, byteas, texts, uuids
from accounts.clocks import ClockGuard
from accounts.connections import Connection
from accounts.lineage_guard import guard
from accounts.positions import POSITION
from accounts.statements import ask, tell
from accounts.wire.refusals import ChatError, InvalidRequest, RetryInOrder, StorageUnavailable
from conversations import entries as bundles
from conversations import gaps
from conversations.allocation import Head, Moment
from conversations.audience import AUDIENCE, Audience, audiences
from conversations.entries import SYSTEM, LogEntry
from conversations.planning import Plan, Reading, Start, Target, is_resendable, plan, refuse_all
from conversations.sends import SKIPPED, Committed, Send, Sent

logger = logging.getLogger(__name__)

# Sent after a commit with `entries`: what is committed and not yet in its store. Whoever does not hear it leaves it to the finisher.
appended = Signal()

# For so long the committing process is expected to deposit its entries itself; afterwards a finisher takes them.
CLAIM_SECONDS = 3
# For so long transactions are begun for one batch: on a server too slow for statements to end, halving a hundred sends would take ten minutes.
TAKING_APART_SECONDS = 4.0
SPARE_SERIALS = 4

_HEAD = "SELECT id, kind, source, next_seq, last_message_id, last_position, blocked FROM conversations_conversation"
LOCK_FREE = f"{_HEAD} WHERE id = ANY(%s) ORDER BY id FOR NO KEY UPDATE SKIP LOCKED"
LOCK_WAITING = f"{_HEAD} WHERE id = ANY(%s) ORDER BY id FOR NO KEY UPDATE"
READ = f"{_HEAD} WHERE id = ANY(%s)"
MOMENT = f"""
SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint, {POSITION},
       ARRAY(SELECT nextval('conversations_message_serial') FROM generate_series(1, %s)),
       COALESCE((SELECT max(made_ms) FROM conversations_ledger_floor), 0)
"""  # noqa: S608  (constants)
SERIALS = "SELECT nextval('conversations_message_serial') FROM generate_series(1, %s)"
KNOWN = """
SELECT l.conversation_id, l.sender_device_id, l.client_message_id, l.message_id, l.seq, l.kept_ms
FROM unnest(%s::uuid[], %s::bigint[], %s::uuid[]) AS k (conversation_id, sender_device_id, client_message_id)
JOIN conversations_ledger l USING (conversation_id, sender_device_id, client_message_id)
"""
TARGETS = "SELECT message_id, conversation_id, seq, sender_user_id FROM conversations_ledger WHERE message_id = ANY(%s)"
WRITE_LEDGER = """
INSERT INTO conversations_ledger (conversation_id, seq, sender_device_id, client_message_id, sender_user_id, kind, urgent, message_id, position,
                                  kept_ms, expires_ms, source)
SELECT * FROM unnest(%s::uuid[], %s::bigint[], %s::bigint[], %s::uuid[], %s::uuid[], %s::text[], %s::bool[], %s::bigint[], %s::bigint[],
                     %s::bigint[], %s::bigint[], %s::text[])
"""
WRITE_OUTBOX = """
INSERT INTO conversations_outbox (conversation_id, seq, source, position, kept_ms, claimed_until, deletes_seq, size, bundle)
SELECT conversation_id, seq, source, position, kept_ms, clock_timestamp() + make_interval(secs => %s), deletes_seq, length(bundle), bundle
FROM unnest(%s::uuid[], %s::bigint[], %s::text[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bytea[])
     AS n (conversation_id, seq, source, position, kept_ms, deletes_seq, bundle)
"""
MOVE_HEADS = """
UPDATE conversations_conversation c
SET next_seq = n.seq + 1, last_message_id = n.message_id, last_position = n.position, last_kept_ms = n.kept_ms, last_kind = n.kind,
    last_sender_user_id = n.sender_user_id
FROM unnest(%s::uuid[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::text[], %s::uuid[])
     AS n (id, seq, message_id, position, kept_ms, kind, sender_user_id)
WHERE c.id = n.id
"""
WRITE_STARTS = """
INSERT INTO conversations_device_start AS s (conversation_id, device_id, from_seq, envelope_seq, mailbox_from)
SELECT * FROM unnest(%s::uuid[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[])
ON CONFLICT (conversation_id, device_id) DO UPDATE
SET envelope_seq = excluded.envelope_seq, mailbox_from = excluded.mailbox_from,
    from_seq = CASE WHEN s.mailbox_from = excluded.mailbox_from THEN s.from_seq ELSE excluded.from_seq END
"""
END_STARTS = """
DELETE FROM conversations_device_start s USING unnest(%s::uuid[], %s::bigint[]) AS n (conversation_id, device_id)
WHERE s.conversation_id = n.conversation_id AND s.device_id = n.device_id
"""

# A batch that fails for one of these may be put right by leaving out the send that caused it; or is simply tried again.
POISON = (psycopg.DataError, psycopg.IntegrityError, errors.QueryCanceled)
RIVALRY = (errors.DeadlockDetected, errors.SerializationFailure)


async def append(sends: Sequence[Send], *, waiting: bool = False, until: float | None = None) -> Committed:
    """Commit what can be committed; an outcome for every send, in order.

    Never raises for a fault of the database: every send then gets StorageUnavailable, and may or may not be committed if the fault hit the
    COMMIT itself (sending it again tells). One send that PostgreSQL refuses never fails the others: the batch is halved until it stands alone,
    but no transaction begins after `until` on the loop's clock, because nobody waits for it any more.
    `waiting` waits up to 2 s for locked rows instead of skipping them.
    """
    until = asyncio.get_running_loop().time() + TAKING_APART_SECONDS if until is None else until
    if asyncio.get_running_loop().time() > until:
        return Committed(refuse_all(sends))
    try:
        return await _transaction(sends, waiting=waiting)
    except POISON as failure:
        return await _halved(sends, failure, waiting=waiting, until=until)
    except RIVALRY:
        return await _once_more(sends, waiting=waiting)
    except StorageUnavailable as failure:
        return Committed(refuse_all(sends, failure))


async def _halved(sends: Sequence[Send], failure: psycopg.Error, *, waiting: bool, until: float) -> Committed:
    if len(sends) == 1:
        timed_out = isinstance(failure, errors.QueryCanceled)
        refusal: ChatError = StorageUnavailable() if timed_out else InvalidRequest("The message cannot be stored.")
        return Committed((refusal,))
    middle = len(sends) // 2
    first = await append(sends[:middle], waiting=waiting, until=until)
    second = await _behind(sends[:middle], first, sends[middle:], waiting=waiting, until=until)
    return Committed(first.outcomes + second.outcomes, first.entries + second.entries, first.behind | second.behind)


async def _behind(
    earlier: Sequence[Send], decided: Committed, later: Sequence[Send], *, waiting: bool, until: float
) -> Committed:
    """Commit the second half of a batch, save for what must not overtake the first: order is kept as if it were one transaction."""
    skipped = {
        send.conversation_id for send, outcome in zip(earlier, decided.outcomes, strict=True) if outcome == SKIPPED
    }
    broken = {send.chain for send, outcome in zip(earlier, decided.outcomes, strict=True) if is_resendable(outcome)}
    may_go = [send for send in later if send.conversation_id not in skipped and send.chain not in broken]
    gone = await append(may_go, waiting=waiting, until=until) if may_go else Committed(())
    outcomes = iter(gone.outcomes)
    return Committed(
        tuple(
            SKIPPED if send.conversation_id in skipped else RetryInOrder() if send.chain in broken else next(outcomes)
            for send in later
        ),
        gone.entries,
        gone.behind,
    )


async def _once_more(sends: Sequence[Send], *, waiting: bool) -> Committed:
    try:
        return await _transaction(sends, waiting=waiting)
    except (psycopg.Error, StorageUnavailable):
        return Committed(refuse_all(sends))


async def _transaction(sends: Sequence[Send], *, waiting: bool) -> Committed:
    async with postgresql.deciding() as conn:
        reading = await _read(conn, sends, waiting=waiting)
        behind = _leave_out_behind(reading)
        made = plan(sends, reading)
        if made.entries:
            await write(conn, made, reading.heads.values())
        else:
            await conn.execute("ROLLBACK")
    return Committed(tuple(made.outcomes), tuple(made.entries), behind)


def _leave_out_behind(reading: Reading) -> frozenset[UUID]:
    """Take the heads of earlier eras out of the reading, as if their rows were held by somebody else."""
    behind = frozenset(key for key, head in reading.heads.items() if head.era < reading.moment.era)
    if behind:
        reading.heads = {key: head for key, head in reading.heads.items() if key not in behind}
    return behind


async def _read(conn: Connection, sends: Sequence[Send], *, waiting: bool) -> Reading:
    ids = sorted({send.conversation_id for send in sends})
    deleted = [send.deletes for send in sends if send.deletes is not None]
    async with conn.pipeline():
        await conn.execute("BEGIN")
        heads = await ask(conn, LOCK_WAITING if waiting else LOCK_FREE, [uuids(ids)])
        moment = await ask(conn, MOMENT, [len(sends) + SPARE_SERIALS])
        audience = await ask(conn, AUDIENCE, [uuids(ids)])
        known = await ask(conn, KNOWN, _key_columns(sends))
        targets = await ask(conn, TARGETS, [bigints(deleted)]) if deleted else None
    reading = Reading(
        heads={row[0]: Head(*row) for row in await heads.fetchall()},
        audiences=audiences(await audience.fetchall()),
        known={(row[0], row[1], row[2]): Sent(*row[3:]) for row in await known.fetchall()},
        targets={row[0]: Target(*row[1:]) for row in (await targets.fetchall() if targets else [])},
        moment=await the_moment(moment),
    )
    await enough_serials(conn, reading)
    return reading


async def the_moment(cursor: psycopg.AsyncCursor[Any]) -> Moment:
    """The transaction's clock, position and serials from the answer to `MOMENT`.

    Raises StorageUnavailable for a clock that jumped, and while this process does not know PostgreSQL to be the one its message store knows.
    """
    guard.require()
    row = await cursor.fetchone()
    if row is None:
        raise StorageUnavailable
    _clock.check(row[0])
    return Moment(row[0], row[1], iter(row[2]), row[3])


async def enough_serials(conn: Connection, reading: Reading) -> None:
    """Device changes take places too; there are rarely any, and rarely more than the spare ones."""
    changes = sum(device_changes(audience) for audience in reading.audiences.values())
    if changes > SPARE_SERIALS:
        more = await ask(conn, SERIALS, [changes])
        reading.moment.serials = chain(reading.moment.serials, [row[0] for row in await more.fetchall()])


def device_changes(audience: Audience) -> int:
    """How many entries linked and unlinked devices are going to need."""
    return sum(device.active != device.started for device in audience.devices.values())


async def write(conn: Connection, made: Plan, heads: Iterable[Head]) -> None:
    """Write a plan and commit. Afterwards every entry of it has its place, its idempotency key and its bundle, or none has."""
    sources = {head.conversation_id: head.source for head in heads}
    last = {entry.conversation_id: entry for entry in made.entries}
    async with conn.pipeline():
        await tell(conn, WRITE_LEDGER, _ledger_columns(made.entries, sources))
        await tell(conn, WRITE_OUTBOX, [CLAIM_SECONDS, *_outbox_columns(made.entries, sources)])
        await tell(conn, MOVE_HEADS, _head_columns(last.values()))
        if made.ended:
            await tell(conn, END_STARTS, _ended_columns(made.ended))
        if made.omitted:
            await tell(conn, gaps.EXTEND, gaps.columns(made.omitted, made.entries))
        if made.starts:
            await tell(conn, WRITE_STARTS, _start_columns(made.starts.values()))
        await conn.execute("COMMIT")


def _key_columns(sends: Sequence[Send]) -> list[Any]:
    return [
        uuids(send.conversation_id for send in sends),
        bigints(send.sender.device_id for send in sends),
        uuids(send.client_message_id for send in sends),
    ]


def _ledger_columns(written: Sequence[LogEntry], sources: dict[UUID, str]) -> list[Any]:
    return [
        uuids(e.conversation_id for e in written),
        bigints(e.seq for e in written),
        bigints(0 if e.kind == SYSTEM else e.sender_device_id for e in written),
        uuids(e.client_message_id for e in written),
        uuids(e.sender_user_id for e in written),
        texts(e.kind for e in written),
        bools(e.urgent for e in written),
        bigints(e.message_id for e in written),
        bigints(e.position for e in written),
        bigints(e.kept_ms for e in written),
        bigints(e.expires_ms for e in written),
        texts(sources[e.conversation_id] for e in written),
    ]


def _outbox_columns(written: Sequence[LogEntry], sources: dict[UUID, str]) -> list[Any]:
    return [
        uuids(e.conversation_id for e in written),
        bigints(e.seq for e in written),
        texts(sources[e.conversation_id] for e in written),
        bigints(e.position for e in written),
        bigints(e.kept_ms for e in written),
        bigints(e.deletes_seq for e in written),
        byteas(bundles.encode(e) for e in written),
    ]


def _head_columns(last: Collection[LogEntry]) -> list[Any]:
    return [
        uuids(e.conversation_id for e in last),
        bigints(e.seq for e in last),
        bigints(e.message_id for e in last),
        bigints(e.position for e in last),
        bigints(e.kept_ms for e in last),
        texts(e.kind for e in last),
        uuids(e.sender_user_id for e in last),
    ]


def _ended_columns(ended: Sequence[tuple[UUID, int]]) -> list[Any]:
    return [uuids(key[0] for key in ended), bigints(key[1] for key in ended)]


def _start_columns(starts: Collection[Start]) -> list[Any]:
    return [
        uuids(s.conversation_id for s in starts),
        bigints(s.device_id for s in starts),
        bigints(s.from_seq for s in starts),
        bigints(s.envelope_seq for s in starts),
        bigints(s.mailbox_from for s in starts),
    ]


_clock = ClockGuard()
