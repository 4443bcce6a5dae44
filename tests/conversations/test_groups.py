"""Founding, renaming and leaving groups; who may do what; and what the log says of it."""

from typing import Any
from uuid import uuid4

import pytest
from asgiref.sync import sync_to_async

from conversations.models import Conversation, DeviceStart, Member
from devices.unlinking import revoke_device
from tests.callers import Caller
from tests.cast import Installation
from tests.conversations.conftest import Calling
from tests.messaging.conftest import Connect, connect  # noqa: F401  (a fixture)

pytestmark = [
    pytest.mark.django_db(transaction=True, databases=["default", "messages"]),
    pytest.mark.usefixtures("many"),
]


async def test_a_new_group_begins_with_its_own_creation_for_every_device_the_founders_own_included(
    alice: Caller,
    bob: Caller,
    connect: Connect,  # noqa: F811
) -> None:
    laptop = await sync_to_async(alice.device.beside("Alice's laptop").register)()
    body = {"kind": "group", "name": "Lunch", "metadata": {"colour": None, "size": 3}, "avatar": str(uuid4())}
    answer = await alice.post("conversations", body | {"member_ids": [bob.user_id, alice.user_id, bob.user_id]})
    assert answer.status == 201
    group = answer.body
    assert group | body | {"role": "owner", "last_seq": 1, "member_count": 2, "last_read_seq": 0} == group
    assert {(member["user_id"], member["role"], member["joined_seq"]) for member in group["members"]} == {
        (alice.user_id, "owner", 1),
        (bob.user_id, "member", 1),
    }
    for device in (alice.device, laptop, bob.device):
        async with connect(device) as socket:
            envelope = await socket.expect("envelope")
            assert (envelope["seq"], envelope["start"], envelope["kind"]) == (1, True, "system")
            assert (envelope["sender_user_id"], envelope["sender_device_id"]) == (alice.user_id, alice.device.device_id)
            assert envelope["system"] == {
                "event": "conversation_created",
                "actor_user_id": alice.user_id,
                "user_ids": sorted([alice.user_id, bob.user_id]),
            }


async def test_a_group_may_have_nobody_in_it_but_its_founder_and_asking_twice_makes_two(alice: Caller) -> None:
    assert await alice.group() != await alice.group()


async def test_a_malformed_group_is_refused_by_the_name_of_the_field(alice: Caller) -> None:
    table: list[tuple[dict[str, Any], str]] = [
        ({"kind": "channel"}, "kind"),
        ({"name": ""}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"name": "a\u202eb"}, "name"),
        ({"avatar": "no"}, "avatar"),
        ({"metadata": []}, "metadata"),
        ({"metadata": {"n": 2**70}}, "metadata"),
        ({"member_ids": None}, "member_ids"),
        ({"member_ids": ["A" * 36]}, "member_ids.0"),
        ({"member_ids": [str(uuid4())] * 256}, "member_ids"),
        ({"source": "archive"}, "source"),
    ]
    for change, field in table:
        answer = await alice.post("conversations", {"kind": "group", "member_ids": []} | change)
        assert (answer.status, answer.code, answer.body["field"]) == (400, "INVALID_REQUEST", field)


async def test_too_much_metadata_is_too_large(alice: Caller) -> None:
    answer = await alice.post("conversations", {"kind": "group", "member_ids": [], "metadata": {"x": "y" * 4096}})
    assert (answer.status, answer.body["limit"], answer.body["max"]) == (413, "metadata", 4096)


async def test_unknown_people_are_named_and_nothing_is_made(alice: Caller, bob: Caller) -> None:
    nobody = str(uuid4())
    answer = await alice.post("conversations", {"kind": "group", "member_ids": [bob.user_id, nobody]})
    assert (answer.status, answer.body["user_ids"]) == (404, [nobody])
    assert await sync_to_async(Conversation.objects.count)() == 0


async def test_a_group_has_a_greatest_size(alice: Caller, bob: Caller, carol: Caller, settings: Any) -> None:
    settings.LIMITS = settings.LIMITS | {"MEMBERS": [2]}
    refused = await alice.post("conversations", {"kind": "group", "member_ids": [bob.user_id, carol.user_id]})
    assert (refused.status, refused.body["limit"], refused.body["max"]) == (413, "members", 2)
    group = await alice.group(bob)
    refused = await alice.post(f"conversations/{group}/members", {"user_ids": [carol.user_id]})
    assert (refused.status, refused.body["limit"]) == (413, "members")


async def test_a_person_has_a_greatest_number_of_conversations(
    alice: Caller, bob: Caller, carol: Caller, settings: Any
) -> None:
    await bob.group()
    group = await alice.group()
    settings.LIMITS = settings.LIMITS | {"CONVERSATIONS_PER_USER": [1]}
    for refused in (
        await bob.post("conversations", {"kind": "group", "member_ids": []}),
        await carol.post("conversations", {"kind": "group", "member_ids": [bob.user_id]}),
        await carol.post("conversations", {"kind": "direct", "user_id": bob.user_id}),
        await alice.post(f"conversations/{group}/members", {"user_ids": [bob.user_id]}),
    ):
        assert (refused.status, refused.body["limit"], refused.body["max"]) == (413, "conversations", 1)


async def test_new_conversations_and_additions_are_counted_by_the_hour_but_not_refused_ones(
    alice: Caller, bob: Caller, carol: Caller, settings: Any
) -> None:
    settings.LIMITS = settings.LIMITS | {"CONVERSATIONS_PER_HOUR": [2], "ADDS_PER_HOUR": [2]}
    for _ in range(3):
        assert (await alice.post("conversations", {"kind": "direct", "user_id": str(uuid4())})).status == 404
    await alice.direct(bob)
    await alice.direct(bob)
    group = await alice.group(bob)
    refused = await alice.post("conversations", {"kind": "direct", "user_id": carol.user_id})
    assert (refused.status, refused.code) == (429, "RATE_LIMITED")
    assert int(refused.headers["retry-after"]) > 0
    members = f"conversations/{group}/members"
    assert (await alice.post(members, {"user_ids": [bob.user_id, carol.user_id]})).status == 409
    assert (await alice.post(members, {"user_ids": [carol.user_id]})).status == 201
    for status in (204, 201, 204, 429):
        leaving = status == 204
        answer = await (
            alice.delete(f"{members}/{carol.user_id}")
            if leaving
            else alice.post(members, {"user_ids": [carol.user_id]})
        )
        assert answer.status == status


async def test_without_redis_groups_are_still_founded_and_counted_in_the_process(alice: Caller, settings: Any) -> None:
    settings.LIMITS = settings.LIMITS | {"CONVERSATIONS_PER_HOUR": [2]}
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    answers = [await alice.post("conversations", {"kind": "group", "member_ids": []}) for _ in range(3)]
    assert [answer.status for answer in answers] == [201, 201, 429]


async def test_people_are_added_one_event_each_and_see_the_log_from_their_own_on(
    alice: Caller, bob: Caller, carol: Caller
) -> None:
    group = await alice.group()
    answer = await alice.post(f"conversations/{group}/members", {"user_ids": [carol.user_id, bob.user_id, bob.user_id]})
    assert answer.status == 201
    first, second = sorted([bob, carol], key=lambda caller: caller.user_id)
    joined = {item["user_id"]: (item["joined_seq"], item["role"]) for item in answer.body["items"]}
    assert joined == {first.user_id: (2, "member"), second.user_id: (3, "member")}
    added = [
        {"event": "member_added", "actor_user_id": alice.user_id, "user_id": who.user_id} for who in (first, second)
    ]
    assert await first.events(group) == added
    assert await second.events(group) == added[1:]
    assert (await alice.events(group))[1:] == added


async def test_adding_is_all_or_none(alice: Caller, bob: Caller, carol: Caller) -> None:
    group = await alice.group(bob)
    members = f"conversations/{group}/members"
    nobody = str(uuid4())
    for user_ids, status, named in (
        ([carol.user_id, nobody], 404, [nobody]),
        ([carol.user_id, bob.user_id, alice.user_id], 409, sorted([bob.user_id, alice.user_id])),
    ):
        answer = await alice.post(members, {"user_ids": user_ids})
        assert (answer.status, answer.body["user_ids"]) == (status, named)
    assert (await bob.post(members, {"user_ids": [carol.user_id]})).code == "FORBIDDEN"
    assert (await bob.post(members, {"user_ids": [nobody]})).status == 404
    for user_ids in ([], [nobody] * 101):
        assert (await alice.post(members, {"user_ids": user_ids})).status == 400
    assert (await alice.get(f"conversations/{group}")).body["last_seq"] == 1


async def test_a_removed_member_gets_that_event_last_and_nothing_of_the_conversation_is_left_for_them(
    alice: Caller,
    bob: Caller,
    carol: Caller,
    connect: Connect,  # noqa: F811
) -> None:
    group = await alice.group(bob, carol)
    async with connect(bob.device) as socket:
        await socket.envelopes(1)
        assert (await alice.delete(f"conversations/{group}/members/{bob.user_id}")).status == 204
        [envelope] = await socket.envelopes(1)
        assert envelope["system"] == {
            "event": "member_removed",
            "actor_user_id": alice.user_id,
            "user_id": bob.user_id,
        }
        await alice.said(group, carol)
        await socket.nothing("envelope")
    assert (await bob.get(f"conversations/{group}")).status == 404
    assert (await bob.get("conversations")).body["items"] == []
    stay = await Member.objects.aget(user_id=bob.user_id)
    assert (stay.joined_seq, stay.left_seq) == (1, 2)
    assert not await DeviceStart.objects.filter(device_id=bob.device.device_id).aexists()


async def test_who_comes_back_begins_anew_and_sees_both_stays_but_not_what_was_said_between(
    alice: Caller,
    bob: Caller,
    connect: Connect,  # noqa: F811
) -> None:
    group = await alice.group(bob)
    await alice.delete(f"conversations/{group}/members/{bob.user_id}")
    await alice.said(group)
    await alice.post(f"conversations/{group}/members", {"user_ids": [bob.user_id]})
    async with connect(bob.device) as socket:
        envelopes = await socket.envelopes(3)
    assert [(envelope["seq"], envelope.get("start", False)) for envelope in envelopes] == [
        (1, True),
        (2, False),
        (4, True),
    ]
    assert [item["seq"] for item in (await bob.history(group))["items"]] == [4, 2, 1]


async def test_the_last_admin_names_a_successor_before_leaving(alice: Caller, bob: Caller, carol: Caller) -> None:
    group = await alice.group(bob, carol)
    leave = f"conversations/{group}/leave"
    refused = await alice.post(leave)
    assert (refused.status, refused.code, refused.body["reason"]) == (409, "CONFLICT", "last_admin")
    assert (await alice.delete(f"conversations/{group}/members/{alice.user_id}")).body["reason"] == "last_admin"
    assert (await alice.post(leave, {"successor_user_id": alice.user_id})).status == 400
    assert (await alice.post(leave, {"successor_user_id": str(uuid4())})).status == 404
    assert (await bob.post(leave, {"successor_user_id": carol.user_id})).status == 403
    assert (await alice.post(leave, {"successor_user_id": bob.user_id})).status == 204
    assert (await bob.events(group))[1:] == [
        {"event": "role_changed", "actor_user_id": alice.user_id, "user_id": bob.user_id, "role": "owner"},
        {"event": "member_left", "actor_user_id": alice.user_id, "user_id": alice.user_id},
    ]
    assert (await carol.delete(f"conversations/{group}/members/{carol.user_id}")).status == 204


async def test_the_last_to_leave_archives_the_group_and_hears_of_their_own_going_last(
    alice: Caller,
    connect: Connect,  # noqa: F811
) -> None:
    group = await alice.group()
    async with connect(alice.device) as socket:
        assert (await alice.post(f"conversations/{group}/leave", {})).status == 204
        events = [envelope["system"] for envelope in await socket.envelopes(3)]
    assert events[1:] == [
        {"event": "conversation_archived", "actor_user_id": alice.user_id},
        {"event": "member_left", "actor_user_id": alice.user_id, "user_id": alice.user_id},
    ]
    assert (await Conversation.objects.aget()).archived_at is not None
    assert (await alice.say(group)).status == 404


async def test_roles_are_given_by_admins_and_the_owner_alone_gives_ownership(
    alice: Caller, bob: Caller, carol: Caller
) -> None:
    group = await alice.group(bob, carol)

    async def give(who: Caller, whom: Caller, role: str) -> tuple[int, str | None]:
        answer = await who.patch(f"conversations/{group}/members/{whom.user_id}", {"role": role})
        return answer.status, answer.body.get("role") or answer.body.get("reason")

    assert await give(bob, carol, "admin") == (403, None)
    assert await give(alice, bob, "king") == (400, None)
    assert await give(alice, alice, "member") == (409, "last_admin")
    assert await give(alice, bob, "admin") == (200, "admin")
    assert await give(alice, bob, "admin") == (200, "admin")
    assert await give(bob, alice, "member") == (403, None)
    assert await give(bob, carol, "owner") == (403, None)
    assert await give(bob, carol, "admin") == (200, "admin")
    assert await give(alice, carol, "owner") == (200, "owner")
    assert await give(alice, carol, "member") == (403, None)
    assert await give(bob, alice, "member") == (200, "member")
    assert (await alice.delete(f"conversations/{group}/members/{bob.user_id}")).status == 403
    assert (await bob.delete(f"conversations/{group}/members/{carol.user_id}")).status == 403
    changes = [(event["user_id"], event["role"]) for event in (await bob.events(group))[1:]]
    assert changes == [
        (bob.user_id, "admin"),
        (carol.user_id, "admin"),
        (carol.user_id, "owner"),
        (alice.user_id, "admin"),
        (alice.user_id, "member"),
    ]


async def test_admins_rename_and_describe_a_group_and_what_changes_nothing_is_no_event(
    alice: Caller, bob: Caller
) -> None:
    group = await alice.group(bob, name="Lunch")
    path, avatar = f"conversations/{group}", str(uuid4())
    assert (await bob.patch(path, {"name": "Mine"})).status == 403
    assert (await alice.patch(path, {"name": "Lunch"})).body["last_seq"] == 1
    assert (await alice.patch(path, {})).body["last_seq"] == 1
    changed = await alice.patch(path, {"name": "Dinner", "avatar": avatar, "metadata": {"a": {"b": None}}})
    assert changed.body | {"name": "Dinner", "avatar": avatar, "metadata": {"a": {"b": None}}} == changed.body
    cleared = await alice.patch(path, {"name": None, "avatar": None})
    assert "name" not in cleared.body
    assert "avatar" not in cleared.body
    assert cleared.body["metadata"] == {"a": {"b": None}}
    assert (await bob.events(group))[1:] == [
        {"event": "renamed", "actor_user_id": alice.user_id, "name": "Dinner"},
        {"event": "updated", "actor_user_id": alice.user_id, "avatar": avatar, "metadata": {"a": {"b": None}}},
        {"event": "renamed", "actor_user_id": alice.user_id, "name": None},
        {"event": "updated", "actor_user_id": alice.user_id, "avatar": None},
    ]


async def test_a_device_linked_before_a_change_is_named_just_before_it(
    alice: Caller, bob: Caller, calling: Calling
) -> None:
    group = await alice.group(bob)
    laptop: Installation = await sync_to_async(bob.device.beside("Bob's laptop").register)()
    await alice.patch(f"conversations/{group}", {"name": "Lunch"})
    assert [event["event"] for event in await alice.events(group)] == [
        "conversation_created",
        "device_linked",
        "renamed",
    ]
    start = await DeviceStart.objects.aget(device_id=laptop.device_id)
    assert (start.from_seq, start.envelope_seq) == (2, 2)
    seen = (await calling(laptop).history(group))["items"]
    assert [item.get("start", False) for item in seen] == [False, True, False]


async def test_a_device_linked_and_removed_in_one_change_leaves_no_start_behind(alice: Caller, bob: Caller) -> None:
    group = await alice.group(bob)
    laptop: Installation = await sync_to_async(bob.device.beside("Bob's laptop").register)()
    await alice.delete(f"conversations/{group}/members/{bob.user_id}")
    assert [event["event"] for event in await alice.events(group)][1:] == ["device_linked", "member_removed"]
    assert not await DeviceStart.objects.filter(device_id__in=[laptop.device_id, bob.device.device_id]).aexists()
    await alice.post(f"conversations/{group}/members", {"user_ids": [bob.user_id]})
    start = await DeviceStart.objects.aget(device_id=laptop.device_id)
    assert (start.from_seq, start.envelope_seq) == (4, 4)


async def test_a_member_whose_devices_are_all_gone_is_still_a_member(alice: Caller, bob: Caller) -> None:
    there = await alice.group(bob)
    await sync_to_async(revoke_device)(int(bob.device.device_id))
    assert (await alice.patch(f"conversations/{there}", {"name": "After"})).status == 200
    assert not await DeviceStart.objects.filter(device_id=bob.device.device_id).aexists()
    refused = await alice.post(f"conversations/{there}/members", {"user_ids": [bob.user_id]})
    assert (refused.status, refused.body.get("user_ids")) == (409, [bob.user_id])
    assert (await alice.delete(f"conversations/{there}/members/{bob.user_id}")).status == 204


async def test_a_member_keeps_a_conversation_as_they_like_and_nobody_else_sees_it(alice: Caller, bob: Caller) -> None:
    group = await alice.group(bob)
    path = f"conversations/{group}/mute"
    until = "2099-01-02T03:04:05.678Z"
    assert (await bob.put(path, {"muted_until": until, "pinned": True})).body == {
        "muted_until": until,
        "pinned": True,
        "archived": False,
    }
    assert (await bob.put(path, {"muted_until": None, "archived": True})).body == {"pinned": True, "archived": True}
    assert (await bob.put(path, {"pinned": True})).body["field"] == "muted_until"
    seen = (await alice.get(f"conversations/{group}")).body
    assert (seen["pinned"], seen["archived"]) == (False, False)
