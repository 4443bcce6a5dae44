"""The message store in PostgreSQL: every call is one statement and one round trip (shared content costs a second one)."""

import time
from collections.abc import Callable, Iterator, Sequence
from struct import Struct
from typing import Any, LiteralString
from uuid import UUID

import msgspec
import psycopg
from psycopg import errors

from accounts.arrays import bigints, bools, byteas, ints, texts, uuids
from accounts.connections import Connections
from conversations.allocation import Newest
from conversations.entries import LogEntry
from messaging.envelopes import Ack, Cursor, Envelope, Heartbeat, Mailbox, Page
from messaging.store import parcels, sql_pruning
from messaging.store import sql_statements as statements
from messaging.store.deadline import CALL_SECONDS, within
from messaging.store.protocol import Pruned, StoreRefused, StoreUnavailable, ends_ms

SIZE = 4
LIMITS = "-c statement_timeout=1500 -c lock_timeout=1500 -c idle_in_transaction_session_timeout=5000"
_BEYOND = 2**63 - 1
_PAGE = Struct("!qq")
# The caller's values are at fault here, not the store; to repeat the call would change nothing.
_CALLERS_FAULT = (psycopg.DataError, psycopg.IntegrityError)

Row = tuple[Any, ...]


class SqlStore:
    """MessageStore in the four tables of `messaging.models.sql`."""

    def __init__(self, conninfo: str) -> None:
        self._connections = Connections(
            psycopg.conninfo.make_conninfo(
                conninfo, options=LIMITS, connect_timeout=2, application_name="waypost-store"
            ),
            size=SIZE,
            checkout_seconds=CALL_SECONDS,
        )

    async def open(self) -> None:
        self._connections.reopen()
        await self.probe()

    async def close(self) -> None:
        await self._connections.close()

    async def probe(self) -> None:
        await self.heartbeat()

    async def deposit(self, entries: Sequence[LogEntry]) -> None:
        if entries:
            await self._run(statements.DEPOSIT, (*_history_columns(entries), *_mailbox_columns(entries)))

    async def acknowledge(self, acks: Sequence[Ack]) -> None:
        rows = {(ack.mailbox.device_id, ack.position, ack.message_id): ack for ack in acks}
        if not rows:
            return
        keys = zip(*rows, strict=True)
        ends = bigints(ends_ms(ack.kept_ms, ack.expires_ms) for ack in rows.values())
        await self._run(
            statements.ACKNOWLEDGE, (*map(bigints, keys), ends, uuids(ack.mailbox.user_id for ack in rows.values()))
        )

    async def pending(
        self, mailbox: Mailbox, *, since: Cursor, now_ms: int, page: bytes | None = None, limit: int = 256
    ) -> Page:
        after = _PAGE.unpack(page) if page else (since.low_position, _BEYOND)
        rows = await self._run(statements.PENDING, (mailbox.device_id, *after, mailbox.user_id, now_ms, limit))
        opened = parcels.opened(rows)
        next_page = _PAGE.pack(rows[-1][0], rows[-1][1]) if len(rows) == limit else None
        return parcels.page(opened, await self._shared(opened.found), next_page)

    async def cursor(self, mailbox: Mailbox) -> Cursor:
        rows = await self._run(statements.CURSOR, (mailbox.device_id, mailbox.user_id))
        return Cursor(*rows[0]) if rows else Cursor()

    async def move_cursor(self, mailbox: Mailbox, cursor: Cursor, *, now_ms: int) -> None:
        await self._run(
            statements.MOVE_CURSOR, (mailbox.device_id, mailbox.user_id, cursor.low_position, cursor.low_bucket, now_ms)
        )

    async def history(self, reader: Mailbox, conversation_id: UUID, *, from_seq: int, to_seq: int) -> list[Envelope]:
        rows = await self._run(
            statements.HISTORY, (reader.device_id, reader.user_id, conversation_id, from_seq, to_seq)
        )
        return [_history_envelope(conversation_id, row) for row in rows]

    async def acknowledged(self, reader: Mailbox, entries: Sequence[LogEntry]) -> set[int]:
        positions = bigints(entry.position for entry in entries)
        rows = await self._run(statements.ACKNOWLEDGED, (reader.device_id, reader.user_id, positions))
        return {message_id for (message_id,) in rows} & {entry.message_id for entry in entries}

    async def newest(self, conversation_id: UUID, *, at_least: int) -> Newest:
        rows = await self._run(statements.NEWEST, (conversation_id, at_least))
        return Newest(*rows[0]) if rows else Newest(at_least)

    async def prune(self, *, now_ms: int, page: bytes | None = None, size: int = 16) -> Pruned:
        number, place = sql_pruning.place_of(page)
        step = sql_pruning.STEPS[number]
        [[removed, of]] = await self._run(step.statement, step.values(now_ms, place, size))
        return Pruned(removed, sql_pruning.page_of(number, step.next_place(place, size, removed, of)))

    async def purge(self, mailbox: Mailbox, *, from_ms: int, until_ms: int, size: int) -> bool:
        """All rows: no other device was ever given this id."""
        del from_ms, until_ms
        key = (mailbox.device_id, mailbox.user_id)
        [[removed]] = await self._run(statements.PURGE, (*key, size, *key))
        return bool(removed < size)

    async def heartbeat(self) -> Heartbeat | None:
        rows = await self._run(statements.HEARTBEAT, ())
        return Heartbeat(*rows[0]) if rows else None

    async def beat(self, heartbeat: Heartbeat, *, now_ms: int) -> None:
        mark = (heartbeat.system_identifier, heartbeat.timeline, heartbeat.era, heartbeat.beat)
        await self._run(statements.BEAT, (*mark, heartbeat.local_dc, now_ms))

    async def _shared(self, found: Sequence[parcels.Found]) -> parcels.Shared:
        keys = {(one.envelope.conversation_id, one.envelope.seq) for one in found if one.has_shared}
        if not keys:
            return {}
        conversations, seqs = zip(*keys, strict=True)
        rows = await self._run(statements.SHARED, (uuids(conversations), bigints(seqs)))
        return {
            (conversation_id, seq): parcels.Content(content, deleted) for conversation_id, seq, content, deleted in rows
        }

    async def _run(self, statement: LiteralString, values: Sequence[Any]) -> list[Row]:
        """The rows of a statement that may be repeated at will."""
        return await within(self._answered(statement, values))

    async def _answered(self, statement: LiteralString, values: Sequence[Any]) -> list[Row]:
        try:
            return await self._executed(statement, values)
        except _CALLERS_FAULT as failure:
            raise StoreRefused(_reason(failure)) from failure
        except (psycopg.Error, OSError) as failure:
            if not _worth_repeating(failure):
                raise StoreUnavailable(_reason(failure)) from failure
        # A connection does not know that its server has restarted, nor a prepared statement that its table has changed.
        try:
            return await self._executed(statement, values, fresh=True)
        except (psycopg.OperationalError, psycopg.InterfaceError, OSError) as failure:
            raise StoreUnavailable(_reason(failure)) from failure

    async def _executed(self, statement: LiteralString, values: Sequence[Any], *, fresh: bool = False) -> list[Row]:
        async with self._connections.one(until=time.monotonic() + CALL_SECONDS, fresh=fresh) as connection:
            cursor = await connection.execute(statement, values, prepare=True, binary=True)
            return await cursor.fetchall() if cursor.description else []


def _worth_repeating(failure: Exception) -> bool:
    if isinstance(failure, errors.QueryCanceled | errors.LockNotAvailable):
        return False
    return isinstance(failure, psycopg.OperationalError | psycopg.InterfaceError | errors.FeatureNotSupported)


def _reason(failure: Exception) -> str:
    # Never the driver's own text: it may quote values.
    state = getattr(failure, "sqlstate", None)
    return f"PostgreSQL: {type(failure).__name__}{f' ({state})' if state else ''}"


def _history_columns(entries: Sequence[LogEntry]) -> Iterator[bytes]:
    rows = {(entry.conversation_id, entry.seq): entry for entry in entries}
    deleted = {(entry.conversation_id, entry.deletes_seq) for entry in entries if entry.deletes_seq is not None}
    values = [_history_row(entry, deleted=key in deleted) for key, entry in rows.items()]
    values += [_deleted_row(*key) for key in deleted if key not in rows]
    return (array(column) for array, column in zip(_HISTORY_ARRAYS, zip(*values, strict=True), strict=True))


_HISTORY_ARRAYS: tuple[Callable[[Any], bytes], ...] = (
    *[bigints] * 8,
    *[uuids] * 3,
    ints,
    bools,
    texts,
    bools,
    byteas,
    texts,
)


def _history_row(entry: LogEntry, *, deleted: bool) -> Row:
    return (
        entry.seq,
        entry.message_id,
        entry.position,
        entry.kept_ms,
        entry.sender_device_id,
        entry.reply_to,
        entry.deletes,
        entry.expires_ms,
        entry.conversation_id,
        entry.client_message_id,
        entry.sender_user_id,
        entry.sender_device_number,
        entry.urgent,
        entry.kind,
        deleted,
        None if deleted else entry.shared,
        None if entry.system is None else msgspec.json.encode(entry.system).decode(),
    )


def _deleted_row(conversation_id: UUID, seq: int | None) -> Row:
    """What is known of a message whose deletion comes before itself."""
    return (seq, *[None] * 7, conversation_id, *[None] * 5, True, None, None)


def _mailbox_columns(entries: Sequence[LogEntry]) -> Iterator[bytes]:
    values = {}
    for entry in entries:
        header, ends = parcels.header_of(entry), ends_ms(entry.kept_ms, entry.expires_ms)
        for to in entry.recipients:
            key = (to.device_id, entry.position, entry.message_id)
            values[key] = (*key, ends, entry.seq, to.user_id, entry.conversation_id, parcels.pack(header, to))
    columns = zip(*values.values(), strict=True) if values else ((),) * len(_MAILBOX_ARRAYS)
    return (array(column) for array, column in zip(_MAILBOX_ARRAYS, columns, strict=True))


_MAILBOX_ARRAYS: tuple[Callable[[Any], bytes], ...] = (*[bigints] * 5, uuids, uuids, byteas)


def _history_envelope(conversation_id: UUID, row: Row) -> Envelope:
    (*values, content, gone, data) = row
    entry = LogEntry(conversation_id=conversation_id, shared=content, **dict(zip(_HISTORY_FIELDS, values, strict=True)))
    return parcels.history_envelope(entry, data, gone=gone)


_HISTORY_FIELDS = (
    *("message_id", "seq", "client_message_id", "position", "kept_ms", "kind", "sender_user_id", "sender_device_id"),
    *("sender_device_number", "system", "reply_to", "deletes", "expires_ms", "urgent"),
)
