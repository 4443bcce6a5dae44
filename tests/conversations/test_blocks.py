"""Somebody has blocked somebody: what still passes between the two, and what does not."""

import asyncio
from uuid import uuid4

import pytest

from accounts.ids import uuid7
from conversations.models import Conversation
from tests.callers import Caller
from tests.cast import Answer

pytestmark = [
    pytest.mark.django_db(transaction=True, databases=["default", "messages"]),
    pytest.mark.usefixtures("many", "unlimited"),
]


async def block(one: Caller, other: Caller) -> None:
    answer = await one.put(f"relationships/{other.user_id}", {"state": "blocked"})
    assert (answer.status, answer.body["state"]) == (200, "blocked")


async def unblock(one: Caller, other: Caller) -> None:
    assert (await one.delete(f"relationships/{other.user_id}")).status == 204


async def test_nobody_sends_in_the_direct_conversation_until_nobody_blocks(alice: Caller, bob: Caller) -> None:
    conversation = await alice.direct(bob)
    first = await alice.said(conversation, bob)
    await block(alice, bob)
    for one, other in ((alice, bob), (bob, alice)):
        refused = await one.say(conversation, other)
        assert (refused.status, refused.code) == (403, "FORBIDDEN")
    await block(bob, alice)
    await unblock(alice, bob)
    assert (await alice.say(conversation, bob)).code == "FORBIDDEN"
    await unblock(bob, alice)
    assert (await bob.said(conversation, alice))["seq"] == first["seq"] + 1


async def test_what_was_committed_is_answered_as_before(alice: Caller, bob: Caller) -> None:
    conversation = await alice.direct(bob)
    mid = str(uuid7())
    first = await alice.said(conversation, bob, client_message_id=mid)
    await block(bob, alice)
    again = await alice.say(conversation, bob, client_message_id=mid)
    assert (again.status, again.body["seq"], again.body["duplicate"]) == (200, first["seq"], True)
    assert len((await bob.history(conversation))["items"]) == 1


async def test_once_a_block_is_answered_nothing_more_is_committed(alice: Caller, bob: Caller) -> None:
    """Sends that are under way meanwhile are before it, or refused."""
    conversation = await alice.direct(bob)
    answered = asyncio.Event()

    async def talk() -> list[Answer]:
        answers = []
        while not answered.is_set():
            answers.append(await bob.say(conversation, alice))
        return [*answers, await bob.say(conversation, alice)]

    talking = [asyncio.create_task(talk()) for _ in range(8)]
    while (await head(conversation)) < 10:  # noqa: ASYNC110  (the log has no event for it)
        await asyncio.sleep(0.01)
    await block(alice, bob)
    then = await head(conversation)
    answered.set()
    codes = {answer.code for answers in await asyncio.gather(*talking) for answer in answers}
    assert codes - {"STORAGE_UNAVAILABLE"} == {None, "FORBIDDEN"}
    assert await head(conversation) == then


async def head(conversation: str) -> int:
    found = await Conversation.objects.aget(pk=conversation)
    return found.next_seq - 1


async def test_who_is_blocked_cannot_begin_anything_with_them(
    alice: Caller, mallory_online: Caller, bob: Caller
) -> None:
    group = await mallory_online.group(bob)
    await block(alice, mallory_online)
    nobody = str(uuid4())
    for path, fields in (
        ("conversations", lambda user_id: {"kind": "direct", "user_id": user_id}),
        ("conversations", lambda user_id: {"kind": "group", "member_ids": [user_id]}),
        (f"conversations/{group}/members", lambda user_id: {"user_ids": [user_id]}),
    ):
        blocked, unknown = [await mallory_online.post(path, fields(user_id)) for user_id in (alice.user_id, nobody)]
        assert (blocked.status, blocked.body) == (
            404,
            unknown.body | {"user_ids": [alice.user_id]},
        )
    both = await mallory_online.post("conversations", {"kind": "group", "member_ids": [alice.user_id, nobody]})
    assert both.body["user_ids"] == sorted([alice.user_id, nobody])


async def test_who_blocks_may_open_a_conversation_in_which_nobody_sends(alice: Caller, bob: Caller) -> None:
    await block(alice, bob)
    conversation = await alice.direct(bob)
    for one, other in ((alice, bob), (bob, alice)):
        assert (await one.say(conversation, other)).code == "FORBIDDEN"
    assert (await bob.post("conversations", {"kind": "direct", "user_id": alice.user_id})).status == 404
    await unblock(alice, bob)
    assert (await bob.said(conversation, alice))["seq"] == 1


async def test_common_groups_go_on(alice: Caller, bob: Caller, carol: Caller) -> None:
    group = await carol.group(alice, bob)
    await block(alice, bob)
    for one, others in ((alice, (bob, carol)), (bob, (alice, carol)), (carol, (alice, bob))):
        await one.said(group, *others)
    assert {member["user_id"] for member in (await bob.get(f"conversations/{group}")).body["members"]} == {
        alice.user_id,
        bob.user_id,
        carol.user_id,
    }


async def test_keys_of_whoever_blocks_are_like_those_of_nobody(alice: Caller, mallory_online: Caller) -> None:
    before = (await alice.get("keys/count")).body
    await block(alice, mallory_online)
    for path in ("keys/{}/*", "keys/{}/identities", "keys/{}/" + alice.device.device_id):
        blocked, unknown = [await mallory_online.get(path.format(who)) for who in (alice.user_id, uuid4())]
        assert (blocked.status, blocked.body) == (404, unknown.body)
    assert (await alice.get("keys/count")).body == before
    assert (await alice.get(f"keys/{mallory_online.user_id}/identities")).status == 200
    await unblock(alice, mallory_online)
    assert (await mallory_online.get(f"keys/{alice.user_id}/*")).status == 200


async def test_a_block_is_shown_to_nobody_else(alice: Caller, bob: Caller) -> None:
    for one, other in ((alice, bob), (bob, alice)):
        await one.put(f"relationships/{other.user_id}", {"state": "friends"})
    assert [item["state"] for item in (await bob.get("relationships", state="friends")).body["items"]] == ["friends"]
    await block(alice, bob)
    assert (await bob.get("relationships")).body["items"] == []
    assert (await bob.get(f"relationships/{alice.user_id}")).body == {"user_id": alice.user_id, "state": "none"}
    asked = (await bob.put(f"relationships/{alice.user_id}", {"state": "friends"})).body
    assert asked["state"] == "requested"
    assert (await bob.get("relationships", state="blocked")).body["items"] == []
    assert [item["state"] for item in (await alice.get("relationships")).body["items"]] == ["blocked"]
    assert (await bob.get(f"users/{alice.user_id}")).status == 200
    oneself = await alice.put(f"relationships/{alice.user_id}", {"state": "blocked"})
    assert (oneself.status, oneself.code) == (400, "INVALID_REQUEST")
    assert (await alice.put(f"relationships/{uuid4()}", {"state": "blocked"})).status == 404
    assert (await alice.get("relationships", state="enemies")).status == 400
