"""The message store in memory: for tests and for trying things out. It keeps every promise but durability."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import islice
from struct import Struct
from uuid import UUID

import msgspec

from accounts import clocks
from conversations.allocation import Newest
from conversations.entries import LogEntry
from messaging.envelopes import Ack, Cursor, Envelope, Heartbeat, Mailbox, Page
from messaging.store import parcels
from messaging.store.protocol import Pruned, bucket_of, ends_ms

_PAGE = Struct("!qqq")

Key = tuple[int, int, int]


class _Row(msgspec.Struct):
    """A mailbox row; the conversation is unknown while only its acknowledgement has come."""

    ends_ms: int
    conversation_id: UUID | None = None
    seq: int = 0
    parcel: bytes = b""
    delivered: bool = False


class MemoryStore:
    """MessageStore in dictionaries. Mailbox rows stand under (bucket, position, message_id)."""

    def __init__(self) -> None:
        self._history: dict[tuple[UUID, int], LogEntry] = {}
        self._deleted: set[tuple[UUID, int]] = set()
        self._mailboxes: defaultdict[Mailbox, dict[Key, _Row]] = defaultdict(dict)
        self._cursors: dict[Mailbox, Cursor] = {}
        self._heartbeat: Heartbeat | None = None

    async def open(self) -> None:
        pass

    async def close(self) -> None:
        pass

    async def probe(self) -> None:
        pass

    async def deposit(self, entries: Sequence[LogEntry]) -> None:
        for entry in entries:
            self._history.setdefault((entry.conversation_id, entry.seq), msgspec.structs.replace(entry, recipients=()))
            if entry.deletes_seq is not None:
                self._deleted.add((entry.conversation_id, entry.deletes_seq))
            for recipient in entry.recipients:
                row = self._row(Mailbox(recipient.user_id, recipient.device_id), entry)
                row.conversation_id, row.seq = entry.conversation_id, entry.seq
                if not row.delivered:
                    row.parcel = parcels.pack(parcels.header_of(entry), recipient)

    async def acknowledge(self, acks: Sequence[Ack]) -> None:
        for ack in acks:
            row = self._row(ack.mailbox, ack)
            row.delivered, row.parcel = True, b""

    def _row(self, mailbox: Mailbox, of: LogEntry | Ack) -> _Row:
        return self._mailboxes[mailbox].setdefault(_key(of), _Row(ends_ms(of.kept_ms, of.expires_ms)))

    async def pending(
        self, mailbox: Mailbox, *, since: Cursor, now_ms: int, page: bytes | None = None, limit: int = 256
    ) -> Page:
        keys = list(islice(self._pending_keys(mailbox, since, now_ms, page), limit))
        rows = [self._mailboxes[mailbox][key] for key in keys]
        opened = parcels.opened(
            (key[1], key[2], row.conversation_id, row.seq, row.parcel) for key, row in zip(keys, rows, strict=True)
        )
        next_page = _PAGE.pack(*keys[-1]) if len(keys) == limit else None
        return parcels.page(opened, self._shared(opened.found), next_page)

    def _pending_keys(self, mailbox: Mailbox, since: Cursor, now_ms: int, page: bytes | None) -> Iterator[Key]:
        after = _PAGE.unpack(page) if page else (0, 0, 0)
        buckets = range(since.low_bucket, bucket_of(now_ms) + 2)
        for key, row in sorted(self._mailboxes[mailbox].items()):
            wanted = key > after and key[0] in buckets and key[1] > since.low_position
            if wanted and not row.delivered and row.ends_ms > now_ms:
                yield key

    def _shared(self, found: Sequence[parcels.Found]) -> parcels.Shared:
        keys = [(one.envelope.conversation_id, one.envelope.seq) for one in found if one.has_shared]
        return {key: self._content(key) for key in keys}

    def _content(self, key: tuple[UUID, int]) -> parcels.Content:
        deleted = key in self._deleted
        return parcels.Content(None if deleted else self._history[key].shared, deleted)

    async def cursor(self, mailbox: Mailbox) -> Cursor:
        return self._cursors.get(mailbox, Cursor())

    async def move_cursor(self, mailbox: Mailbox, cursor: Cursor, *, now_ms: int) -> None:
        if cursor.low_position > (await self.cursor(mailbox)).low_position:
            self._cursors[mailbox] = cursor

    async def history(self, reader: Mailbox, conversation_id: UUID, *, from_seq: int, to_seq: int) -> list[Envelope]:
        keys = ((conversation_id, seq) for seq in range(from_seq, to_seq + 1))
        return [self._read(reader, self._history[key]) for key in keys if key in self._history]

    def _read(self, reader: Mailbox, entry: LogEntry) -> Envelope:
        row = self._mailboxes[reader].get(_key(entry))
        deleted = (entry.conversation_id, entry.seq) in self._deleted
        return parcels.history_envelope(entry, row.parcel if row else None, gone=deleted or _expired(entry.expires_ms))

    async def acknowledged(self, reader: Mailbox, entries: Sequence[LogEntry]) -> set[int]:
        rows = ((entry.message_id, self._mailboxes[reader].get(_key(entry))) for entry in entries)
        return {message_id for message_id, row in rows if row is not None and row.delivered}

    async def newest(self, conversation_id: UUID, *, at_least: int) -> Newest:
        stored = [Newest(seq, entry.message_id) for (of, seq), entry in self._history.items() if of == conversation_id]
        return max([one for one in stored if one.seq > at_least], key=lambda one: one.seq, default=Newest(at_least))

    async def prune(self, *, now_ms: int, page: bytes | None = None, size: int = 16) -> Pruned:
        del page, size
        ended = [(rows, key) for rows in self._mailboxes.values() for key, row in rows.items() if row.ends_ms < now_ms]
        for rows, key in ended:
            del rows[key]
        return Pruned(len(ended))

    async def purge(self, mailbox: Mailbox, *, from_ms: int, until_ms: int, size: int) -> bool:
        del from_ms, until_ms, size
        self._mailboxes.pop(mailbox, None)
        self._cursors.pop(mailbox, None)
        return True

    async def heartbeat(self) -> Heartbeat | None:
        return self._heartbeat

    async def beat(self, heartbeat: Heartbeat, *, now_ms: int) -> None:
        if self._heartbeat is None or heartbeat.rank >= self._heartbeat.rank:
            self._heartbeat = heartbeat


def _key(of: LogEntry | Ack) -> Key:
    return bucket_of(of.kept_ms), of.position, of.message_id


def _expired(expires_ms: int | None) -> bool:
    return expires_ms is not None and expires_ms <= clocks.now_ms()
