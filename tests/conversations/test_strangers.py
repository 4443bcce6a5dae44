"""One door: strangers, former members and ids of nothing get the same 404, whatever they ask."""

from collections.abc import Awaitable, Callable
from uuid import uuid4

import pytest

from tests.callers import Caller, message
from tests.cast import Answer

pytestmark = [
    pytest.mark.django_db(transaction=True, databases=["default", "messages"]),
    pytest.mark.usefixtures("many"),
]

NOTHING = {"error": "There is nothing here.", "error_code": "NOT_FOUND"}

Call = Callable[[Caller, str, Caller], Awaitable[Answer]]

CALLS: dict[str, Call] = {
    "detail": lambda who, path, _: who.get(path),
    "describe": lambda who, path, _: who.patch(path, {"name": "Mine"}),
    "leave": lambda who, path, _: who.post(f"{path}/leave"),
    "leave to a successor": lambda who, path, bob: who.post(f"{path}/leave", {"successor_user_id": bob.user_id}),
    "members": lambda who, path, _: who.get(f"{path}/members"),
    "add": lambda who, path, bob: who.post(f"{path}/members", {"user_ids": [bob.user_id]}),
    "add nobody known": lambda who, path, _: who.post(f"{path}/members", {"user_ids": [str(uuid4())]}),
    "give a role": lambda who, path, bob: who.patch(f"{path}/members/{bob.user_id}", {"role": "owner"}),
    "remove": lambda who, path, bob: who.delete(f"{path}/members/{bob.user_id}"),
    "remove oneself": lambda who, path, _: who.delete(f"{path}/members/{who.user_id}"),
    "mute": lambda who, path, _: who.put(f"{path}/mute", {"muted_until": None}),
    "history": lambda who, path, _: who.get(f"{path}/messages"),
    "resolve": lambda who, path, _: who.get(f"{path}/resolve", **{"from": 1, "to": 5}),
    "send": lambda who, path, bob: who.post(f"{path}/messages", message(bob)),
    "send to no device": lambda who, path, _: who.post(f"{path}/messages", message()),
    "send after another": lambda who, path, bob: who.post(
        f"{path}/messages", message(bob, after_client_message_id=str(uuid4()))
    ),
}


async def test_strangers_former_members_and_ids_of_nothing_get_the_same_answer(
    alice: Caller, bob: Caller, carol: Caller, mallory_online: Caller
) -> None:
    group = await alice.group(bob, carol)
    direct = await alice.direct(bob)
    assert (await carol.post(f"conversations/{group}/leave")).status == 204
    for who, conversation in (
        (carol, group),
        (mallory_online, group),
        (mallory_online, direct),
        (alice, str(uuid4())),
        (alice, "nonsense"),
        (alice, group.upper()),
    ):
        for name, call in CALLS.items():
            answer = await call(who, f"conversations/{conversation}", bob)
            assert (answer.status, answer.body) == (404, NOTHING), (name, who.device.name, conversation)
    assert (await alice.get(f"conversations/{group}")).body["last_seq"] == 2


async def test_a_member_that_is_none_is_nothing_either(alice: Caller, bob: Caller, carol: Caller) -> None:
    group = await alice.group(bob)
    for who in (alice, bob):
        for user_id in (carol.user_id, str(uuid4()), "nonsense"):
            for answer in (
                await who.patch(f"conversations/{group}/members/{user_id}", {"role": "admin"}),
                await who.delete(f"conversations/{group}/members/{user_id}"),
            ):
                assert (answer.status, answer.body) == (404, NOTHING)


async def test_without_a_token_there_is_no_door_at_all(alice: Caller, bob: Caller) -> None:
    group = await alice.group()
    alice.device.access_token = "none"
    for call in CALLS.values():
        assert (await call(alice, f"conversations/{group}", bob)).status == 401
