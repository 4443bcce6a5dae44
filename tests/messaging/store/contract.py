"""What every MessageStore promises. A store's test module inherits `MessageStoreContract` and provides the fixtures named there."""

import asyncio
import os
import random
from collections.abc import Awaitable, Callable
from uuid import UUID, uuid4

import msgspec
import pytest

from conversations.allocation import Newest
from conversations.entries import KEY_DISTRIBUTION, SYSTEM, LogEntry, Recipient
from messaging.envelopes import Ack, Cursor, Envelope, Heartbeat, Mailbox
from messaging.store.protocol import RETENTION_MS, MessageStore, bucket_of
from messaging.weights import row_bytes, weigh
from tests.messaging.store.people import DAY, HOUR, MINUTE, Chat, ack, drain, now_ms, prune, purge, read, seqs

OpenStore = Callable[[int], Awaitable[MessageStore]]
Damage = Callable[[MessageStore, Mailbox, LogEntry], Awaitable[None]]


@pytest.fixture
def chat() -> Chat:
    return Chat()


class MessageStoreContract:
    """Fixtures a subclass's module provides: `store`, an open store; `store_of_a_worker`, opens another one on the same rows whose process
    has a clock that many milliseconds ahead; `damage`, makes a mailbox row unreadable."""

    # --- deposit and pending ----------------------------------------------------------------------------------------------------------

    async def test_a_deposited_message_is_pending_with_all_its_fields(self, store: MessageStore, chat: Chat) -> None:
        entry = chat.entry(
            reply_to=7,
            urgent=False,
            expires_ms=chat.now + DAY,
            recipients=(Recipient(*_of(chat.phone), b"\x00\xff", start=True),),
        )
        await store.deposit([entry])
        assert await drain(store, chat.phone) == [
            Envelope(
                message_id=entry.message_id,
                conversation_id=chat.id,
                seq=1,
                client_message_id=entry.client_message_id,
                position=entry.position,
                kept_ms=entry.kept_ms,
                kind="message",
                start=True,
                sender_user_id=chat.bob,
                sender_device_id=chat.bobs.device_id,
                sender_device_number=1,
                ciphertext=b"\x00\xff",
                reply_to=7,
                expires_ms=entry.expires_ms,
                urgent=False,
            )
        ]

    async def test_each_device_gets_its_own_ciphertext_and_nobody_elses(self, store: MessageStore, chat: Chat) -> None:
        recipients = (
            Recipient(*_of(chat.phone), b"phone"),
            Recipient(*_of(chat.laptop), b"laptop"),
            Recipient(*_of(chat.bobs), b"bob"),
        )
        await store.deposit([chat.entry(recipients=recipients)])
        found = [await drain(store, one) for one in (chat.phone, chat.laptop, chat.bobs)]
        assert [[envelope.ciphertext for envelope in one] for one in found] == [[b"phone"], [b"laptop"], [b"bob"]]

    async def test_a_system_entry_carries_its_event(self, store: MessageStore, chat: Chat) -> None:
        event = {
            "event": "member_added",
            "user_id": str(chat.alice),
            "note": "ünïcode \" ' \\",
            "numbers": [1, None, {"deep": True}],
        }
        await store.deposit([chat.entry(chat.phone, chat.bobs, ciphertext=None, kind=SYSTEM, system=event)])
        (pending,), (kept,) = await drain(store, chat.phone), await read(store, chat.bobs, chat.id)
        assert pending.system == kept.system == event
        assert pending.ciphertext is pending.shared is None

    async def test_shared_content_reaches_every_recipient_beside_its_own_key(
        self, store: MessageStore, chat: Chat
    ) -> None:
        recipients = (Recipient(*_of(chat.phone), b"key"), Recipient(*_of(chat.bobs), None))
        await store.deposit(
            [
                chat.entry(),
                chat.entry(shared=b"for all", recipients=recipients),
                chat.entry(shared=b"", recipients=recipients),
            ]
        )
        phone, bobs = await drain(store, chat.phone), await drain(store, chat.bobs)
        assert [(one.ciphertext, one.shared) for one in phone] == [
            (b"for you", None),
            (b"key", b"for all"),
            (b"key", b""),
        ]
        assert [(one.ciphertext, one.shared) for one in bobs] == [(None, b"for all"), (None, b"")]
        assert [one.shared for one in await read(store, chat.bobs, chat.id)] == [None, b"for all", b""]

    async def test_a_key_distribution_without_ciphertext_is_delivered(self, store: MessageStore, chat: Chat) -> None:
        await store.deposit([chat.entry(ciphertext=None, kind=KEY_DISTRIBUTION)])
        assert [(one.kind, one.ciphertext) for one in await drain(store, chat.phone)] == [(KEY_DISTRIBUTION, None)]

    async def test_an_entry_for_nobody_is_history_only(self, store: MessageStore, chat: Chat) -> None:
        await store.deposit([chat.entry(recipients=())])
        assert [one.seq for one in await read(store, chat.phone, chat.id)] == [1]
        assert await drain(store, chat.phone) == []

    async def test_a_large_message_comes_back_byte_for_byte(self, store: MessageStore, chat: Chat) -> None:
        bodies = [os.urandom(64 * 1024) for _ in range(20)]
        await store.deposit([chat.entry(ciphertext=body) for body in bodies])
        assert [one.ciphertext for one in await drain(store, chat.phone)] == bodies

    async def test_a_large_group_is_served_in_one_deposit(self, store: MessageStore, chat: Chat) -> None:
        members = [Mailbox(uuid4(), chat.phone.device_id + 1 + number) for number in range(500)]
        await store.deposit([chat.entry(*members, shared=b"for all", ciphertext=None)])
        found = await asyncio.gather(*(drain(store, member) for member in members[:: len(members) // 10]))
        assert all([one.shared for one in envelopes] == [b"for all"] for envelopes in found)

    async def test_nothing_to_do_is_done(self, store: MessageStore, chat: Chat) -> None:
        await store.deposit([])
        await store.acknowledge([])
        assert await store.pending(chat.phone, since=Cursor(), now_ms=chat.now) == await _last_page_of(store, chat)
        assert await read(store, chat.phone, chat.id) == []

    async def test_a_repeated_deposit_changes_nothing(self, store: MessageStore, chat: Chat) -> None:
        entries = chat.entries(5, chat.phone, chat.laptop)
        await store.deposit([*entries, *entries])
        once = await drain(store, chat.phone), await read(store, chat.laptop, chat.id)
        await store.deposit(entries[::-1])
        assert (await drain(store, chat.phone), await read(store, chat.laptop, chat.id)) == once
        assert [one.seq for one in once[0]] == [one.seq for one in once[1]] == [1, 2, 3, 4, 5]

    async def test_envelopes_come_by_position_and_equal_positions_by_message_id(
        self, store: MessageStore, chat: Chat
    ) -> None:
        entries = chat.entries(40, position=next(chat.positions)) + chat.entries(20)
        shuffled = random.sample(entries, len(entries))
        for start in range(0, len(shuffled), 7):
            await store.deposit(shuffled[start : start + 7])
        assert (
            await seqs(store, chat.phone) == await seqs(store, chat.phone, limit=7) == [entry.seq for entry in entries]
        )

    # --- pruning ----------------------------------------------------------------------------------------------------------------------

    async def test_pruning_touches_nothing_that_has_not_ended(self, store: MessageStore, chat: Chat) -> None:
        lasting, expiring = chat.entry(shared=b"for all"), chat.entry(shared=b"a while", expires_ms=chat.now + HOUR)
        acknowledged = chat.entry()
        await store.deposit([lasting, expiring, acknowledged])
        await store.acknowledge([ack(chat.phone, acknowledged)])
        await store.move_cursor(chat.phone, Cursor(1, 1), now_ms=chat.now)
        before = await drain(store, chat.phone), await read(store, chat.phone, chat.id), await store.cursor(chat.phone)
        await prune(store, now=chat.now)
        await store.deposit([lasting, expiring, acknowledged])
        after = await drain(store, chat.phone), await read(store, chat.phone, chat.id), await store.cursor(chat.phone)
        assert (after, len(after[0])) == (before, 2)

    async def test_what_has_ended_stays_ended_when_its_deposit_comes_after_the_pruning(
        self, store: MessageStore, chat: Chat
    ) -> None:
        ended = chat.entry(shared=b"for all", kept_ms=chat.now - 46 * DAY, expires_ms=chat.now - 2 * HOUR)
        for _ in range(2):
            await store.deposit([ended])
            await prune(store, now=chat.now)
        assert await drain(store, chat.phone) == []
        assert [(one.deleted, one.shared) for one in await read(store, chat.phone, chat.id)] == [(True, None)]

    # --- purging ----------------------------------------------------------------------------------------------------------------------

    async def test_a_purged_mailbox_is_empty_and_every_other_one_is_as_it_was(
        self, store: MessageStore, chat: Chat
    ) -> None:
        everybody = (chat.phone, chat.laptop, chat.bobs)
        entries = [
            *chat.entries(3, *everybody, kept_ms=chat.now - 5 * DAY),
            *chat.entries(4, *everybody, shared=b"for all"),
        ]
        await store.deposit(entries)
        await store.acknowledge([ack(one, entries[-1]) for one in everybody])
        for one in everybody:
            await store.move_cursor(one, Cursor(1, 1), now_ms=chat.now)

        async def state(mailbox: Mailbox) -> object:
            return await drain(store, mailbox), await store.cursor(mailbox), await read(store, mailbox, chat.id)

        others = await state(chat.laptop), await state(chat.bobs)
        assert len(await seqs(store, chat.phone)) == 6
        await purge(store, chat.phone, from_ms=chat.now - 6 * DAY, until_ms=chat.now + MINUTE)
        assert await drain(store, chat.phone) == []
        assert await store.cursor(chat.phone) == Cursor()
        assert [one.ciphertext for one in await read(store, chat.phone, chat.id)] == [None] * 7
        assert (await state(chat.laptop), await state(chat.bobs)) == others

    async def test_a_purge_is_repeated_and_overtaken_without_harm(self, store: MessageStore, chat: Chat) -> None:
        early, late = chat.entry(chat.phone, chat.laptop), chat.entry(chat.phone, chat.laptop)
        life = {"from_ms": chat.now - DAY, "until_ms": chat.now + MINUTE}
        await purge(store, chat.phone, **life)
        await store.deposit([early])
        await purge(store, chat.phone, **life)
        await purge(store, chat.phone, **life)
        assert await seqs(store, chat.phone) == []
        await store.deposit([late])
        assert await seqs(store, chat.laptop) == [1, 2]
        assert [one.seq for one in await read(store, chat.laptop, chat.id)] == [1, 2]

    # --- acknowledgements -------------------------------------------------------------------------------------------------------------

    async def test_an_acknowledged_message_is_gone_and_its_ciphertext_too(
        self, store: MessageStore, chat: Chat
    ) -> None:
        entries = chat.entries(3)
        await store.deposit(entries)
        assert [one.ciphertext for one in await read(store, chat.phone, chat.id)] == [b"for you"] * 3
        await store.acknowledge([ack(chat.phone, entries[1])])
        assert await seqs(store, chat.phone) == [1, 3]
        assert [one.ciphertext for one in await read(store, chat.phone, chat.id)] == [b"for you", None, b"for you"]

    async def test_an_acknowledgement_counts_for_its_own_device_only(self, store: MessageStore, chat: Chat) -> None:
        entry = chat.entry(chat.phone, chat.laptop, chat.bobs)
        await store.deposit([entry])
        await store.acknowledge([ack(chat.phone, entry)])
        assert [await seqs(store, one) for one in (chat.phone, chat.laptop, chat.bobs)] == [[], [1], [1]]

    async def test_acknowledging_twice_is_as_once(self, store: MessageStore, chat: Chat) -> None:
        entry = chat.entry()
        await store.deposit([entry])
        await store.acknowledge([ack(chat.phone, entry), ack(chat.phone, entry)])
        await store.acknowledge([ack(chat.phone, entry)])
        assert await drain(store, chat.phone) == []

    async def test_an_acknowledgement_that_overtakes_its_deposit_holds(self, store: MessageStore, chat: Chat) -> None:
        early, late = chat.entry(chat.phone, chat.laptop), chat.entry()
        await store.acknowledge([ack(chat.phone, early)])
        assert await drain(store, chat.phone) == []
        await store.deposit([early, late])
        assert await seqs(store, chat.phone) == [2]
        assert [(one.seq, one.ciphertext) for one in await read(store, chat.phone, chat.id)] == [
            (1, None),
            (2, b"for you"),
        ]
        assert await seqs(store, chat.laptop) == [1]

    async def test_it_says_what_a_device_has_acknowledged_deposited_or_not(
        self, store: MessageStore, chat: Chat
    ) -> None:
        deposited, unread, early, unknown = (chat.entry(chat.phone, chat.laptop) for _ in range(4))
        await store.deposit([deposited, unread])
        await store.acknowledge([ack(chat.phone, deposited), ack(chat.phone, early)])
        everything = [deposited, unread, early, unknown]
        assert await store.acknowledged(chat.phone, everything) == {deposited.message_id, early.message_id}
        assert await store.acknowledged(chat.phone, [unread, early]) == {early.message_id}
        assert await store.acknowledged(chat.laptop, everything) == set()

    async def test_a_deposit_after_the_acknowledgement_revives_nothing(self, store: MessageStore, chat: Chat) -> None:
        entries = [chat.entry(), chat.entry(expires_ms=chat.now + HOUR), chat.entry(shared=b"for all")]
        await store.deposit(entries)
        await store.acknowledge([ack(chat.phone, entry) for entry in entries])
        for _ in range(3):
            await store.deposit(entries)
        assert await drain(store, chat.phone) == []
        assert [one.ciphertext for one in await read(store, chat.phone, chat.id)] == [None] * 3

    @pytest.mark.parametrize("ahead", [-365 * DAY, -HOUR, HOUR, 2 * DAY])
    async def test_a_worker_with_a_wrong_clock_acknowledges_for_good(
        self, store_of_a_worker: OpenStore, chat: Chat, ahead: int
    ) -> None:
        wrong, right = await store_of_a_worker(ahead), await store_of_a_worker(0)
        early, usual = chat.entry(), chat.entry()
        await right.deposit([usual])
        await wrong.acknowledge([ack(chat.phone, early), ack(chat.phone, usual)])
        await right.deposit([early, usual])
        await wrong.deposit([early, usual])
        assert await drain(right, chat.phone) == await drain(wrong, chat.phone) == []

    @pytest.mark.parametrize("ahead", [-365 * DAY, -HOUR, HOUR, 2 * DAY])
    async def test_a_worker_with_a_wrong_clock_deposits_like_any_other(
        self, store_of_a_worker: OpenStore, chat: Chat, ahead: int
    ) -> None:
        wrong, right = await store_of_a_worker(ahead), await store_of_a_worker(0)
        entries = chat.entries(2)
        await wrong.deposit(entries)
        assert await seqs(right, chat.phone) == [1, 2]
        await right.acknowledge([ack(chat.phone, entry) for entry in entries])
        assert await drain(wrong, chat.phone) == []

    # --- pages, cursors, buckets ------------------------------------------------------------------------------------------------------

    async def test_one_pending_row_is_found_behind_999_acknowledged_ones(self, store: MessageStore, chat: Chat) -> None:
        entries = chat.entries(1000)
        await store.deposit(entries)
        await store.acknowledge([ack(chat.phone, entry) for entry in entries[:-1]])
        assert await seqs(store, chat.phone) == await seqs(store, chat.phone, limit=3) == [1000]

    async def test_pages_go_on_to_the_end_with_acknowledged_rows_in_front_and_between(
        self, store: MessageStore, chat: Chat
    ) -> None:
        entries = chat.entries(300)
        await store.deposit(entries)
        kept = {120, 121, 250, 300}
        await store.acknowledge([ack(chat.phone, entry) for entry in entries if entry.seq not in kept])
        assert await seqs(store, chat.phone, limit=10) == sorted(kept)

    async def test_no_page_is_larger_than_asked(self, store: MessageStore, chat: Chat) -> None:
        await store.deposit(chat.entries(25))
        page = await store.pending(chat.phone, since=Cursor(), now_ms=now_ms(), limit=10)
        assert [one.seq for one in page.envelopes] == list(range(1, len(page.envelopes) + 1))
        assert 1 <= len(page.envelopes) <= 10
        assert page.next_page is not None

    async def test_what_is_acknowledged_between_two_pages_hides_nothing(self, store: MessageStore, chat: Chat) -> None:
        entries = chat.entries(30)
        await store.deposit(entries)
        since, found = Cursor(), set[int]()
        page = await store.pending(chat.phone, since=since, now_ms=now_ms(), limit=4)
        while True:
            found |= {one.seq for one in page.envelopes}
            await store.acknowledge([ack(chat.phone, entries[one.seq - 1]) for one in page.envelopes])
            if page.next_page is None:
                break
            page = await store.pending(chat.phone, since=since, now_ms=now_ms(), page=page.next_page, limit=4)
        assert found == set(range(1, 31))
        assert await drain(store, chat.phone) == []

    async def test_rows_at_or_below_the_low_position_are_not_read_again(self, store: MessageStore, chat: Chat) -> None:
        entries = chat.entries(6)
        await store.deposit(entries)
        assert await seqs(store, chat.phone, low_position=entries[3].position) == [5, 6]

    async def test_a_drain_crosses_the_boundary_of_buckets(self, store: MessageStore, chat: Chat) -> None:
        boundary = bucket_of(chat.now) * 3 * DAY
        times = [boundary - 3 * DAY, boundary - 1, boundary, chat.now]
        await store.deposit([chat.entry(kept_ms=kept) for kept in times for _ in range(5)])
        assert await seqs(store, chat.phone, limit=3) == list(range(1, 21))

    async def test_a_row_kept_just_after_the_drains_clock_is_read(self, store: MessageStore, chat: Chat) -> None:
        boundary = (bucket_of(chat.now) + 1) * 3 * DAY
        await store.deposit([chat.entry(kept_ms=boundary + MINUTE)])
        assert await seqs(store, chat.phone, now=boundary - MINUTE) == [1]

    async def test_a_first_drain_without_a_cursor_reads_all_that_is_retained(
        self, store: MessageStore, chat: Chat
    ) -> None:
        await store.deposit([chat.entry(kept_ms=chat.now - RETENTION_MS + DAY), chat.entry()])
        assert await seqs(store, chat.phone, low_bucket=0) == [1, 2]

    async def test_a_cursor_that_was_never_moved_is_at_the_beginning(self, store: MessageStore, chat: Chat) -> None:
        assert await store.cursor(chat.phone) == Cursor()

    async def test_the_furthest_cursor_wins_in_whatever_order_it_comes(self, store: MessageStore, chat: Chat) -> None:
        low = next(chat.positions)
        moves = [Cursor(low + step, 100 + step) for step in range(6)]
        for move in random.sample(moves, len(moves)):
            await store.move_cursor(chat.phone, move, now_ms=chat.now - move.low_bucket * HOUR)
        assert await store.cursor(chat.phone) == moves[-1]
        assert await store.cursor(chat.laptop) == Cursor()

    async def test_a_cursor_of_a_later_timeline_wins(self, store: MessageStore, chat: Chat) -> None:
        old, new = Cursor(1 << 48 | 2**40, 20), Cursor(2 << 48 | 5, 21)
        await store.move_cursor(chat.phone, new, now_ms=chat.now)
        await store.move_cursor(chat.phone, old, now_ms=chat.now + HOUR)
        assert await store.cursor(chat.phone) == new

    # --- faults of single rows --------------------------------------------------------------------------------------------------------

    async def test_a_row_that_cannot_be_read_is_named_and_stops_no_page(
        self, store: MessageStore, damage: Damage, chat: Chat
    ) -> None:
        entries = chat.entries(3, ciphertext=b"topsecret")
        await store.deposit(entries)
        await damage(store, chat.phone, entries[1])
        assert await seqs(store, chat.phone) == await seqs(store, chat.phone, limit=1) == [1, 3]
        page = await store.pending(chat.phone, since=Cursor(), now_ms=chat.now)
        [unreadable] = page.unreadable
        assert (unreadable.conversation_id, unreadable.seq) == (chat.id, 2)
        assert (unreadable.message_id, unreadable.position) == (entries[1].message_id, entries[1].position)
        assert unreadable.kept_ms <= chat.now
        assert [one.ciphertext for one in await read(store, chat.phone, chat.id)] == [b"topsecret", None, b"topsecret"]
        await store.acknowledge([ack(chat.phone, entries[1])])
        assert (await store.pending(chat.phone, since=Cursor(), now_ms=chat.now)).unreadable == ()

    async def test_what_waits_in_a_mailbox_is_weighed(self, store: MessageStore, damage: Damage, chat: Chat) -> None:
        entries = chat.entries(300, ciphertext=b"x" * 100)
        await store.deposit(entries)
        await store.acknowledge([ack(chat.phone, entry) for entry in entries[:40]])
        await damage(store, chat.phone, entries[50])
        assert await weigh(store, chat.phone, most_rows=10_000, most_bytes=10**9) == (260, 259 * row_bytes(b"x" * 100))
        rows, size = await weigh(store, chat.phone, most_rows=10, most_bytes=10**9)
        assert 10 <= rows < 260
        assert size > 0
        assert await weigh(store, chat.laptop, most_rows=10, most_bytes=10**9) == (0, 0)

    # --- history ----------------------------------------------------------------------------------------------------------------------

    async def test_history_is_a_range_in_ascending_order(self, store: MessageStore, chat: Chat) -> None:
        await store.deposit(chat.entries(20)[::-1])
        assert [one.seq for one in await read(store, chat.phone, chat.id, 5, 9)] == [5, 6, 7, 8, 9]
        assert [one.seq for one in await read(store, chat.phone, chat.id, 18, 40)] == [18, 19, 20]
        assert await read(store, chat.phone, uuid4()) == []

    async def test_history_shows_all_fields_and_only_the_readers_own_ciphertext(
        self, store: MessageStore, chat: Chat
    ) -> None:
        entry = chat.entry(chat.phone, reply_to=3, urgent=False, expires_ms=chat.now + DAY)
        await store.deposit([entry])
        (pending,) = await drain(store, chat.phone)
        assert await read(store, chat.phone, chat.id) == [pending]
        assert await read(store, chat.laptop, chat.id) == [msgspec.structs.replace(pending, ciphertext=None)]

    @pytest.mark.parametrize("boundary", [1024, 2048])
    async def test_history_crosses_a_multiple_of_1024(self, store: MessageStore, chat: Chat, boundary: int) -> None:
        numbers = list(range(boundary - 12, boundary + 12))
        await store.deposit([chat.entry(seq=number) for number in numbers])
        found = await read(store, chat.phone, chat.id, boundary - 5, boundary + 5)
        assert [(one.seq, one.ciphertext) for one in found] == [
            (seq, b"for you") for seq in range(boundary - 5, boundary + 6)
        ]

    async def test_a_history_page_of_a_thousand_messages_has_every_ciphertext(
        self, store: MessageStore, chat: Chat
    ) -> None:
        await store.deposit([chat.entry(ciphertext=str(number).encode()) for number in range(1000)])
        found = await read(store, chat.phone, chat.id, 1, 1000)
        assert [one.ciphertext for one in found] == [str(number).encode() for number in range(1000)]

    async def test_history_reads_ciphertexts_of_several_buckets(self, store: MessageStore, chat: Chat) -> None:
        times = [chat.now - 30 * DAY, chat.now - 6 * DAY, chat.now]
        await store.deposit([chat.entry(kept_ms=kept, ciphertext=str(kept).encode()) for kept in times])
        assert [one.ciphertext for one in await read(store, chat.phone, chat.id)] == [
            str(kept).encode() for kept in times
        ]

    async def test_the_newest_entry_is_the_one_stored_last(self, store: MessageStore, chat: Chat) -> None:
        assert await store.newest(chat.id, at_least=0) == Newest(0)
        assert await store.newest(chat.id, at_least=77) == Newest(77)
        entries = [chat.entry(seq=seq) for seq in (1, 2, 3)]
        await store.deposit(entries)
        assert await store.newest(chat.id, at_least=2) == Newest(3, entries[2].message_id)
        assert await store.newest(chat.id, at_least=0) == Newest(3, entries[2].message_id)
        assert await store.newest(chat.id, at_least=3) == Newest(3)

    async def test_the_newest_entry_is_found_many_buckets_further_on(self, store: MessageStore, chat: Chat) -> None:
        entries = [chat.entry(seq=seq) for seq in (1, 1025, 2049, 3000)]
        await store.deposit(entries)
        assert await store.newest(chat.id, at_least=0) == Newest(3000, entries[3].message_id)
        assert await store.newest(chat.id, at_least=2999) == Newest(3000, entries[3].message_id)

    # --- deletion and expiry ----------------------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("order", ["message first", "deletion first", "together", "together, deletion first"])
    async def test_a_deleted_message_has_no_content_in_the_history(
        self, store: MessageStore, chat: Chat, order: str
    ) -> None:
        message = chat.entry(shared=b"for all")
        deletion = chat.entry(deletes=message.message_id, deletes_seq=message.seq)
        batches = {
            "message first": [[message], [deletion]],
            "deletion first": [[deletion], [message]],
            "together": [[message, deletion]],
            "together, deletion first": [[deletion, message]],
        }[order]
        for batch in (*batches, *batches):
            await store.deposit(batch)
        emptied, itself = await read(store, chat.phone, chat.id)
        assert (emptied.deleted, emptied.ciphertext, emptied.shared, emptied.message_id) == (
            True,
            None,
            None,
            message.message_id,
        )
        assert (itself.deleted, itself.deletes, itself.ciphertext) == (False, message.message_id, b"for you")

    async def test_a_deletion_known_before_its_message_is_no_message(self, store: MessageStore, chat: Chat) -> None:
        message = chat.entry()
        await store.deposit([chat.entry(deletes=message.message_id, deletes_seq=message.seq)])
        assert [one.seq for one in await read(store, chat.phone, chat.id)] == [2]

    async def test_a_deletion_by_a_clock_that_was_set_back_still_deletes(self, store: MessageStore, chat: Chat) -> None:
        message = chat.entry(shared=b"for all", kept_ms=chat.now)
        await store.deposit([message])
        await store.deposit(
            [chat.entry(deletes=message.message_id, deletes_seq=message.seq, kept_ms=chat.now - 50_000)]
        )
        await store.deposit([message])
        assert [(one.deleted, one.shared) for one in await read(store, chat.phone, chat.id, 1, 1)] == [(True, None)]

    async def test_a_pending_message_that_was_deleted_comes_without_its_shared_content(
        self, store: MessageStore, chat: Chat
    ) -> None:
        message = chat.entry(shared=b"for all", ciphertext=None)
        await store.deposit([message, chat.entry(deletes=message.message_id, deletes_seq=message.seq)])
        assert [(one.seq, one.deleted, one.shared) for one in await drain(store, chat.phone)] == [
            (1, True, None),
            (2, False, None),
        ]

    async def test_an_expired_message_is_not_pending_and_has_no_content(self, store: MessageStore, chat: Chat) -> None:
        past = chat.now - HOUR
        await store.deposit(
            [
                chat.entry(expires_ms=past, kept_ms=past - HOUR, shared=b"for all"),
                chat.entry(expires_ms=past + 2 * HOUR),
            ]
        )
        assert await seqs(store, chat.phone) == [2]
        found = await read(store, chat.phone, chat.id)
        assert [(one.seq, one.deleted, one.ciphertext, one.shared) for one in found] == [
            (1, True, None, None),
            (2, False, b"for you", None),
        ]

    async def test_a_mailbox_row_ends_at_its_expiry_or_after_the_retention(
        self, store: MessageStore, chat: Chat
    ) -> None:
        await store.deposit([chat.entry(expires_ms=chat.now + HOUR), chat.entry()])
        assert await seqs(store, chat.phone, now=chat.now + HOUR - MINUTE) == [1, 2]
        assert await seqs(store, chat.phone, now=chat.now + HOUR) == [2]
        assert await seqs(store, chat.phone, now=chat.now + RETENTION_MS - MINUTE, low_bucket=0) == [2]
        assert await seqs(store, chat.phone, now=chat.now + RETENTION_MS, low_bucket=0) == []

    # --- the heartbeat ----------------------------------------------------------------------------------------------------------------

    async def test_the_last_heartbeat_is_remembered(self, store: MessageStore) -> None:
        await store.probe()
        at = now_ms()
        await store.beat(Heartbeat(7_512_345_678_901_234_567, 3, 4, at, "dc1"), now_ms=at)
        assert await store.heartbeat() == Heartbeat(7_512_345_678_901_234_567, 3, 4, at, "dc1")

    async def test_a_late_beat_changes_nothing_whatever_its_clock_says(self, store: MessageStore) -> None:
        at = now_ms()
        await store.beat(Heartbeat(7, 3, 4, at), now_ms=at)
        await store.beat(Heartbeat(7, 3, 4, at - 1), now_ms=at + HOUR)
        await store.beat(Heartbeat(7, 3, 3, at + 1), now_ms=at + HOUR)
        assert await store.heartbeat() == Heartbeat(7, 3, 4, at)
        await store.beat(Heartbeat(7, 3, 4, at + 1), now_ms=at - HOUR)
        assert await store.heartbeat() == Heartbeat(7, 3, 4, at + 1)

    async def test_a_store_opened_again_is_the_same_store(self, store: MessageStore, chat: Chat) -> None:
        await store.deposit([chat.entry()])
        await store.close()
        await store.close()
        await store.open()
        await store.open()
        assert await seqs(store, chat.phone) == [1]

    # --- many at once -----------------------------------------------------------------------------------------------------------------

    async def test_overlapping_batches_of_several_workers_neither_block_nor_lose(
        self, store_of_a_worker: OpenStore, chat: Chat
    ) -> None:
        workers = [await store_of_a_worker(0) for _ in range(3)]
        entries = chat.entries(60, chat.phone, chat.laptop) + [
            chat.entry(deletes=1, deletes_seq=seq) for seq in range(1, 20)
        ]
        acks = [ack(chat.phone, entry) for entry in entries if entry.seq % 2]

        async def deposit_and_acknowledge(worker: MessageStore) -> None:
            for _ in range(8):
                await worker.deposit(random.sample(entries, 40))
                await worker.acknowledge(random.sample(acks, 20))

        await asyncio.gather(*(deposit_and_acknowledge(worker) for worker in workers for _ in range(3)))
        await asyncio.gather(
            *(worker.deposit(entries) for worker in workers), *(worker.acknowledge(acks) for worker in workers)
        )
        assert await seqs(workers[0], chat.phone) == [entry.seq for entry in entries if entry.seq % 2 == 0]
        assert await seqs(workers[1], chat.laptop) == list(range(1, 61))
        assert [one.deleted for one in await read(workers[2], chat.phone, chat.id)] == [
            entry.seq < 20 for entry in entries
        ]

    async def test_whatever_order_writes_come_in_the_rows_are_the_same(self, store: MessageStore) -> None:
        for seed in range(12):
            chat, dice = Chat(), random.Random(seed)  # noqa: S311  (a schedule, not a secret)
            entries = [
                chat.entry(chat.phone, chat.laptop, shared=b"for all" if number % 3 else None) for number in range(6)
            ]
            entries.append(chat.entry(chat.phone, deletes=1, deletes_seq=2))
            acked = dice.sample(entries, 3)
            await _write_in_some_order(store, chat, entries, acked, dice)
            pending = [entry.seq for entry in entries if entry not in acked]
            assert await seqs(store, chat.phone) == pending, f"seed {seed}"
            assert [one.deleted for one in await read(store, chat.phone, chat.id)] == [
                number == 2 for number in range(1, 8)
            ], f"seed {seed}"


async def _write_in_some_order(
    store: MessageStore, chat: Chat, entries: list[LogEntry], acked: list[LogEntry], dice: random.Random
) -> None:
    writes: list[LogEntry | Ack] = [*entries, *(ack(chat.phone, entry) for entry in acked)]
    writes += dice.sample(writes, 6)
    dice.shuffle(writes)
    while writes:
        some = [writes.pop() for _ in range(min(len(writes), dice.randint(1, 4)))]
        await store.deposit([one for one in some if isinstance(one, LogEntry)])
        await store.acknowledge([one for one in some if isinstance(one, Ack)])


async def _last_page_of(store: MessageStore, chat: Chat) -> object:
    page = await store.pending(chat.laptop, since=Cursor(), now_ms=chat.now)
    assert (page.envelopes, page.next_page) == ((), None)
    return page


def _of(mailbox: Mailbox) -> tuple[UUID, int]:
    return mailbox.user_id, mailbox.device_id
