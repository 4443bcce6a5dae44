"""Mailboxes: bringing a device what is committed for it, and taking its acknowledgements.

A `Delivery` belongs to one socket. Hints bring envelopes at once; the drain loop makes sure, whatever became of the hints: it clears its flag *before*
it reads, reads the watermark *before* the mailbox, pages every bucket to its end, and sweeps even when nobody said there is anything.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Iterable, Sequence
from weakref import WeakKeyDictionary

from accounts import clocks
from accounts.wire.refusals import StorageUnavailable
from conversations import outbox, sources
from conversations.outbox import Look, Watermark
from messaging.acks import Acknowledged, AckWriter
from messaging.counts import counts
from messaging.envelopes import Ack, Cursor, Envelope, Mailbox, Unreadable
from messaging.gaps import GapTeller
from messaging.passes import Oldest, Pass
from messaging.pauses import about, is_set_within
from messaging.receipts import delivered
from messaging.sessions import Session
from messaging.store.protocol import BUCKET_MS, DAY_MS, RETENTION_MS, MessageStore, StoreUnavailable, bucket_of
from messaging.undeposited import Undeposited
from messaging.weights import row_bytes
from messaging.window import Window

logger = logging.getLogger(__name__)

PAGE = 256
# Passes of one process that ask PostgreSQL at the same time.
MOST_LOOKING = 3
# And those that read a page of their mailbox.
MOST_READING = 16
SUBSCRIBED_WITHIN_SECONDS = 0.1
# After an outage so many sockets of a process look in a second; the last of them looks after this long.
LOOKS_PER_SECOND = 100
LONGEST_SPREAD_SECONDS = 20.0
SWEEP_SECONDS = 30.0
SWEEP_WITHOUT_HINTS_SECONDS = 5.0
RETRY_SECONDS = 3.0
CURSOR_EVERY_SECONDS = 60.0


class Delivery:
    """What one socket gets. `send` writes envelopes to it, `queue_empty` says that the backlog of the connect is done."""

    def __init__(
        self,
        session: Session,
        *,
        store: MessageStore,
        acks: AckWriter,
        send: Callable[[Sequence[Envelope]], None],
        queue_empty: Callable[[], None],
        hints_arrive: Callable[[], bool],
        crowd: Callable[[], int] = lambda: 1,
    ) -> None:
        """`crowd`: how many sockets this process has."""
        self._session = session
        self._mailbox = Mailbox(session.user_id, session.device_id)
        self._store = store
        self._acks = acks
        self._send = send
        self._queue_empty = queue_empty
        self._hints_arrive = hints_arrive
        self._crowd = crowd
        self._window = Window()
        self._undeposited = Undeposited(self._mailbox)
        self.gaps = GapTeller(self._mailbox)
        self._store_is_away = False
        self._dirty = asyncio.Event()
        self._subscribed = asyncio.Event()
        self._cut = False
        self._emptied = False
        self._taken = 0
        self._unfinished: Pass | None = None
        self._cursor: Cursor | None = None
        self._cursor_moved_at = 0.0

    # --- hints -----------------------------------------------------------------------------------------------------------------

    def look(self) -> None:
        """Something may be in the mailbox."""
        self._dirty.set()

    def subscribed(self) -> None:
        """Hints arrive from now on; what came before may have been missed.

        The first time concerns this socket alone, which looks at once. Later ones concern all of the process: they look one after the other.
        """
        if self._subscribed.is_set():
            spread = min(LONGEST_SPREAD_SECONDS, self._crowd() / LOOKS_PER_SECOND)
            asyncio.get_running_loop().call_later(random.uniform(0, spread), self._dirty.set)  # noqa: S311
        else:
            self._subscribed.set()
            self._dirty.set()

    def hinted(self, envelopes: Sequence[Envelope]) -> None:
        """Envelopes that came with a hint. Until the backlog is sent, the first one of a stay waits for its turn in it: an earlier stay comes first.

        A deposit may come so late that a message has expired; this process's clock may be wrong, and the drain goes by PostgreSQL's.
        """
        now_ms = clocks.now_ms()
        has_expired = any(one.expires_ms is not None and one.expires_ms <= now_ms for one in envelopes)
        if has_expired or (not self._emptied and any(envelope.start for envelope in envelopes)):
            self._dirty.set()
        else:
            self.offer(envelopes)

    def offer(self, envelopes: Iterable[Envelope]) -> None:
        """Sent at once while the window has room, else read later."""
        taken: list[Envelope] = []
        for envelope in envelopes:
            if not self._took(envelope, taken):
                break
        if taken:
            self._send(taken)

    def _took(self, envelope: Envelope, taken: list[Envelope]) -> bool:
        """Put the envelope among those to be sent, unless the device has it. False: the window is full."""
        if not self._is_news(envelope):
            return True
        if not self._window.fits(envelope):
            self._cut = True
            return False
        self._window.take(envelope)
        self._taken += 1
        taken.append(envelope)
        return True

    # --- acknowledgements ------------------------------------------------------------------------------------------------------

    def acknowledge(self, message_ids: Iterable[int]) -> list[int]:
        """The device has these. Returns the ids that are not in flight here."""
        unknown = []
        acknowledged = []
        for message_id in message_ids:
            envelope = self._window.release(message_id)
            if envelope is None:
                unknown.append(message_id)
            elif self.gaps.acknowledged(envelope):
                self._dirty.set()
            else:
                acknowledged.append(self._acknowledged(envelope))
        self._acks.add(acknowledged)
        if self._cut and self._window.has_room():
            self._dirty.set()
        return unknown

    def _acknowledged(self, envelope: Envelope) -> Acknowledged:
        ack = Ack(self._mailbox, envelope.message_id, envelope.position, envelope.kept_ms, envelope.expires_ms)
        return Acknowledged(
            ack, delivered(envelope, self._mailbox), envelope.sender_user_id, row_bytes(envelope.ciphertext)
        )

    # --- the drain loop --------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Drain for ever. Raises NotKeepingUp."""
        await is_set_within(self._subscribed, SUBSCRIBED_WITHIN_SECONDS)
        self._dirty.set()
        while True:
            is_sweep = not await self._has_reason()
            self._dirty.clear()
            if overdue := self._window.overdue(clocks.now_ms()):
                self._send(overdue)
            taken = self._taken
            try:
                await self._pass()
                counts.passes += 1
                counts.finds += is_sweep and self._taken > taken
            except (StoreUnavailable, StorageUnavailable):
                counts.failed_passes += 1
                asyncio.get_running_loop().call_later(about(RETRY_SECONDS, 0.3), self._dirty.set)

    async def _has_reason(self) -> bool:
        """Return True when there is a reason to look, False when it is time for a sweep."""
        pause = SWEEP_SECONDS if self._hints_arrive() else SWEEP_WITHOUT_HINTS_SECONDS
        return await is_set_within(self._dirty, about(pause))

    async def _pass(self) -> None:
        """Read everything un-acknowledged once. A pass that the window cuts goes on at its page when there is room.

        Only a complete pass may move the cursor or say that the queue is empty, and only by what was true when it began.
        """
        self._cut = False
        is_resumed = self._unfinished is not None
        reading, self._unfinished = self._unfinished or await self._begin_pass(), None
        try:
            if self._store_is_away:
                # It may take its two seconds again to say so.
                await self._offer_undeposited(reading)
            is_complete = await self._read_mailbox(reading)
            self._store_is_away = False
        except StoreUnavailable:
            # A store that is down does not hide what the outbox has.
            self._store_is_away = True
            await self._offer_undeposited(reading)
            raise
        if is_complete:
            await self._end_pass(reading)
            if is_resumed:
                # What was deposited meanwhile on a page already left behind had no room in the window when its hint came.
                self._dirty.set()
        else:
            self._unfinished = reading

    async def _read_mailbox(self, reading: Pass) -> bool:
        """Offer page after page. Whether the end was reached before the window was full."""
        if reading.since is None:
            reading.since = await self._since(reading.now_ms)
        while True:
            async with _turn("reading", MOST_READING):
                read = await self._store.pending(
                    self._mailbox, since=reading.since, now_ms=reading.now_ms, page=reading.page, limit=PAGE
                )
            rows: list[Envelope | Unreadable] = [*read.envelopes, *read.unreadable]
            for row in rows:
                if not self.gaps.is_skipped(row.message_id):
                    reading.oldest.note(row)
            self.offer(read.envelopes)
            self.offer(self.gaps.of_unreadable(read.unreadable))
            if self._cut or read.next_page is None:
                return not self._cut
            reading.page = read.next_page

    async def _begin_pass(self) -> Pass:
        """The watermark and the outbox are read before the mailbox: what is deposited in between is seen twice, never not at all."""
        async with _turn("looking", MOST_LOOKING):
            mark = await self._watermark()
            look = await self._undeposited.look() if mark is not None else None
            if mark is not None:
                await self.gaps.load()
        now_ms = mark.now_ms if mark is not None else clocks.now_ms()
        return Pass(mark, look, now_ms)

    async def _end_pass(self, reading: Pass) -> None:
        if reading.mark is not None:
            await self._move_cursor(reading.mark, reading.oldest)
        self.offer(self.gaps.envelopes())
        if not self._cut:
            await self.gaps.drained()
        if reading.look is None:
            # The outbox was offered while the store was away: the next pass can say that the queue is empty.
            if reading.mark is not None and not self._emptied:
                self._dirty.set()
            return
        if not self._offer_rows(reading.look, reading.now_ms):
            return
        if not reading.look.is_all:
            # What lies behind may be deposited before it is read: only a pass that has seen all of the outbox first is complete.
            self._dirty.set()
        elif not self._emptied:
            self._emptied = True
            self._queue_empty()

    async def _offer_undeposited(self, reading: Pass) -> None:
        """Offer all that is in the outbox, as far as the window has room; the pass is left without what was offered."""
        while reading.look is not None and self._offer_rows(reading.look, reading.now_ms):
            is_all, reading.look = reading.look.is_all, None
            if not is_all:
                async with _turn("looking", MOST_LOOKING):
                    reading.look = await self._undeposited.look()

    def _offer_rows(self, look: Look, now_ms: int) -> bool:
        """Send what these rows have for the device. False: the window is full; the rest is read again when there is room."""
        taken: list[Envelope] = []
        for row in look.rows:
            envelope = self._undeposited.envelope(row, now_ms)
            if envelope is not None and not self._took(envelope, taken):
                break
            self._undeposited.passed(row, look)
        else:
            if look.is_all:
                self._undeposited.ended()
        if taken:
            self._send(taken)
        return not self._cut

    async def _watermark(self) -> Watermark | None:
        """None while PostgreSQL is down: draining goes on, the cursor stays."""
        try:
            return await outbox.watermark(sources.DEFAULT, self._session.user_id)
        except StorageUnavailable:
            return None

    async def _since(self, now_ms: int) -> Cursor:
        """Where this pass begins: at the stored cursor, but never before the device or the retention began."""
        if self._cursor is None:
            self._cursor = await self._store.cursor(self._mailbox)
        if self._cursor.low_bucket > bucket_of(now_ms - DAY_MS):
            # No cursor moves so far: the clock was set back since. Positions know no clock, buckets begin anew.
            self._cursor = Cursor(self._cursor.low_position)
        created_ms = min(self._session.created_ms, now_ms)
        first = max(created_ms - BUCKET_MS, now_ms - RETENTION_MS - BUCKET_MS)
        return Cursor(
            max(self._cursor.low_position, self._session.mailbox_from - 1),
            max(self._cursor.low_bucket, bucket_of(first)),
        )

    async def _move_cursor(self, mark: Watermark, oldest: Oldest) -> None:
        """Everything below the oldest un-acknowledged row and the watermark is done with for good, where two clocks agree on what there is."""
        now = asyncio.get_running_loop().time()
        low = min(oldest.position, mark.position) - 1
        # A clock that is wrong takes what waits for over, or for not yet there. Such rows are read when it is right again, if no cursor has passed them.
        if (
            self._cursor is None
            or low <= self._cursor.low_position
            or now - self._cursor_moved_at < CURSOR_EVERY_SECONDS
            or not clocks.agrees(mark.now_ms)
        ):
            return
        bucket = bucket_of(min(oldest.kept_ms, mark.oldest_kept_ms, mark.now_ms - DAY_MS))
        moved = Cursor(low, max(bucket, self._cursor.low_bucket))
        await self._store.move_cursor(self._mailbox, moved, now_ms=mark.now_ms)
        self._cursor = moved
        self._cursor_moved_at = now

    def _is_news(self, envelope: Envelope) -> bool:
        return envelope.position >= self._session.mailbox_from and not (
            self._window.knows(envelope.message_id) or self.gaps.is_skipped(envelope.message_id)
        )


def _turn(what: str, most: int) -> asyncio.Semaphore:
    """When everybody looks at once, sends keep most of the process's connections, and no store is asked more than it can answer in time."""
    turns = _turns.setdefault(asyncio.get_running_loop(), {})
    return turns.setdefault(what, asyncio.Semaphore(most))


_turns: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, asyncio.Semaphore]] = WeakKeyDictionary()
