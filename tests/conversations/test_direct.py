"""Direct conversations: one per pair, begun by their first message."""

import asyncio
from uuid import uuid4

import pytest

from conversations.models import Conversation, Member
from tests.callers import Caller

pytestmark = [
    pytest.mark.django_db(transaction=True, databases=["default", "messages"]),
    pytest.mark.usefixtures("many"),
]


async def test_a_direct_conversation_is_one_per_pair_whoever_asks(alice: Caller, bob: Caller) -> None:
    first = await alice.post("conversations", {"kind": "direct", "user_id": bob.user_id})
    again = await bob.post("conversations", {"kind": "direct", "user_id": alice.user_id})
    assert (first.status, again.status) == (201, 200)
    assert first.body["conversation_id"] == again.body["conversation_id"]
    assert (first.body["peer"]["user_id"], again.body["peer"]["user_id"]) == (bob.user_id, alice.user_id)
    assert (first.body["last_seq"], "last_message" in first.body, first.body["role"]) == (0, False, "member")
    assert (await bob.history(first.body["conversation_id"])) == {"items": [], "has_more": False}


async def test_it_starts_with_its_first_message(alice: Caller, bob: Caller) -> None:
    conversation = await alice.direct(bob)
    assert (await alice.said(conversation, bob))["seq"] == 1
    [item] = (await bob.history(conversation))["items"]
    assert (item["kind"], item["start"]) == ("message", True)


async def test_twenty_who_open_it_from_both_sides_at_once_get_the_same_one(alice: Caller, bob: Caller) -> None:
    asked = [
        one.post("conversations", {"kind": "direct", "user_id": other.user_id})
        for _ in range(10)
        for one, other in ((alice, bob), (bob, alice))
    ]
    answers = await asyncio.gather(*asked)
    assert sorted(answer.status for answer in answers) == [200] * 19 + [201]
    assert len({answer.body["conversation_id"] for answer in answers}) == 1
    assert await Conversation.objects.acount() == 1
    assert await Member.objects.acount() == 2


async def test_nobody_talks_to_themselves_or_to_nobody(alice: Caller) -> None:
    oneself = await alice.post("conversations", {"kind": "direct", "user_id": alice.user_id})
    assert (oneself.status, oneself.body["field"]) == (400, "user_id")
    nameless = await alice.post("conversations", {"kind": "direct"})
    assert (nameless.status, nameless.body["field"]) == (400, "user_id")
    nobody = str(uuid4())
    unknown = await alice.post("conversations", {"kind": "direct", "user_id": nobody})
    assert (unknown.status, unknown.body["user_ids"]) == (404, [nobody])


async def test_left_it_is_hidden_until_the_next_message_and_no_event_tells_of_it(alice: Caller, bob: Caller) -> None:
    conversation = await alice.direct(bob)
    await alice.said(conversation, bob)
    assert (await bob.post(f"conversations/{conversation}/leave")).status == 204
    assert (await bob.get("conversations")).body["items"] == []
    assert (await bob.get(f"conversations/{conversation}")).body["last_seq"] == 1
    assert len((await alice.get("conversations")).body["items"]) == 1
    await alice.said(conversation, bob)
    assert [item["last_seq"] for item in (await bob.get("conversations")).body["items"]] == [2]


async def test_nobody_manages_a_direct_conversation(alice: Caller, bob: Caller, carol: Caller) -> None:
    path = f"conversations/{await alice.direct(bob)}"
    for answer in (
        await alice.patch(path, {"name": "Us"}),
        await alice.post(f"{path}/members", {"user_ids": [carol.user_id]}),
        await alice.patch(f"{path}/members/{bob.user_id}", {"role": "admin"}),
        await alice.delete(f"{path}/members/{bob.user_id}"),
    ):
        assert (answer.status, answer.code) == (403, "FORBIDDEN")
    assert (await alice.delete(f"{path}/members/{alice.user_id}")).status == 204
    assert (await alice.get(f"{path}/members")).status == 200
