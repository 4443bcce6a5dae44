"""History over HTTP: what is committed can be read, wherever it is just now."""
# ruff: noqa: F811  (fixtures have the names of the arguments that ask for them)

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
from asgiref.sync import sync_to_async

from accounts import postgresql
from accounts.connections import Connections
from conversations import outbox
from conversations.entries import LogEntry
from conversations.models import OutboxRow
from messaging import runtime
from messaging.models.sql import HistoryRow
from messaging.store.protocol import StoreUnavailable
from messaging.store.sql import SqlStore
from tests.callers import Caller
from tests.cast import JsonObject, b64
from tests.conversations.conftest import Calling, alice, bob, calling, carol, carol_phone, many  # noqa: F401  (fixtures)
from tests.messaging.conftest import Connect

pytestmark = [
    pytest.mark.django_db(transaction=True, databases=["default", "messages"]),
    pytest.mark.usefixtures("many", "unlimited"),
]


def seqs(page: JsonObject) -> list[int]:
    return [item["seq"] for item in page["items"]]


async def deposited() -> None:
    """What was committed is in the store, and in the outbox no more."""
    await (await runtime.running()).relay.drain()


@asynccontextmanager
async def store_down() -> AsyncIterator[None]:
    """The message store's server is gone: nothing listens where it was."""
    await deposited()
    store = (await runtime.running()).store.kept_by
    assert isinstance(store, SqlStore)
    well, store._connections = (
        store._connections,
        Connections("host=/nowhere dbname=none", size=1, checkout_seconds=1),
    )
    try:
        yield
    finally:
        store._connections = well


@sync_to_async
def lose(conversation: str, *lost: int) -> None:
    """The store has lost these rows."""
    HistoryRow.objects.filter(conversation_id=conversation, seq__in=lost).delete()


@pytest.fixture
async def seven(alice: Caller, bob: Caller) -> str:
    """Alice and Bob, who said seven things."""
    conversation = await alice.direct(bob)
    for number in range(1, 8):
        await alice.said(conversation, bob, text=b"%d" % number)
    await deposited()
    return conversation


async def test_pages_go_down_from_the_newest(bob: Caller, seven: str) -> None:
    page = await bob.history(seven, limit=3)
    assert (seqs(page), page["next_cursor"], page["has_more"]) == ([7, 6, 5], "5", True)
    page = await bob.history(seven, limit=3, before=page["next_cursor"])
    assert (seqs(page), page["next_cursor"], page["has_more"]) == ([4, 3, 2], "2", True)
    page = await bob.history(seven, limit=3, before=page["next_cursor"])
    assert (seqs(page), page.get("next_cursor"), page["has_more"]) == ([1], None, False)
    assert await bob.history(seven, before=1) == {"items": [], "has_more": False}


async def test_with_after_alone_pages_go_up_each_newest_first(bob: Caller, seven: str) -> None:
    page = await bob.history(seven, limit=3, after=0)
    assert (seqs(page), page["next_cursor"], page["has_more"]) == ([3, 2, 1], "3", True)
    page = await bob.history(seven, limit=4, after=page["next_cursor"])
    assert (seqs(page), page.get("next_cursor"), page["has_more"]) == ([7, 6, 5, 4], None, False)
    assert await bob.history(seven, after=7) == {"items": [], "has_more": False}


async def test_between_both_pages_go_down_and_end_there(bob: Caller, seven: str) -> None:
    page = await bob.history(seven, after=2, before=7, limit=3)
    assert (seqs(page), page["next_cursor"]) == ([6, 5, 4], "4")
    page = await bob.history(seven, after=2, before=4, limit=3)
    assert (seqs(page), page["has_more"]) == ([3], False)
    assert seqs(await bob.history(seven, after=5, before=5)) == []


async def test_malformed_queries_are_refused(bob: Caller, seven: str) -> None:
    for field, value in (("before", "x"), ("after", "-1"), ("before", 2**63), ("limit", 0), ("limit", 101)):
        answer = await bob.get(f"conversations/{seven}/messages", **{field: value})
        assert (answer.status, answer.body["field"]) == (400, field)


async def test_an_envelope_has_the_fields_of_the_socket_and_no_more(
    alice: Caller, bob: Caller, seven: str, connect: Connect
) -> None:
    async with connect(bob.device) as socket:
        frame = await socket.expect("envelope", seq=1)
        [item] = (await bob.history(seven, before=2))["items"]
        assert item == {name: value for name, value in frame.items() if name != "type"}
    assert item["ciphertext"] == b64(b"1")


async def test_the_ciphertext_is_the_callers_own_and_goes_with_its_ack(
    alice: Caller, bob: Caller, seven: str, connect: Connect
) -> None:
    own = (await alice.history(seven))["items"]
    assert [item.get("ciphertext") for item in own] == [None] * 7
    assert {item["sender_device_id"] for item in own} == {alice.device.device_id}
    async with connect(bob.device) as socket:
        envelopes = [await socket.expect("envelope") for _ in range(7)]
        await socket.ack(*envelopes[:2])
        await asyncio.sleep(0.1)
        await (await runtime.running()).acks.drain()
    kept = [item.get("ciphertext") for item in reversed((await bob.history(seven))["items"])]
    assert kept == [None, None, *(b64(b"%d" % number) for number in range(3, 8))]


async def test_the_ciphertext_goes_with_its_ack_also_while_it_is_not_deposited(
    alice: Caller, bob: Caller, seven: str, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever is connected gets it before the store has it; the ack is written as soon as the store takes acks."""

    async def refuse(*_: object) -> None:
        raise StoreUnavailable

    await deposited()
    async with connect(bob.device) as socket:
        with monkeypatch.context() as slow:
            slow.setattr((await runtime.running()).store.kept_by, "deposit", refuse)
            await alice.said(seven, bob)
            await alice.said(seven, bob, shared=b64(b"for all"))
            await socket.ack(await socket.expect("envelope", seq=8))
            await socket.expect("envelope", seq=9)
            await asyncio.sleep(0.1)
            await (await runtime.running()).acks.drain()
            ninth, eighth = (await bob.history(seven, limit=2))["items"]
    assert (eighth["seq"], eighth.get("ciphertext")) == (8, None)
    assert (ninth["seq"], ninth["shared"]) == (9, b64(b"for all"))
    assert ninth["ciphertext"]


async def test_shared_content_is_for_all_and_a_deleted_message_is_empty(
    alice: Caller, bob: Caller, carol: Caller
) -> None:
    group = await alice.group(bob, carol)
    sent = await alice.said(group, bob, carol, shared=b64(b"for all"))
    await deposited()
    assert (await carol.history(group))["items"][0]["shared"] == b64(b"for all")
    refused = await bob.say(group, alice, carol, deletes=sent["message_id"])
    assert refused.code == "FORBIDDEN"
    await alice.said(group, bob, carol, deletes=sent["message_id"])
    for _ in ("perhaps from the outbox", "surely from the store"):
        deletion, deleted, _created = (await carol.history(group))["items"]
        assert (deletion["deletes"], deleted["deleted"]) == (sent["message_id"], True)
        assert not {"ciphertext", "shared"} & deleted.keys()
        await deposited()


async def test_a_deletion_that_is_not_deposited_yet_empties_its_target_on_every_page(
    alice: Caller, bob: Caller, seven: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As long as a store that was away is given what has waited for it."""
    [third] = (await bob.history(seven, before=4, limit=1))["items"]

    async def refuse(*_: object) -> None:
        raise StoreUnavailable

    with monkeypatch.context() as slow:
        slow.setattr((await runtime.running()).store.kept_by, "deposit", refuse)
        both = await alice.said(seven, bob)
        await alice.said(seven, bob, deletes=third["message_id"])
        await alice.said(seven, bob, deletes=both["message_id"])
        for before, seq in ((4, 3), (9, 8)):
            [item] = (await bob.history(seven, before=before, limit=1))["items"]
            assert (item["seq"], item.get("deleted"), item.get("ciphertext")) == (seq, True, None)
        [fourth] = (await bob.history(seven, before=5, limit=1))["items"]
        assert fourth["ciphertext"] == b64(b"4")
    await deposited()
    assert [item["seq"] for item in (await bob.history(seven))["items"] if item.get("deleted")] == [8, 3]


async def test_what_is_deleted_before_it_is_deposited_is_empty_too(
    alice: Caller, bob: Caller, seven: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The deletion goes to the store at once, and its target still waits in the outbox."""
    store = (await runtime.running()).store.kept_by
    deposit = store.deposit

    async def all_but_the_eighth(entries: Sequence[LogEntry]) -> None:
        if any(entry.seq == 8 for entry in entries):
            raise StoreUnavailable
        await deposit(entries)

    with monkeypatch.context() as slow:
        slow.setattr(store, "deposit", all_but_the_eighth)
        eighth = await alice.said(seven, bob, shared=b64(b"for all"))
        await deposited()
        await alice.said(seven, bob, deletes=eighth["message_id"])
        await deposited()
        for before in (9, 100):
            [item] = [item for item in (await bob.history(seven, before=before))["items"] if item["seq"] == 8]
            assert (item.get("deleted"), item.get("shared")) == (True, None)
        assert await OutboxRow.objects.filter(conversation_id=seven).acount() == 2
    # A finisher's, when its claim has ended.
    await outbox.release([(row.conversation_id, row.seq) async for row in OutboxRow.objects.all()])
    async with asyncio.timeout(20):
        while await OutboxRow.objects.aexists():  # noqa: ASYNC110  (the finisher's work has no event here)
            await asyncio.sleep(0.1)
    assert [item["seq"] for item in (await bob.history(seven))["items"] if item.get("deleted")] == [8]


async def test_an_expired_message_is_empty_while_the_store_is_down_too(alice: Caller, bob: Caller, seven: str) -> None:
    async with store_down():
        await alice.said(seven, bob, expires_in=1)
        assert "ciphertext" in (await bob.history(seven, after=7))["items"][0]
        await asyncio.sleep(1.1)
        [item] = (await bob.history(seven, after=7))["items"]
    assert (item["deleted"], item.get("ciphertext")) == (True, None)


async def test_nobody_reads_outside_their_stays(alice: Caller, bob: Caller, carol: Caller) -> None:
    group = await alice.group(bob)  # 1
    await alice.said(group, bob)  # 2
    await alice.post(f"conversations/{group}/members", {"user_ids": [carol.user_id]})  # 3
    await alice.said(group, bob, carol)  # 4
    await carol.post(f"conversations/{group}/leave")  # 5
    await alice.said(group, bob)  # 6
    await alice.post(f"conversations/{group}/members", {"user_ids": [carol.user_id]})  # 7
    await alice.said(group, bob, carol)  # 8
    assert seqs(await carol.history(group)) == [8, 7, 5, 4, 3]
    assert seqs(await bob.history(group)) == [8, 7, 6, 5, 4, 3, 2, 1]
    page = await carol.history(group, limit=3)
    assert (seqs(page), page["next_cursor"]) == ([8, 7, 5], "5")
    page = await carol.history(group, limit=3, before=5)
    assert (seqs(page), page["has_more"]) == ([4, 3], False)
    page = await carol.history(group, limit=3, after=0)
    assert (seqs(page), page["next_cursor"]) == ([5, 4, 3], "5")
    page = await carol.history(group, limit=3, after=5)
    assert (seqs(page), page["has_more"]) == ([8, 7], False)


async def test_while_the_store_is_down_what_waits_for_it_is_read_and_the_cursor_stays_in_front_of_the_rest(
    alice: Caller, bob: Caller, seven: str
) -> None:
    async with store_down():
        for _ in range(2):
            await alice.said(seven, bob, text=b"new")
        page = await bob.history(seven, limit=4)
        assert (seqs(page), page["sources_missing"]) == ([9, 8], [{"from_seq": 6, "to_seq": 7}])
        assert (page["next_cursor"], page["has_more"]) == ("8", True)
        assert page["items"][0]["ciphertext"] == b64(b"new")
        rising = await bob.history(seven, limit=4, after=5)
        assert (seqs(rising), rising["next_cursor"]) == ([9, 8], "5")
        unread = await bob.get(f"conversations/{seven}/messages", before=8)
        assert (unread.status, unread.code) == (503, "STORAGE_UNAVAILABLE")
    assert seqs(await bob.history(seven, limit=4)) == [9, 8, 7, 6]


async def test_a_hole_in_the_store_is_named_and_what_is_around_it_is_read(bob: Caller, seven: str) -> None:
    await lose(seven, 3, 4, 6)
    page = await bob.history(seven)
    assert seqs(page) == [7, 5, 2, 1]
    assert page["sources_missing"] == [{"from_seq": 3, "to_seq": 4}, {"from_seq": 6, "to_seq": 6}]
    assert (page["next_cursor"], page["has_more"]) == ("7", True)
    assert (await bob.history(seven, after=1))["next_cursor"] == "2"


async def test_every_page_is_whole_while_messages_are_deposited(alice: Caller, bob: Caller) -> None:
    conversation = await alice.direct(bob)

    async def talk() -> None:
        for _ in range(25):
            await alice.said(conversation, bob)

    talking = asyncio.create_task(talk())
    while not talking.done():
        page = await bob.history(conversation)
        assert seqs(page) == list(range(len(page["items"]), 0, -1))
        assert "sources_missing" not in page
    await talking


async def test_without_postgresql_there_is_no_history(bob: Caller, seven: str, monkeypatch: pytest.MonkeyPatch) -> None:
    await postgresql.close_pools()
    monkeypatch.setattr(postgresql, "conninfo", lambda _alias: "host=/nowhere dbname=none connect_timeout=1")
    monkeypatch.setattr(postgresql, "CHECKOUT_SECONDS", 0.3)
    answer = await bob.get(f"conversations/{seven}/messages")
    assert (answer.status, answer.code) == (503, "STORAGE_UNAVAILABLE")
    await postgresql.close_pools()


async def test_a_second_device_reads_what_was_said_before_it_came_without_ciphertexts(
    alice: Caller, bob: Caller, seven: str, calling: Calling
) -> None:
    laptop = calling(await sync_to_async(bob.device.beside("Bob's laptop").register)())
    assert [item.get("ciphertext") for item in (await laptop.history(seven))["items"]] == [None] * 7
