"""MessageStore: what keeps messages, and what it promises.

Three implementations stand beside this file: `memory`, `sql` (PostgreSQL) and `cassandra` (Cassandra, ScyllaDB). All pass the one contract
in `tests/messaging/store/contract.py`; a promise written here has a test there.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol
from uuid import UUID

from conversations.allocation import Newest
from conversations.entries import LogEntry
from messaging.envelopes import Ack, Cursor, Envelope, Heartbeat, Mailbox, Page

DAY_MS = 24 * 3600 * 1000
BUCKET_MS = 3 * DAY_MS
RETENTION_MS = 45 * DAY_MS


def bucket_of(kept_ms: int) -> int:
    """The mailbox bucket (3 days wide) of a time in milliseconds since 1970."""
    return kept_ms // BUCKET_MS


def ends_ms(kept_ms: int, expires_ms: int | None) -> int:
    """When a mailbox row ends, in milliseconds since 1970."""
    end = kept_ms + RETENTION_MS
    return end if expires_ms is None else min(end, expires_ms)


class StoreUnavailable(Exception):
    """The store did not answer, or not in time. What was asked may or may not have happened; everything may be asked again."""


class StoreRefused(StoreUnavailable):
    """The store is well and refuses what it was given; asking again changes nothing. Where nobody can tell the rows apart it is as good as away."""


class Pruned(NamedTuple):
    """What one call of `prune` removed or emptied, and the page at which the next one goes on; None: there is no more."""

    removed: int = 0
    next_page: bytes | None = None


class MessageStore(Protocol):
    """Keeps history (one row per message) and mailboxes (one row per recipient device).

    All methods are coroutines of one event loop, may run concurrently, and raise `StoreUnavailable` (and nothing else for a fault of the
    store) within 2 s. A batch that is refused for one of its rows may have written others. Every write is idempotent and order-independent:
    whatever is repeated, late or overtaken leaves the same rows.
    """

    async def open(self) -> None:
        """Connect and prepare. Raises `StoreUnavailable`; may be called again."""

    async def close(self) -> None:
        """Release connections. Idempotent."""

    async def probe(self) -> None:
        """Return when the store can answer a quorum read."""

    async def deposit(self, entries: Sequence[LogEntry]) -> None:
        """Afterwards each entry has its history row and each recipient device its mailbox row, readable by everyone.

        Device ids are unique in the installation. An entry with a `deletes_seq` empties the history row of that seq, whichever of the two
        comes first. Mailbox rows end at kept_ms + RETENTION_MS or at `expires_ms`, whichever is earlier. A row that is already acknowledged
        stays acknowledged and without its ciphertext.
        """

    async def pending(
        self, mailbox: Mailbox, *, since: Cursor, now_ms: int, page: bytes | None = None, limit: int = 256
    ) -> Page:
        """Un-acknowledged envelopes with position > since.low_position that end after `now_ms`, by (position, message_id).

        Reads at least buckets since.low_bucket … bucket_of(now_ms) + 1; a store that has buckets begins with the oldest and keeps the order
        within each. `page` is the former page's `next_page`: whoever stops before the end goes on from there, because from `since` every
        acknowledged row would be read again. A page may be empty and not the last; a row may come once more on the next one, none is left out.
        Content shared by all recipients is filled in; that of a deleted message is not, and the envelope says `deleted`. A row that cannot be
        decoded, or whose shared content is lost, is named in the page's `unreadable` instead; it stays.
        """

    async def acknowledge(self, acks: Sequence[Ack]) -> None:
        """Afterwards these rows never appear in `pending` again, also when their deposit comes later, and their ciphertext is gone."""

    async def cursor(self, mailbox: Mailbox) -> Cursor:
        """The cursor last moved here, or Cursor() when there was none."""

    async def move_cursor(self, mailbox: Mailbox, cursor: Cursor, *, now_ms: int) -> None:
        """Remember where the next drain begins. The largest low_position wins."""

    async def history(self, reader: Mailbox, conversation_id: UUID, *, from_seq: int, to_seq: int) -> list[Envelope]:
        """Rows with from_seq <= seq <= to_seq (at most 1,000 apart) that the store has, in ascending seq.

        `ciphertext` is the reader's own while its mailbox row still holds it, else None. A deleted or expired message has `deleted` and no
        content.
        """

    async def acknowledged(self, reader: Mailbox, entries: Sequence[LogEntry]) -> set[int]:
        """The message_ids of those of these (at most 1,000) that the reader has acknowledged, whether they are deposited already or not."""

    async def newest(self, conversation_id: UUID, *, at_least: int) -> Newest:
        """The highest seq stored of the conversation, not below `at_least` (a seq known to exist, or 0), and its message_id.

        The message_id is 0 where nothing above `at_least` is stored.
        """

    async def prune(self, *, now_ms: int, page: bytes | None = None, size: int = 16) -> Pruned:
        """Remove some of what is over: mailbox rows that have ended, content that has expired, cursors of mailboxes long left.

        About `size` rows or blocks are looked at; `page` is the former answer's `next_page`. Nobody who reads by the same clock notices, and
        nothing that is deposited or acknowledged later comes back by it. A store whose rows end by themselves has nothing to do.
        """

    async def purge(self, mailbox: Mailbox, *, from_ms: int, until_ms: int, size: int) -> bool:
        """Remove the mailbox of a device that is gone for good: its cursor, and the rows of what was kept between these moments. Whether that is done.

        Otherwise about `size` rows were removed, and it is to be called again. Both moments are facts about the device, not the time of the call: to
        repeat it changes nothing. What is deposited afterwards may come back, until its end, in a mailbox nobody reads.
        """

    async def heartbeat(self) -> Heartbeat | None:
        """The last beat, None in a store never used."""

    async def beat(self, heartbeat: Heartbeat, *, now_ms: int) -> None:
        """Write the heartbeat row. The highest rank wins, whatever comes late. `now_ms` is for people."""
