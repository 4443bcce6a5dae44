"""Who sees who is there."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid4

import pytest
import redis.asyncio

from messaging import online, presence
from messaging.online import Online
from messaging.sessions import Session
from tests.cast import Installation
from tests.messaging.conftest import Connect
from tests.sockets import DeviceSocket
from tests.stances import blocks, group, leaves, sets

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "messages"])


@pytest.fixture
def unlimited(settings: Any) -> None:
    """Questions as often as one likes. Name it before `connect`: a server reads its limits when it starts."""
    settings.LIMITS = settings.LIMITS | {"PRESENCE_BURST": [0]}


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Heartbeats and looks follow each other at once. Name it before `connect`."""
    monkeypatch.setattr(online, "HEARTBEAT_SECONDS", 0.1)
    monkeypatch.setattr(presence, "LOOK_SECONDS", 0.2)


async def ask(socket: DeviceSocket, *people: Installation | str) -> Any:
    """The `users` of the answer."""
    user_ids = [person if isinstance(person, str) else person.user_id for person in people]
    answer = await socket.ask({"type": "presence", "user_ids": user_ids})
    assert answer["type"] == "presence", answer
    return answer["users"]


async def changes(socket: DeviceSocket) -> Sequence[dict[str, Any]]:
    """The next change."""
    frame = await socket.expect("presence")
    assert "ref" not in frame
    users: Sequence[dict[str, Any]] = frame["users"]
    return users


async def until_online(socket: DeviceSocket, person: Installation) -> None:
    while not (await ask(socket, person))[0]["online"]:
        pass


async def test_who_asks_is_told_and_told_of_changes_until_the_next_question(
    unlimited: None, connect: Connect, alice_and_bob: UUID, alice_phone: Installation, bob_phone: Installation
) -> None:
    bobs = bob_phone.user_id
    async with connect(alice_phone) as alice:
        assert await ask(alice, bob_phone) == [{"user_id": bobs, "online": False}]
        async with connect(bob_phone):
            assert await changes(alice) == [{"user_id": bobs, "online": True}]
        [gone] = await changes(alice)
        assert (gone["online"], gone["last_seen_at"][-1]) == (False, "Z")
        assert await ask(alice, bob_phone) == [gone]
        assert await ask(alice) == []
        async with connect(bob_phone):
            await alice.nothing("presence", seconds=0.5)


async def test_strangers_and_whoever_does_not_want_to_be_seen_are_out_of_sight(
    unlimited: None, connect: Connect, alice_phone: Installation, bob_phone: Installation, mallory: Installation
) -> None:
    common = await group(bob_phone, mallory)
    async with connect(mallory) as eve, connect(bob_phone) as bob:
        assert await ask(eve, alice_phone, str(uuid4())) == []
        async with connect(alice_phone) as alice:
            assert await ask(alice, mallory) == []
        await until_online(eve, bob_phone)
        await sets(bob_phone, "presence", value=False)
        assert await ask(eve, bob_phone) == []
        assert await ask(bob, mallory) == []
        await sets(bob_phone, "presence", value=True)
        await until_online(bob, mallory)
        await blocks(bob_phone, mallory)
        assert await ask(eve, bob_phone, mallory) == [{"user_id": mallory.user_id, "online": True}]
        assert await ask(bob, mallory) == []
        await leaves(mallory, common)
        assert await ask(eve, bob_phone) == []
        await eve.nothing("presence", seconds=0.3)
        refused = await eve.ask({"type": "presence", "user_ids": [str(uuid4())] * 101})
        assert refused["error_code"] == "INVALID_REQUEST"


@pytest.mark.parametrize("reason", ["blocked", "left", "setting"])
async def test_who_was_seen_is_not_told_of_any_more_once_they_are_out_of_sight(
    reason: str, unlimited: None, connect: Connect, bob_phone: Installation, mallory: Installation
) -> None:
    common = await group(bob_phone, mallory)
    async with connect(mallory) as eve:
        async with connect(bob_phone):
            await until_online(eve, bob_phone)
            if reason == "blocked":
                await blocks(bob_phone, mallory)
            elif reason == "left":
                await leaves(mallory, common)
            else:
                await sets(bob_phone, "presence", value=False)
        await eve.nothing("presence", seconds=0.7)


async def test_a_redis_that_forgets_everything_hurts_nobody_for_long(
    quick: None,
    unlimited: None,
    connect: Connect,
    alice_and_bob: UUID,
    alice_phone: Installation,
    bob_phone: Installation,
    redis_url: str,
) -> None:
    async with connect(alice_phone) as alice, connect(bob_phone):
        await until_online(alice, bob_phone)
        async with redis.asyncio.Redis.from_url(redis_url) as store:
            await store.flushdb()
            while not await store.exists(f"waypost.online.{bob_phone.user_id}"):
                pass
        await alice.nothing("presence", seconds=0.5)
        assert await ask(alice, bob_phone) == [{"user_id": bob_phone.user_id, "online": True}]


async def test_sockets_of_a_process_that_was_killed_are_believed_for_a_while(
    quick: None,
    monkeypatch: pytest.MonkeyPatch,
    unlimited: None,
    connect: Connect,
    alice_and_bob: UUID,
    alice_phone: Installation,
    bob_phone: Installation,
) -> None:
    async with connect(alice_phone) as alice:
        assert not (await ask(alice, bob_phone))[0]["online"]
        monkeypatch.setattr(online, "LASTS_SECONDS", 2)
        killed = Online()
        killed.came(Session(UUID(bob_phone.user_id), int(bob_phone.device_id), 1, 7, 0, 0))
        assert (await changes(alice))[0]["online"]
        await killed.close()
        [gone] = await changes(alice)
        assert (gone["user_id"], gone["online"]) == (bob_phone.user_id, False)


async def test_questions_are_limited(connect: Connect, alice_phone: Installation) -> None:
    async with connect(alice_phone) as alice:
        answers = [await alice.ask({"type": "presence", "user_ids": []}) for _ in range(60)]
        assert "RATE_LIMITED" in {answer.get("error_code") for answer in answers}
        assert answers[0]["users"] == []


async def test_the_end_of_a_socket_brings_nothing_back_that_was_deleted(
    connect: Connect, alice_phone: Installation, redis_url: str
) -> None:
    """A deleted account's sockets close a moment after its keys are gone."""
    key = f"waypost.online.{alice_phone.user_id}"
    process, session = Online(), Session(UUID(alice_phone.user_id), int(alice_phone.device_id), 1, 7, 0, 0)
    async with redis.asyncio.Redis.from_url(redis_url) as store:
        process.came(session)
        while not await store.exists(key):
            pass
        await store.delete(key)
        process.went(session)
        await process.close()
        assert not await store.exists(key)
