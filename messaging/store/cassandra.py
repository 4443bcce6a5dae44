"""The message store in Cassandra or ScyllaDB.

Everything is a write to one row, found by its key, with a time of its own (microseconds since 1970), so that nothing depends on the order in
which writes arrive: T = kept_ms in microseconds for a deposit, T and a rank for what is done to the row afterwards. Rows of one partition travel
together, in one unlogged batch; a request costs this process more than the rows in it.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from struct import Struct
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from cassandra import InvalidRequest
from cassandra.cluster import Cluster
from cassandra.query import UNSET_VALUE, BatchStatement, BatchType, BoundStatement

from conversations.allocation import Newest
from conversations.entries import LogEntry
from messaging.envelopes import Ack, Cursor, Envelope, Heartbeat, Mailbox, Page
from messaging.store import cql_statements, parcels
from messaging.store.bridge import Answer, Bridge
from messaging.store.cql_timing import timed
from messaging.store.deadline import deadline
from messaging.store.profiles import READS, WRITES, cluster_options, shut_down
from messaging.store.protocol import BUCKET_MS, RETENTION_MS, Pruned, StoreUnavailable, bucket_of, ends_ms

HISTORY_BUCKET = 1024
DELETION_RANK = 4
SHORTEST_TTL = 60
# Twenty years; both servers refuse more.
LONGEST_TTL = 20 * 365 * 24 * 3600
# Before its formats were widened Cassandra could write no moment after 2038-01-19T03:14:06Z, and it goes by the clock of its own nodes.
LAST_EXPIRY_S = 2**31 - 2 - 24 * 3600
ACK_LIVES_LONGER = 24 * 3600
# Shared content outlives the mailbox rows that need it, whatever the clocks of workers and nodes say.
CONTENT_LIVES_LONGER = 3600
BATCH_ROWS, BATCH_BYTES = 100, 256 * 1024
# A batch over several partitions is small enough that no server warns of it with its default settings.
ACROSS_PARTITIONS, ACROSS_BYTES = 10, 4 * 1024
# Seconds; the next call tries again.
CONNECT = {"connect_timeout": 2, "control_connection_timeout": 2}
# ScyllaDB's bound for the values of one IN.
IN_VALUES = 100
# A call that has asked this often returns, whatever it found, and lets its caller go on. A first drain, of all that is retained, asks 17 times.
PENDING_REQUESTS = 24
# How many history buckets without a row may lie between two that have some.
WIDEST_HOLE = 4

# Encoded here, because the driver's own binding is most of what a row costs.
_tiny, _int, _bigint = Struct(">b").pack, Struct(">i").pack, Struct(">q").pack
_BUCKET = Struct(">i")


class _Row(NamedTuple):
    """A write to one row, and about how many bytes it is."""

    statement: BoundStatement
    weight: int


_Rows = Mapping[tuple[UUID, int], list[_Row]]


def _no_rows() -> defaultdict[tuple[UUID, int], list[_Row]]:
    return defaultdict(list)


def microseconds() -> int:
    """This process's clock."""
    return time.time_ns() // 1000


class CassandraStore:
    """MessageStore in the keyspace that `messaging/cql` describes."""

    def __init__(self, config: Mapping[str, Any], *, clock: Callable[[], int] = microseconds) -> None:
        """`config` is what `profiles.cluster_config` returns; `clock` gives microseconds since 1970."""
        self._config, self._clock = config, clock
        self._cluster: Any = None
        self._prepared: dict[str, Any] = {}
        self._bridge: Bridge | None = None
        self._opening: asyncio.Task[Bridge] | None = None
        self._wanted = True

    async def open(self) -> None:
        self._wanted = True
        async with deadline():
            await self._opened()

    async def close(self) -> None:
        self._wanted = False
        cluster, self._cluster, self._bridge = self._cluster, None, None
        if cluster is not None:
            await asyncio.to_thread(shut_down, cluster)

    async def probe(self) -> None:
        await self.heartbeat()

    async def deposit(self, entries: Sequence[LogEntry]) -> None:
        if not entries:
            return
        async with deadline():
            bridge = await self._opened()
            now_us, deletions = self._clock(), await self._deletions(entries)
            history, mailboxes = self._history_rows(entries, deletions, now_us), self._mailbox_rows(entries, now_us)
            if any(entry.shared is not None for entry in entries):
                # A mailbox row without its shared content must never be seen.
                await self._tell(bridge, history)
                await self._tell(bridge, mailboxes)
            else:
                await self._tell(bridge, {**history, **mailboxes})

    async def acknowledge(self, acks: Sequence[Ack]) -> None:
        if not acks:
            return
        async with deadline():
            bridge = await self._opened()
            await self._tell(bridge, self._ack_rows(acks))

    async def pending(
        self, mailbox: Mailbox, *, since: Cursor, now_ms: int, page: bytes | None = None, limit: int = 256
    ) -> Page:
        async with deadline():
            first = max(since.low_bucket, bucket_of(now_ms - RETENTION_MS))
            bucket, state = _page_of(page) if page else (first, None)
            last, opened, requests = bucket_of(now_ms) + 1, parcels.Opened([], []), 0
            while bucket <= last and len(opened.found) < limit and requests < PENDING_REQUESTS:
                values = (mailbox.user_id.bytes, _int(bucket), _bigint(mailbox.device_id), _bigint(since.low_position))
                answer = await self._select("PENDING", values, page=state, limit=limit - len(opened.found))
                rows = parcels.opened((row for row in answer.rows if row[5] is None), kept_ms=bucket * BUCKET_MS)
                opened.found.extend(one for one in rows.found if _is_alive(one.envelope, now_ms))
                opened.unreadable.extend(rows.unreadable)
                requests += 1
                bucket, state = (bucket, answer.next_page) if answer.next_page else (bucket + 1, None)
            following = _BUCKET.pack(bucket) + (state or b"") if bucket <= last else None
            return parcels.page(opened, await self._shared(opened.found), following)

    async def cursor(self, mailbox: Mailbox) -> Cursor:
        rows = await self._one("CURSOR", (mailbox.user_id.bytes, _bigint(mailbox.device_id)))
        return Cursor(*rows[0]) if rows else Cursor()

    async def move_cursor(self, mailbox: Mailbox, cursor: Cursor, *, now_ms: int) -> None:
        del now_ms
        key = (mailbox.user_id.bytes, _bigint(mailbox.device_id))
        values = (
            *key,
            _bigint(cursor.low_position),
            _int(cursor.low_bucket),
            _bigint(_rising_time(cursor.low_position)),
        )
        await self._write("MOVE_CURSOR", values)

    async def history(self, reader: Mailbox, conversation_id: UUID, *, from_seq: int, to_seq: int) -> list[Envelope]:
        async with deadline():
            buckets = range(from_seq // HISTORY_BUCKET, to_seq // HISTORY_BUCKET + 1)
            ends = (_bigint(from_seq), _bigint(to_seq))
            pages = [self._all("RANGE", (conversation_id.bytes, _int(bucket), *ends)) for bucket in buckets]
            rows = [row for page in await asyncio.gather(*pages) for row in page[::-1] if row[0] is not None]
            entries = [_entry(conversation_id, row) for row in rows]
            own = await self._own(reader, entries)
            now_ms = self._clock() // 1000
            return [
                parcels.history_envelope(
                    entry, own.get(entry.message_id), gone=row[-1] is not None or _expired(entry, now_ms)
                )
                for entry, row in zip(entries, rows, strict=True)
            ]

    async def newest(self, conversation_id: UUID, *, at_least: int) -> Newest:
        async with deadline():
            bucket, newest = at_least // HISTORY_BUCKET, Newest(at_least)
            while True:
                window = range(bucket, bucket + WIDEST_HOLE)
                tops = await asyncio.gather(
                    *(self._all("HIGHEST", (conversation_id.bytes, _int(one))) for one in window)
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
        at, user_id, device_id = _bigint(until_ms * 1000), mailbox.user_id.bytes, _bigint(mailbox.device_id)
        buckets = range(bucket_of(from_ms), bucket_of(until_ms) + 1)
        async with deadline():
            bridge = await self._opened()
            rows = [self._bound("PURGE", (at, user_id, _int(bucket), device_id)) for bucket in buckets]
            await bridge.tell([*rows, self._bound("PURGE_CURSOR", (at, user_id, device_id))], profile=WRITES)
        return True

    async def heartbeat(self) -> Heartbeat | None:
        rows = await self._one("HEARTBEAT", ())
        return Heartbeat(*rows[0]) if rows else None

    async def beat(self, heartbeat: Heartbeat, *, now_ms: int) -> None:
        mark = (
            _bigint(heartbeat.system_identifier),
            _int(heartbeat.timeline),
            _int(heartbeat.era),
            _bigint(heartbeat.beat),
        )
        await self._write(
            "BEAT", (*mark, heartbeat.local_dc.encode(), _bigint(now_ms), _bigint(_rising_time(heartbeat.rank)))
        )

    # --- rows -------------------------------------------------------------------------------------------------------------------------

    def _history_rows(
        self, entries: Sequence[LogEntry], deletions: Mapping[tuple[UUID, int], "_Deletion"], now_us: int
    ) -> _Rows:
        rows = _no_rows()
        for entry in entries:
            bucket = entry.seq // HISTORY_BUCKET
            rows[entry.conversation_id, bucket] += self._kept(
                entry, (entry.conversation_id.bytes, _int(bucket), _bigint(entry.seq)), now_us
            )
        for (conversation_id, seq), deletion in deletions.items():
            bucket = seq // HISTORY_BUCKET
            values = (
                _bigint(deletion.at_us),
                _bigint(deletion.deleted_ms),
                conversation_id.bytes,
                _int(bucket),
                _bigint(seq),
            )
            rows[conversation_id, bucket].append(_Row(self._bound("EMPTY", values), 64))
        return rows

    def _kept(self, entry: LogEntry, key: tuple[bytes, ...], now_us: int) -> Iterator[_Row]:
        written = _bigint(entry.kept_ms * 1000)
        lasting = entry.shared if entry.expires_ms is None else None
        yield _Row(
            self._bound("KEEP", (*key, *_history_values(entry), _or_unset(lasting), written)), 256 + len(lasting or b"")
        )
        if entry.shared is not None and entry.expires_ms is not None and entry.expires_ms * 1000 > now_us:
            ttl = _int(_seconds_until(entry.expires_ms, now_us, CONTENT_LIVES_LONGER))
            yield _Row(
                self._bound("KEEP_CONTENT_FOR_A_WHILE", (written, ttl, entry.shared, *key)), 64 + len(entry.shared)
            )

    def _mailbox_rows(self, entries: Sequence[LogEntry], now_us: int) -> _Rows:
        rows = _no_rows()
        for entry in entries:
            bucket, header = bucket_of(entry.kept_ms), parcels.header_of(entry)
            place = (
                _bigint(entry.position),
                _bigint(entry.message_id),
                entry.conversation_id.bytes,
                _bigint(entry.seq),
            )
            ttl = _int(_seconds_until(ends_ms(entry.kept_ms, entry.expires_ms), now_us))
            tail, bucket_value = (_bigint(entry.kept_ms * 1000), ttl), _int(bucket)
            for to in entry.recipients:
                parcel = parcels.pack(header, to)
                values = (to.user_id.bytes, bucket_value, _bigint(to.device_id), *place, parcel, *tail)
                rows[to.user_id, bucket].append(_Row(self._bound("DELIVER", values), 96 + len(parcel)))
        return rows

    def _ack_rows(self, acks: Sequence[Ack]) -> _Rows:
        """Written after the deposit whatever this process's clock says: nothing may overwrite an acknowledgement."""
        rows, now_us = _no_rows(), self._clock()
        for ack in acks:
            bucket, mailbox = bucket_of(ack.kept_ms), ack.mailbox
            at_us = max(now_us, ack.kept_ms * 1000 + 1)
            # It outlives the deposit: else the row would come back without its body.
            ttl = _seconds_until(ends_ms(ack.kept_ms, ack.expires_ms), now_us, ACK_LIVES_LONGER)
            key = (
                mailbox.user_id.bytes,
                _int(bucket),
                _bigint(mailbox.device_id),
                _bigint(ack.position),
                _bigint(ack.message_id),
            )
            statement = self._bound("ACKNOWLEDGE", (_bigint(at_us), _int(ttl), _bigint(at_us // 1000), *key))
            rows[mailbox.user_id, bucket].append(_Row(statement, 64))
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
        rows = await self._all("KEPT", (conversation_id.bytes, _int(seq // HISTORY_BUCKET), _bigint(seq)))
        return rows[0][0] if rows else None

    async def _shared(self, found: Iterable[parcels.Found]) -> parcels.Shared:
        wanted = defaultdict[tuple[UUID, int], list[int]](list)
        for one in found:
            if one.has_shared:
                wanted[one.envelope.conversation_id, one.envelope.seq // HISTORY_BUCKET].append(one.envelope.seq)
        partitions = [(key, some) for key, seqs in wanted.items() for some in _some_of(seqs)]
        selects = [self._all("SHARED", (key[0].bytes, _int(key[1]), _bigints(seqs))) for key, seqs in partitions]
        answers = zip(partitions, await asyncio.gather(*selects), strict=True)
        return {
            (key[0], row[0]): parcels.Content(row[1], row[2] is not None) for (key, _), rows in answers for row in rows
        }

    async def _own(self, reader: Mailbox, entries: Iterable[LogEntry]) -> dict[int, bytes]:
        """The reader's own parcels by message_id, as far as its mailbox still holds them."""
        wanted = defaultdict[int, set[int]](set)
        for entry in entries:
            wanted[bucket_of(entry.kept_ms)].add(entry.position)
        key = (reader.user_id.bytes, _bigint(reader.device_id))
        selects = [
            self._all("OWN", (key[0], _int(bucket), key[1], _bigints(some)))
            for bucket, positions in wanted.items()
            for some in _some_of(sorted(positions))
        ]
        return {row[0]: row[1] for rows in await asyncio.gather(*selects) for row in rows if row[2] is None}

    # --- the driver -------------------------------------------------------------------------------------------------------------------

    async def _tell(self, bridge: Bridge, rows: _Rows) -> None:
        await bridge.tell(_batches(rows, across=self._every_node_has_every_row()), profile=WRITES)

    def _every_node_has_every_row(self) -> bool:
        nodes = self._cluster.metadata.all_hosts()
        return bool(sum(node.datacenter == self._config["dc"] for node in nodes) <= self._config["rf"])

    def _bound(self, name: str, values: Sequence[Any]) -> BoundStatement:
        statement = BoundStatement(self._prepared[name])
        statement.values = values
        return statement

    async def _select(
        self, name: str, values: Sequence[Any], *, page: bytes | None = None, limit: int = 1000
    ) -> Answer:
        bridge = await self._opened()
        statement = self._bound(name, values)
        statement.fetch_size = limit
        return await bridge.ask(statement, profile=READS, page=page)

    async def _all(self, name: str, values: Sequence[Any]) -> list[Any]:
        """All rows: to the end of the pages, because a page may be empty and not the last."""
        answer = await self._select(name, values)
        rows = answer.rows
        while answer.next_page:
            answer = await self._select(name, values, page=answer.next_page)
            rows += answer.rows
        return rows

    async def _one(self, name: str, values: Sequence[Any]) -> list[Any]:
        async with deadline():
            return await self._all(name, values)

    async def _write(self, name: str, values: Sequence[Any]) -> None:
        async with deadline():
            bridge = await self._opened()
            await bridge.ask(self._bound(name, values), profile=WRITES)

    async def _opened(self) -> Bridge:
        """The bridge, connected at first use. A connection that takes longer than its caller waits serves the next one."""
        if self._bridge is not None:
            return self._bridge
        if self._opening is None:
            self._opening = asyncio.create_task(self._open())
            self._opening.add_done_callback(self._forget_opening)
        return await asyncio.shield(self._opening)

    async def _open(self) -> Bridge:
        try:
            cluster, session, prepared = await asyncio.to_thread(self._connected)
        except Exception as failure:
            message = f"Cassandra: {type(failure).__name__} while connecting"
            raise StoreUnavailable(message) from failure
        if not self._wanted:
            await asyncio.to_thread(shut_down, cluster)
            message = "closed while it was connecting"
            raise StoreUnavailable(message)
        self._cluster, self._prepared, self._bridge = cluster, prepared, Bridge(session, refusals=(InvalidRequest,))
        return self._bridge

    def _forget_opening(self, opening: "asyncio.Task[Bridge]") -> None:
        self._opening = None
        if not opening.cancelled():
            opening.exception()

    def _connected(self) -> tuple[Any, Any, dict[str, Any]]:
        cluster = Cluster(list(self._config["hosts"]), **cluster_options(self._config) | CONNECT)
        try:
            session = cluster.connect()
            # Every write has its own time.
            session.use_client_timestamp = False
            prepared = {
                name: session.prepare(timed(text.format(ks=self._config["keyspace"])))
                for name, text in cql_statements.ALL.items()
            }
        except Exception:
            shut_down(cluster)
            raise
        for statement in prepared.values():
            statement.is_idempotent = True
        return cluster, session, prepared


class _Deletion(NamedTuple):
    """When a row is emptied: the time of the write, and what is shown."""

    at_us: int
    deleted_ms: int


def _batches(partitions: _Rows, *, across: bool) -> Iterator[BoundStatement | BatchStatement]:
    """Everything to write: rows of one partition together and, where it costs no node a detour, small ones of several (`across`)."""
    pile, weight, count = list[_Row](), 0, 0
    for rows in partitions.values():
        for some in _chunks(rows):
            more = sum(row.weight for row in some)
            if not across or more > ACROSS_BYTES:
                yield _together(some)
                continue
            if pile and (count == ACROSS_PARTITIONS or weight + more > ACROSS_BYTES):
                yield _together(pile)
                pile, weight, count = [], 0, 0
            pile, weight, count = pile + some, weight + more, count + 1
    if pile:
        yield _together(pile)


def _chunks(rows: Sequence[_Row]) -> Iterator[list[_Row]]:
    some, weight = list[_Row](), 0
    for row in rows:
        if some and (len(some) == BATCH_ROWS or weight + row.weight > BATCH_BYTES):
            yield some
            some, weight = [], 0
        some.append(row)
        weight += row.weight
    yield some


def _together(rows: Sequence[_Row]) -> BoundStatement | BatchStatement:
    if len(rows) == 1:
        return rows[0].statement
    batch = BatchStatement(BatchType.UNLOGGED)
    batch.is_idempotent = True
    for row in rows:
        batch.add(row.statement)
    return batch


def _history_values(entry: LogEntry) -> Iterator[Any]:
    """The columns of KEEP between the key and the content."""
    yield _bigint(entry.message_id)
    yield _bigint(entry.position)
    yield _bigint(entry.kept_ms)
    yield entry.client_message_id.bytes
    yield UNSET_VALUE if entry.sender_user_id is None else entry.sender_user_id.bytes
    yield _bigint(entry.sender_device_id)
    yield _int(entry.sender_device_number)
    yield entry.kind.encode()
    yield _tiny(entry.urgent)
    for number in (entry.expires_ms, entry.reply_to, entry.deletes):
        yield UNSET_VALUE if number is None else _bigint(number)
    yield UNSET_VALUE if entry.system is None else msgspec.json.encode(entry.system)


def _or_unset(data: bytes | None) -> Any:
    # A null would be a tombstone.
    return UNSET_VALUE if data is None else data


def _seconds_until(end_ms: int, now_us: int, more: int = 0) -> int:
    """A TTL. Zero would mean for ever, and less is refused, like one that is longer than the server can write.

    Content that was to expire later than that expires then. When that moment is so near that mailboxes would be cut short, the servers in use
    have learnt to write later ones, or refuse.
    """
    now_s = now_us // 1_000_000
    writable = LAST_EXPIRY_S - now_s
    longest = min(writable, LONGEST_TTL) if writable > RETENTION_MS // 1000 + ACK_LIVES_LONGER else LONGEST_TTL
    return max(SHORTEST_TTL, min(end_ms // 1000 - now_s + more, longest))


def _rising_time(place: int) -> int:
    """The write time of a cursor at this position, or of a beat of this rank: rises with it, so that the furthest wins.

    Both have the era above their 48 bits of transaction id or beat. As it stands the seventh era would lie in the future, where ScyllaDB
    accepts no writes; with 42 bits for the rest, which last for four million million transactions, it is the four-hundredth.
    """
    era, rest = place >> 48, place & (1 << 48) - 1
    return (era << 42) + rest


def _is_alive(envelope: Envelope, now_ms: int) -> bool:
    return ends_ms(envelope.kept_ms, envelope.expires_ms) > now_ms


def _page_of(page: bytes) -> tuple[int, bytes | None]:
    return _BUCKET.unpack(page[:4])[0], page[4:] or None


_HISTORY_FIELDS = (
    *("message_id", "seq", "client_message_id", "position", "kept_ms", "kind", "sender_user_id", "sender_device_id"),
    *("sender_device_number", "reply_to", "deletes", "expires_ms"),
)


def _entry(conversation_id: UUID, row: Sequence[Any]) -> LogEntry:
    *values, urgent, system, content, _ = row
    fields = dict(zip(_HISTORY_FIELDS, values, strict=True))
    decoded = None if system is None else msgspec.json.decode(system)
    return LogEntry(conversation_id=conversation_id, urgent=bool(urgent), system=decoded, shared=content, **fields)


def _expired(entry: LogEntry, now_ms: int) -> bool:
    return entry.expires_ms is not None and entry.expires_ms <= now_ms


def _some_of(values: Sequence[int]) -> Iterator[Sequence[int]]:
    return (values[start : start + IN_VALUES] for start in range(0, len(values), IN_VALUES))


def _bigints(values: Sequence[int]) -> bytes:
    """list<bigint> as the protocol has it."""
    return _int(len(values)) + b"".join(_int(8) + _bigint(value) for value in values)
