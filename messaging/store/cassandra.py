"""The message store in Cassandra or ScyllaDB.

Everything is a write to one row, found by its key, with a time of its own (microseconds since 1970), so that nothing depends on the order in
which writes arrive: T = kept_ms in microseconds for a deposit, T and a rank for what is done to the row afterwards.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from conversations.allocation import Newest
from conversations.entries import LogEntry
from messaging.envelopes import Ack, Cursor, Envelope, Heartbeat, Mailbox, Page
from messaging.store import parcels
from messaging.store.bridge import ReadGivenUp
from messaging.store.cql_batches import Row, Rows, no_rows
from messaging.store.cql_timing import ACK_LIVES_LONGER, rising_time, seconds_until
from messaging.store.cql_values import bigint, bigints, history_entry, history_values, integer, or_unset
from messaging.store.deadline import deadline
from messaging.store.keyspace import Keyspace, RowPage
from messaging.store.protocol import BUCKET_MS, RETENTION_MS, Pruned, bucket_of, ends_ms
from messaging.store.slices import Slice

HISTORY_BUCKET = 1024
DELETION_RANK = 4
# What is left of a life is counted by this process's clock, and one that is ahead must not end what others still have to read. A mailbox row therefore
# lives longer than it is shown, and shared content longer than the mailbox rows that need it.
ROW_LIVES_LONGER = 3600
CONTENT_LIVES_LONGER = 2 * ROW_LIVES_LONGER
# ScyllaDB's bound for the values of one IN.
IN_VALUES = 100
# A call that has asked this often, or for so long, returns, whatever it found, and lets its caller go on. A first drain, of all that is retained, asks
# 17 times.
PENDING_REQUESTS = 24
PENDING_SECONDS = 0.6
# How many history buckets without a row may lie between two that have some.
WIDEST_HOLE = 4


def microseconds() -> int:
    """This process's clock."""
    return time.time_ns() // 1000


class CassandraStore:
    """MessageStore in the keyspace that `messaging/cql` describes."""

    def __init__(self, config: Mapping[str, Any], *, clock: Callable[[], int] = microseconds) -> None:
        """`config` is what `profiles.cluster_config` returns; `clock` gives microseconds since 1970."""
        self._keyspace, self._clock = Keyspace(config), clock

    async def open(self) -> None:
        async with deadline():
            await self._keyspace.open()

    async def close(self) -> None:
        await self._keyspace.close()

    async def probe(self) -> None:
        await self.heartbeat()

    async def deposit(self, entries: Sequence[LogEntry]) -> None:
        if not entries:
            return
        async with deadline():
            await self._keyspace.opened()
            now_us, deletions = self._clock(), await self._deletions(entries)
            history, mailboxes = self._history_rows(entries, deletions, now_us), self._mailbox_rows(entries, now_us)
            if any(entry.shared is not None for entry in entries):
                # A mailbox row without its shared content must never be seen.
                await self._keyspace.write_rows(history)
                await self._keyspace.write_rows(mailboxes)
            else:
                await self._keyspace.write_rows({**history, **mailboxes})

    async def acknowledge(self, acks: Sequence[Ack]) -> None:
        if not acks:
            return
        async with deadline():
            await self._keyspace.opened()
            await self._keyspace.write_rows(self._ack_rows(acks))

    async def pending(
        self, mailbox: Mailbox, *, since: Cursor, now_ms: int, page: bytes | None = None, limit: int = 256
    ) -> Page:
        async with deadline():
            part = self._beginning(since, now_ms) if page is None else Slice.of(page)
            last, opened = bucket_of(now_ms) + 1, parcels.Opened([], [])
            for _ in _turns():
                if part.bucket > last or len(opened.found) >= limit:
                    break
                rows = await self._read(mailbox, part, limit - len(opened.found))
                if rows is None:
                    # The page ends here: what is narrower gets two seconds of its own.
                    part = part.narrower() or part
                    break
                _add(opened, rows, kept_ms=part.bucket * BUCKET_MS, now_ms=now_ms)
                last_position = rows.rows[-1][0] if rows.rows else None
                part = part.following(last=last_position, next_page=rows.next_page, low=since.low_position)
            following = part.packed() if part.bucket <= last else None
            return parcels.page(opened, await self._shared(opened.found), following)

    async def cursor(self, mailbox: Mailbox) -> Cursor:
        key = (mailbox.user_id.bytes, bigint(mailbox.device_id))
        rows = await self._one("CURSOR", key, owner=mailbox.device_id)
        return Cursor(*rows[0]) if rows else Cursor()

    async def move_cursor(self, mailbox: Mailbox, cursor: Cursor, *, now_ms: int) -> None:
        del now_ms
        key = (mailbox.user_id.bytes, bigint(mailbox.device_id))
        values = (
            *key,
            bigint(cursor.low_position),
            integer(cursor.low_bucket),
            bigint(rising_time(cursor.low_position)),
        )
        await self._write("MOVE_CURSOR", values)

    async def history(self, reader: Mailbox, conversation_id: UUID, *, from_seq: int, to_seq: int) -> list[Envelope]:
        async with deadline():
            buckets = range(from_seq // HISTORY_BUCKET, to_seq // HISTORY_BUCKET + 1)
            ends = (bigint(from_seq), bigint(to_seq))
            pages = [
                self._keyspace.all("RANGE", (conversation_id.bytes, integer(bucket), *ends), owner=conversation_id)
                for bucket in buckets
            ]
            rows = [row for page in await asyncio.gather(*pages) for row in page[::-1] if row[0] is not None]
            entries = [history_entry(conversation_id, row) for row in rows]
            own = await self._own(reader, entries)
            now_ms = self._clock() // 1000
            return [
                parcels.history_envelope(
                    entry, own.get(entry.message_id), gone=row[-1] is not None or _expired(entry, now_ms)
                )
                for entry, row in zip(entries, rows, strict=True)
            ]

    async def acknowledged(self, reader: Mailbox, entries: Sequence[LogEntry]) -> set[int]:
        async with deadline():
            rows = await self._own_rows(reader, entries)
        return {row[0] for row in rows if row[2] is not None} & {entry.message_id for entry in entries}

    async def newest(self, conversation_id: UUID, *, at_least: int) -> Newest:
        async with deadline():
            bucket, newest = at_least // HISTORY_BUCKET, Newest(at_least)
            while True:
                window = range(bucket, bucket + WIDEST_HOLE)
                tops = await asyncio.gather(
                    *(
                        self._keyspace.all("HIGHEST", (conversation_id.bytes, integer(one)), owner=conversation_id)
                        for one in window
                    )
                )
                found = [Newest(seq, message_id or 0) for rows in tops for seq, message_id in rows]
                if not found:
                    return newest
                newest = max([newest, *(one for one in found if one.seq > at_least)], key=lambda one: one.seq)
                bucket = window.stop

    async def prune(self, *, now_ms: int, page: bytes | None = None, size: int = 16) -> Pruned:
        """Every row was given its TTL when it was written."""
        return Pruned()

    async def purge(self, mailbox: Mailbox, *, from_ms: int, until_ms: int, size: int) -> bool:
        """One range tombstone for each bucket, in the time of `until_ms`: what was kept until then does not come back while they last."""
        del size
        at, user_id, device_id = bigint(until_ms * 1000), mailbox.user_id.bytes, bigint(mailbox.device_id)
        buckets = range(bucket_of(from_ms), bucket_of(until_ms) + 1)
        async with deadline():
            await self._keyspace.opened()
            rows = [self._keyspace.bound("PURGE", (at, user_id, integer(bucket), device_id)) for bucket in buckets]
            await self._keyspace.write_all([*rows, self._keyspace.bound("PURGE_CURSOR", (at, user_id, device_id))])
        return True

    async def heartbeat(self) -> Heartbeat | None:
        rows = await self._one("HEARTBEAT", (), owner=1)
        return Heartbeat(*rows[0]) if rows else None

    async def beat(self, heartbeat: Heartbeat, *, now_ms: int) -> None:
        mark = (
            bigint(heartbeat.system_identifier),
            integer(heartbeat.timeline),
            integer(heartbeat.era),
            bigint(heartbeat.beat),
        )
        await self._write(
            "BEAT", (*mark, heartbeat.local_dc.encode(), bigint(now_ms), bigint(rising_time(heartbeat.rank)))
        )

    # --- rows -------------------------------------------------------------------------------------------------------------------------

    def _history_rows(
        self, entries: Sequence[LogEntry], deletions: Mapping[tuple[UUID, int], "_Deletion"], now_us: int
    ) -> Rows:
        rows = no_rows()
        for entry in entries:
            bucket = entry.seq // HISTORY_BUCKET
            rows[entry.conversation_id, bucket] += self._kept(
                entry, (entry.conversation_id.bytes, integer(bucket), bigint(entry.seq)), now_us
            )
        for (conversation_id, seq), deletion in deletions.items():
            bucket = seq // HISTORY_BUCKET
            values = (
                bigint(deletion.at_us),
                bigint(deletion.deleted_ms),
                conversation_id.bytes,
                integer(bucket),
                bigint(seq),
            )
            rows[conversation_id, bucket].append(Row(self._keyspace.bound("EMPTY", values), 64))
        return rows

    def _kept(self, entry: LogEntry, key: tuple[bytes, ...], now_us: int) -> Iterator[Row]:
        written = bigint(entry.kept_ms * 1000)
        lasting = entry.shared if entry.expires_ms is None else None
        yield Row(
            self._keyspace.bound("KEEP", (*key, *history_values(entry), or_unset(lasting), written)),
            256 + len(lasting or b""),
        )
        # Also where it has expired by this process's clock: a mailbox row without its content would be lost for others.
        if entry.shared is not None and entry.expires_ms is not None:
            ttl = integer(seconds_until(entry.expires_ms, now_us, CONTENT_LIVES_LONGER))
            yield Row(
                self._keyspace.bound("KEEP_CONTENT_FOR_A_WHILE", (written, ttl, entry.shared, *key)),
                64 + len(entry.shared),
            )

    def _mailbox_rows(self, entries: Sequence[LogEntry], now_us: int) -> Rows:
        rows = no_rows()
        for entry in entries:
            bucket, header = bucket_of(entry.kept_ms), parcels.header_of(entry)
            place = (
                bigint(entry.position),
                bigint(entry.message_id),
                entry.conversation_id.bytes,
                bigint(entry.seq),
            )
            ttl = integer(seconds_until(ends_ms(entry.kept_ms, entry.expires_ms), now_us, ROW_LIVES_LONGER))
            tail, bucket_value = (bigint(entry.kept_ms * 1000), ttl), integer(bucket)
            for to in entry.recipients:
                parcel = parcels.pack(header, to)
                values = (to.user_id.bytes, bucket_value, bigint(to.device_id), *place, parcel, *tail)
                rows[to.user_id, bucket].append(Row(self._keyspace.bound("DELIVER", values), 96 + len(parcel)))
        return rows

    def _ack_rows(self, acks: Sequence[Ack]) -> Rows:
        """Written after the deposit whatever this process's clock says: nothing may overwrite an acknowledgement."""
        rows, now_us = no_rows(), self._clock()
        for ack in acks:
            bucket, mailbox = bucket_of(ack.kept_ms), ack.mailbox
            at_us = max(now_us, ack.kept_ms * 1000 + 1)
            # It outlives the deposit: else the row would come back without its body.
            ttl = seconds_until(ends_ms(ack.kept_ms, ack.expires_ms), now_us, ACK_LIVES_LONGER)
            key = (
                mailbox.user_id.bytes,
                integer(bucket),
                bigint(mailbox.device_id),
                bigint(ack.position),
                bigint(ack.message_id),
            )
            statement = self._keyspace.bound("ACKNOWLEDGE", (bigint(at_us), integer(ttl), bigint(at_us // 1000), *key))
            rows[mailbox.user_id, bucket].append(Row(statement, 64))
        return rows

    async def _deletions(self, entries: Sequence[LogEntry]) -> dict[tuple[UUID, int], "_Deletion"]:
        """What these entries delete. A deletion is written in the time of the row it empties, as far as that is known."""
        kept = {(entry.conversation_id, entry.seq): entry.kept_ms for entry in entries}
        deletions = {}
        for entry in entries:
            if entry.deletes_seq is not None:
                key = (entry.conversation_id, entry.deletes_seq)
                kept_ms = kept.get(key) or await self._kept_ms(*key) or entry.kept_ms
                deletions[key] = _Deletion(kept_ms * 1000 + DELETION_RANK, entry.kept_ms)
        return deletions

    async def _kept_ms(self, conversation_id: UUID, seq: int) -> int | None:
        key = (conversation_id.bytes, integer(seq // HISTORY_BUCKET), bigint(seq))
        rows = await self._keyspace.all("KEPT", key, owner=conversation_id)
        return rows[0][0] if rows else None

    async def _shared(self, found: Iterable[parcels.Found]) -> parcels.Shared:
        wanted = defaultdict[tuple[UUID, int], list[int]](list)
        for one in found:
            if one.has_shared:
                wanted[one.envelope.conversation_id, one.envelope.seq // HISTORY_BUCKET].append(one.envelope.seq)
        partitions = [(key, some) for key, seqs in wanted.items() for some in _some_of(seqs)]
        selects = [
            self._keyspace.all("SHARED", (key[0].bytes, integer(key[1]), bigints(seqs)), owner=key[0])
            for key, seqs in partitions
        ]
        answers = zip(partitions, await asyncio.gather(*selects), strict=True)
        return {
            (key[0], row[0]): parcels.Content(row[1], row[2] is not None) for (key, _), rows in answers for row in rows
        }

    async def _own(self, reader: Mailbox, entries: Iterable[LogEntry]) -> dict[int, bytes]:
        """The reader's own parcels by message_id, as far as its mailbox still holds them."""
        return {row[0]: row[1] for row in await self._own_rows(reader, entries) if row[2] is None}

    async def _own_rows(self, reader: Mailbox, entries: Iterable[LogEntry]) -> list[Any]:
        """What the reader's mailbox has of these: message_id, parcel, and when it was acknowledged."""
        wanted = defaultdict[int, set[int]](set)
        for entry in entries:
            wanted[bucket_of(entry.kept_ms)].add(entry.position)
        key = (reader.user_id.bytes, bigint(reader.device_id))
        selects = [
            self._keyspace.all("OWN", (key[0], integer(bucket), key[1], bigints(some)), owner=reader.device_id)
            for bucket, positions in wanted.items()
            for some in _some_of(sorted(positions))
        ]
        return [row for rows in await asyncio.gather(*selects) for row in rows]

    def _beginning(self, since: Cursor, now_ms: int) -> Slice:
        return Slice.whole(max(since.low_bucket, bucket_of(now_ms - RETENTION_MS)), since.low_position)

    async def _read(self, mailbox: Mailbox, part: Slice, limit: int) -> RowPage | None:
        """A page of it. None: a node has given it up, and less of it may be read."""
        key = (mailbox.user_id.bytes, integer(part.bucket), bigint(mailbox.device_id))
        values = (*key, bigint(part.after), bigint(part.until))
        try:
            return await self._keyspace.select("PENDING", values, owner=mailbox.device_id, page=part.page, limit=limit)
        except ReadGivenUp:
            if part.narrower() is None:
                raise
            return None

    async def _one(self, name: str, values: Sequence[Any], *, owner: Any) -> list[Any]:
        async with deadline():
            return await self._keyspace.all(name, values, owner=owner)

    async def _write(self, name: str, values: Sequence[Any]) -> None:
        async with deadline():
            await self._keyspace.write(name, values)


class _Deletion(NamedTuple):
    """When a row is emptied: the time of the write, and what is shown."""

    at_us: int
    deleted_ms: int


def _turns() -> Iterator[None]:
    """The requests of one call: a first one in any case, so that its caller comes on, and others as long as there is time for them."""
    end = asyncio.get_running_loop().time() + PENDING_SECONDS
    for _ in range(PENDING_REQUESTS):
        yield
        if asyncio.get_running_loop().time() >= end:
            return


def _is_alive(envelope: Envelope, now_ms: int) -> bool:
    return ends_ms(envelope.kept_ms, envelope.expires_ms) > now_ms


def _add(opened: parcels.Opened, rows: RowPage, *, kept_ms: int, now_ms: int) -> None:
    """What of these rows is neither acknowledged nor expired."""
    read = parcels.opened((row for row in rows.rows if row[5] is None), kept_ms=kept_ms)
    opened.found.extend(one for one in read.found if _is_alive(one.envelope, now_ms))
    opened.unreadable.extend(read.unreadable)


def _expired(entry: LogEntry, now_ms: int) -> bool:
    return entry.expires_ms is not None and entry.expires_ms <= now_ms


def _some_of(values: Sequence[int]) -> Iterator[Sequence[int]]:
    return (values[start : start + IN_VALUES] for start in range(0, len(values), IN_VALUES))
