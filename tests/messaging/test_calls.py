"""Call signalling: to whom it goes, once, and to whom it never goes."""

import asyncio
import base64
import os
from itertools import count
from typing import Any
from uuid import UUID, uuid4

import pytest
from asgiref.sync import sync_to_async

from accounts.wire.refusals import NotFound, RateLimited, StorageUnavailable
from messaging import writer
from messaging.calls import Calls, Signal
from messaging.envelopes import Mailbox
from messaging.layer import Publisher
from messaging.online import Online
from messaging.sessions import Session
from tests.cast import Installation, b64
from tests.messaging.conftest import Connect
from tests.sockets import DeviceSocket
from tests.stances import blocks, group, leaves, sets

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "messages"])


@pytest.fixture
def scarce(settings: Any) -> None:
    """Few signals, and hardly any more. Name it before `connect`: a server reads its limits when it starts."""
    settings.LIMITS = settings.LIMITS | {"CALL_SIGNALS_BURST": [5], "CALL_SIGNALS_PER_SECOND": [1]}


def call(conversation: UUID | str, signal: str = "offer", body: bytes | str = "", **fields: Any) -> dict[str, Any]:
    return {"type": "call", "conversation_id": str(conversation), "signal": signal, "body": body} | fields


async def refusal(socket: DeviceSocket, frame: dict[str, Any]) -> str:
    answer = await socket.ask(frame)
    assert answer["type"] == "error", answer
    return str(answer["error_code"])


async def test_it_goes_to_every_other_connected_device_or_to_one(
    connect: Connect,
    alice_and_bob: UUID,
    alice_phone: Installation,
    alice_laptop: Installation,
    bob_phone: Installation,
) -> None:
    body = os.urandom(32 * 1024)
    async with (
        connect(alice_phone) as alice,
        connect(alice_laptop) as laptop,
        connect(bob_phone, subprotocol="waypost.v1.msgpack") as bob,
    ):
        await alice.say(call(alice_and_bob, "offer", b64(body)))
        offered = await bob.expect("call")
        assert offered == {
            "type": "call",
            "conversation_id": str(alice_and_bob),
            "sender_user_id": alice_phone.user_id,
            "sender_device_id": alice_phone.device_id,
            "signal": "offer",
            "body": body,
        }
        assert base64.b64decode((await laptop.expect("call"))["body"]) == body
        await bob.say(call(alice_and_bob, "answer", b"yes", device_id=offered["sender_device_id"]))
        assert (await alice.expect("call"))["signal"] == "answer"
        for socket in (alice, laptop, bob):
            await socket.nothing("call", seconds=0.2)


async def test_what_is_wrong_with_it_is_said(
    connect: Connect, alice_and_bob: UUID, alice_phone: Installation, bob_phone: Installation
) -> None:
    async with connect(alice_phone) as alice, connect(bob_phone):
        assert await refusal(alice, call(alice_and_bob, body=b64(bytes(32 * 1024 + 1)))) == "TOO_LARGE"
        assert await refusal(alice, call(alice_and_bob, "shout")) == "INVALID_REQUEST"
        assert await refusal(alice, call(alice_and_bob, body="?")) == "INVALID_REQUEST"
        assert await refusal(alice, call(alice_and_bob, device_id="9" * 19)) == "INVALID_REQUEST"
        assert await refusal(alice, call(alice_and_bob, device_id=alice_phone.device_id)) == "NOT_FOUND"


async def test_strangers_blocked_people_and_former_members_reach_nobody_and_learn_nothing(
    connect: Connect,
    alice_phone: Installation,
    bob_phone: Installation,
    mallory: Installation,
    alice_and_bob: UUID,
) -> None:
    common = await group(alice_phone, mallory)
    async with connect(alice_phone) as alice, connect(bob_phone) as bob, connect(mallory) as eve:

        async def answers(conversation: UUID) -> list[dict[str, Any]]:
            frames = [call(conversation), call(conversation, device_id=alice_phone.device_id)]
            return [{**await eve.ask(frame), "ref": ""} for frame in frames]

        nobody_is_there = await answers(await group(mallory))
        assert nobody_is_there[0]["error_code"] == "NOT_FOUND"
        assert await answers(alice_and_bob) == await answers(uuid4()) == nobody_is_there
        await eve.say(call(common))
        await alice.expect("call")
        await blocks(alice_phone, mallory)
        assert await answers(common) == nobody_is_there
        assert await refusal(alice, call(common)) == "NOT_FOUND"
        await leaves(mallory, common)
        assert await answers(common) == nobody_is_there
        for socket in (alice, bob):
            await socket.nothing("call", seconds=0.2)


async def test_every_device_it_reaches_counts(
    scarce: None,
    connect: Connect,
    alice_and_bob: UUID,
    alice_phone: Installation,
    bob_phone: Installation,
    alice_laptop: Installation,
) -> None:
    async with connect(alice_phone) as alice, connect(bob_phone) as bob, connect(alice_laptop):
        for _ in range(8):
            await alice.say(call(alice_and_bob))
        limited = await alice.expect("error")
        assert (limited["error_code"], limited["retryable"], limited["retry_after_ms"] > 0) == (
            "RATE_LIMITED",
            True,
            True,
        )
        assert await bob.expect("call")


async def test_without_redis_a_call_reaches_who_is_connected_to_the_same_process(
    connect: Connect,
    monkeypatch: pytest.MonkeyPatch,
    alice_and_bob: UUID,
    alice_phone: Installation,
    bob_phone: Installation,
) -> None:
    async def nobody_answers(*_: object) -> None:
        raise StorageUnavailable

    async def nobody_is_known(*_: object) -> set[str]:
        return set()

    monkeypatch.setattr(Online, "_ask", nobody_answers)
    monkeypatch.setattr(Publisher, "subscribed", nobody_is_known)
    async with connect(alice_phone) as alice:
        assert await refusal(alice, call(alice_and_bob)) == "NOT_FOUND"
        async with connect(bob_phone) as bob:
            await alice.say(call(alice_and_bob))
            await bob.expect("call")
        assert await refusal(alice, {"type": "presence", "user_ids": [bob_phone.user_id]}) == "STORAGE_UNAVAILABLE"


async def test_a_device_whose_process_was_killed_is_not_reached(
    connect: Connect, alice_and_bob: UUID, alice_phone: Installation, bob_phone: Installation
) -> None:
    """Redis believes in its socket for a while; nobody listens for it."""
    bob, killed = UUID(bob_phone.user_id), Online()
    while not (await killed.look([bob]))[bob].online:
        killed.came(Session(bob, int(bob_phone.device_id), 1, conn_id=1, mailbox_from=0, created_ms=0))
        await asyncio.sleep(0)
    await killed.close()
    async with connect(alice_phone) as alice:
        assert await refusal(alice, call(alice_and_bob)) == "NOT_FOUND"


class Caller:
    """Alice's phone at a switchboard of its own. A call has no answer but a refusal."""

    def __init__(self, phone: Installation, conversation: UUID) -> None:
        self.mailbox = Mailbox(UUID(phone.user_id), int(phone.device_id))
        self.conversation = conversation
        self.woken: list[int] = []

    async def learns(self, *device_ids: str) -> list[tuple[str, int]]:
        """Of an offer and of a candidate to all and to these devices: whether somebody was found, and how often it may be said."""
        return [
            await self._tries(Signal(self.conversation, signal, b"", device_id))
            for device_id in (None, *map(int, device_ids))
            for signal in ("offer", "candidate")
        ]

    async def _tries(self, said: Signal) -> tuple[str, int]:
        calls, answer = Calls(lambda _, asleep: self.woken.extend(one.device_id for one in asleep)), "told"
        for times in count():
            try:
                await calls.signal(self.mailbox, said)
            except NotFound:
                answer = "nobody"
            except RateLimited:
                return answer, times
        raise AssertionError


@pytest.mark.parametrize("shy", ["caller", "called"])
async def test_a_call_does_not_show_who_is_connected_to_whom_presence_does_not(
    connect: Connect,
    settings: Any,
    alice_and_bob: UUID,
    alice_phone: Installation,
    bob_phone: Installation,
    shy: str,
) -> None:
    # Few enough that Bob need not read them.
    settings.LIMITS = settings.LIMITS | {"CALL_SIGNALS_BURST": [4], "CALL_SIGNALS_PER_SECOND": [0.001]}
    tablet = await sync_to_async(bob_phone.beside("Bob's tablet").register)()
    caller = Caller(alice_phone, alice_and_bob)
    seen = await caller.learns(bob_phone.device_id)
    await sets(alice_phone if shy == "caller" else bob_phone, "presence", value=False)
    caller.woken.clear()
    unseen = await caller.learns(bob_phone.device_id)
    assert {int(bob_phone.device_id), int(tablet.device_id)} == set(caller.woken), "an offer wakes them all the same"
    async with connect(bob_phone) as bob:
        assert await caller.learns(bob_phone.device_id) == unseen != seen
        assert await bob.expect("call"), "and reaches them"
    assert ({answer for answer, _ in seen}, {answer for answer, _ in unseen}) == ({"nobody"}, {"told"})
    await blocks(bob_phone, alice_phone)
    async with connect(bob_phone):
        assert await caller.learns(bob_phone.device_id) == unseen, "nor does a block show"


async def test_of_calls_only_so_many_wait_for_a_device_that_is_behind(
    connect: Connect,
    monkeypatch: pytest.MonkeyPatch,
    alice_and_bob: UUID,
    alice_phone: Installation,
    bob_phone: Installation,
) -> None:
    monkeypatch.setattr(writer, "MOST_PASSING_BYTES", 1000)
    async with connect(alice_phone) as alice, connect(bob_phone) as bob:
        await alice.say(call(alice_and_bob, body=b64(bytes(2000))))
        await alice.say(call(alice_and_bob, "candidate"))
        assert (await bob.expect("call"))["signal"] == "candidate"
        await bob.nothing("call", seconds=0.2)
