"""The inbox: order, counts, pages, and how many queries it takes."""

from typing import Any
from uuid import UUID

import pytest
from asgiref.sync import sync_to_async
from django.test.utils import CaptureQueriesContext

from conversations import inbox
from conversations.models import LedgerRow, Member
from tests.callers import Caller, message
from tests.cast import Installation

pytestmark = [
    pytest.mark.django_db(transaction=True, databases=["default", "messages"]),
    pytest.mark.usefixtures("many", "unlimited"),
]


async def ids(who: Caller) -> list[str]:
    return [item["conversation_id"] for item in (await who.get("conversations")).body["items"]]


async def unread(who: Caller, conversation: str) -> int:
    return int((await who.get(f"conversations/{conversation}")).body["unread_count"])


async def test_last_activity_comes_first(alice: Caller, bob: Caller, carol: Caller) -> None:
    with_bob, with_carol = await alice.direct(bob), await alice.direct(carol)
    group = await alice.group(bob)
    assert await ids(alice) == [group, with_carol, with_bob]
    sent = await bob.said(with_bob, alice)
    assert await ids(alice) == [with_bob, group, with_carol]
    first = (await alice.get("conversations")).body["items"][0]
    assert first["last_message"] == {
        "seq": 1,
        "message_id": sent["message_id"],
        "sender_user_id": bob.user_id,
        "sent_at": sent["sent_at"],
        "kind": "message",
    }
    assert first["last_activity_at"] == sent["sent_at"]


async def test_pages_show_every_conversation_once(alice: Caller) -> None:
    made = [await alice.group() for _ in range(5)]
    seen: list[str] = []
    query: dict[str, Any] = {"limit": 2}
    while True:
        body = (await alice.get("conversations", **query)).body
        seen += [item["conversation_id"] for item in body["items"]]
        if not body["has_more"]:
            break
        query["cursor"] = body["next_cursor"]
    assert seen == made[::-1]
    assert (await alice.get("conversations", cursor="made-up")).status == 400
    assert (await alice.get("conversations", limit=101)).status == 400
    members = await alice.get(f"conversations/{made[0]}/members", cursor=query["cursor"])
    assert members.status == 400


async def test_unread_are_others_urgent_messages_after_the_last_read_one(
    alice: Caller, bob: Caller, carol: Caller
) -> None:
    group = await alice.group(bob)
    await alice.said(group, bob)
    await alice.said(group, bob, urgent=False)
    await alice.said(group, bob, kind="key_distribution")
    await bob.said(group, alice)
    assert (await unread(alice, group), await unread(bob, group)) == (1, 1)
    await alice.post(f"conversations/{group}/members", {"user_ids": [carol.user_id]})
    await alice.said(group, bob, carol)
    assert (await unread(bob, group), await unread(carol, group)) == (2, 1)
    await sync_to_async(Member.objects.filter(user_id=bob.user_id).update)(last_read_seq=2)
    assert await unread(bob, group) == 1


async def test_nobody_counts_further_than_999(alice: Caller, bob: Caller) -> None:
    conversation = await alice.direct(bob)

    @sync_to_async
    def say_much() -> None:
        LedgerRow.objects.bulk_create(
            LedgerRow(
                conversation_id=conversation,
                seq=seq,
                sender_device_id=alice.device.device_id,
                sender_user_id=alice.user_id,
                kind="message",
                message_id=seq,
                position=1,
                kept_ms=1,
            )
            for seq in range(1, 1100)
        )

    await say_much()
    assert await unread(bob, conversation) == 999


async def test_the_inbox_takes_as_many_queries_for_thirty_conversations_as_for_three(
    alice: Caller, bob: Caller
) -> None:
    from django.db import connection  # noqa: PLC0415  (the thread's own)

    await alice.direct(bob)

    @sync_to_async
    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            seen = inbox.listed(UUID(alice.user_id), after=None, most=51)
            [str(item.peer) for item in seen]
        return len(captured)

    few = await queries()
    for _ in range(30):
        await alice.group(bob)
    assert (few, await queries()) == (2, 2)


async def test_members_are_listed_in_the_order_they_came(alice: Caller, bob: Caller, carol: Caller) -> None:
    group = await alice.group(carol)
    await alice.post(f"conversations/{group}/members", {"user_ids": [bob.user_id]})
    profile = {"display_name": "Bob", "username": "bob"}
    assert (await bob.patch("profile", profile)).status == 200
    first = (await carol.get(f"conversations/{group}/members", limit=2)).body
    second = (await carol.get(f"conversations/{group}/members", limit=2, cursor=first["next_cursor"])).body
    assert {item["user_id"] for item in first["items"]} == {alice.user_id, carol.user_id}
    [last] = second["items"]
    assert last | profile | {"user_id": bob.user_id, "role": "member", "joined_seq": 2} == last
    assert second["has_more"] is False


async def test_a_new_installation_of_a_member_changes_nothing_in_the_inbox(
    alice: Caller, bob: Caller, bob_phone: Installation
) -> None:
    conversation = await alice.direct(bob)
    await sync_to_async(bob_phone.beside().register)()
    refused = await alice.post(f"conversations/{conversation}/messages", message(bob))
    assert refused.code == "MISMATCHED_DEVICES"
    assert (await bob.get(f"conversations/{conversation}")).body["last_seq"] == 0
