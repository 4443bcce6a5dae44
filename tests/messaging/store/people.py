"""Alice (phone, laptop) and Bob (phone) in a conversation nobody else uses, and the entries it gets."""

import itertools
import random
import time
from typing import Any
from uuid import UUID, uuid4

from conversations.entries import LogEntry, Recipient
from messaging.envelopes import Ack, Cursor, Envelope, Mailbox
from messaging.store.protocol import MessageStore, bucket_of

MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def some_id() -> int:
    return random.getrandbits(52) | 1 << 52


class Chat:
    """A conversation with ids of its own, so that tests share a server without meeting."""

    def __init__(self) -> None:
        self.id = uuid4()
        self.alice, self.bob = uuid4(), uuid4()
        self.phone, self.laptop = Mailbox(self.alice, some_id()), Mailbox(self.alice, some_id())
        self.bobs = Mailbox(self.bob, some_id())
        self.seqs, self.positions, self.message_ids = (
            itertools.count(1),
            itertools.count(some_id()),
            itertools.count(some_id()),
        )
        self.now = now_ms()

    def entry(self, *to: Mailbox, ciphertext: bytes | None = b"for you", **fields: Any) -> LogEntry:
        """The next entry, from Bob's phone, to Alice's phone unless told otherwise."""
        defaults: dict[str, Any] = {
            "conversation_id": self.id,
            "seq": next(self.seqs),
            "message_id": next(self.message_ids),
            "position": next(self.positions),
            "kept_ms": self.now,
            "client_message_id": uuid4(),
            "sender_user_id": self.bob,
            "sender_device_id": self.bobs.device_id,
            "sender_device_number": 1,
            "recipients": tuple(Recipient(one.user_id, one.device_id, ciphertext) for one in to or (self.phone,)),
        }
        return LogEntry(**defaults | fields)

    def entries(self, count: int, *to: Mailbox, **fields: Any) -> list[LogEntry]:
        return [self.entry(*to, **fields) for _ in range(count)]


def ack(mailbox: Mailbox, entry: LogEntry) -> Ack:
    return Ack(mailbox, entry.message_id, entry.position, entry.kept_ms, entry.expires_ms)


async def drain(
    store: MessageStore,
    mailbox: Mailbox,
    *,
    now: int | None = None,
    low_position: int = 0,
    low_bucket: int | None = None,
    limit: int = 256,
) -> list[Envelope]:
    """Everything pending, page by page to the end."""
    now = now or now_ms()
    since = Cursor(low_position, bucket_of(now - 6 * DAY) if low_bucket is None else low_bucket)
    page = await store.pending(mailbox, since=since, now_ms=now, limit=limit)
    found = list(page.envelopes)
    while page.next_page is not None:
        page = await store.pending(mailbox, since=since, now_ms=now, page=page.next_page, limit=limit)
        found += page.envelopes
    return found


async def seqs(store: MessageStore, mailbox: Mailbox, **how: Any) -> list[int]:
    return [envelope.seq for envelope in await drain(store, mailbox, **how)]


async def read(
    store: MessageStore, reader: Mailbox, conversation_id: UUID, from_seq: int = 1, to_seq: int = 100
) -> list[Envelope]:
    return await store.history(reader, conversation_id, from_seq=from_seq, to_seq=to_seq)


async def purge(store: MessageStore, mailbox: Mailbox, *, from_ms: int, until_ms: int) -> None:
    """All of the mailbox, two rows at a time."""
    while not await store.purge(mailbox, from_ms=from_ms, until_ms=until_ms, size=2):
        pass


async def prune(store: MessageStore, *, now: int, size: int = 3) -> int:
    """How much was removed from the first page to the last."""
    pruned = await store.prune(now_ms=now, size=size)
    removed = pruned.removed
    while pruned.next_page is not None:
        pruned = await store.prune(now_ms=now, page=pruned.next_page, size=size)
        removed += pruned.removed
    return removed
