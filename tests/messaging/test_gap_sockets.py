"""Gaps on real sockets, and who finishes what is left in a web process."""

import asyncio
from typing import Any
from uuid import UUID

import pytest
from asgiref.sync import sync_to_async

from conversations.models import Gap, OutboxRow
from devices.models import Device
from messaging import mailboxes, window
from messaging.runtime import Runtime
from tests.cast import Installation
from tests.messaging.conftest import Connect
from tests.sockets import message

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "messages"])


async def test_bob_is_told_of_the_gap_that_his_full_mailbox_left_and_gets_what_comes_after(
    connect: Connect, alice_and_bob: UUID, alice_phone: Installation, bob_phone: Installation
) -> None:
    await sync_to_async(Device.objects.filter(pk=bob_phone.device_id).update)(mailbox_full=True)
    async with connect(alice_phone) as alice:
        for _ in range(3):
            assert (await alice.ask(message(alice_and_bob, [bob_phone])))["type"] == "sent"
        async with connect(bob_phone) as bob:
            gap = await bob.expect("envelope")
            assert (gap["kind"], gap["seq"]) == ("system", 3)
            assert gap["system"] == {"event": "gap", "from_seq": 1, "to_seq": 3}
            await bob.expect("queue_empty")
            await bob.say({"type": "ack", "message_ids": [gap["message_id"]]})
            await alice.ask(message(alice_and_bob, [bob_phone], b"after"))
            envelope = await bob.expect("envelope")
            assert (envelope["seq"], envelope["start"]) == (4, True)
            await _until_no_gap()


async def _until_no_gap() -> None:
    for _ in range(100):
        if not await sync_to_async(Gap.objects.exists)():
            return
        await asyncio.sleep(0.05)
    pytest.fail("the gap was acknowledged and is still there")


async def test_a_message_that_ends_five_sockets_is_skipped_on_the_sixth(
    connect: Connect,
    alice_and_bob: UUID,
    alice_phone: Installation,
    bob_phone: Installation,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with connect(alice_phone) as alice:
        for text in (b"poison", b"behind it"):
            await alice.ask(message(alice_and_bob, [bob_phone], text))
    monkeypatch.setattr(window, "UNANSWERED_SECONDS", 0.1)
    monkeypatch.setattr(mailboxes, "SWEEP_SECONDS", 0.1)
    for _ in range(5):
        async with connect(bob_phone) as bob:
            assert (await bob.expect("envelope"))["seq"] == 1
            assert await bob.closed() == 4408
    monkeypatch.setattr(window, "UNANSWERED_SECONDS", 30.0)
    async with connect(bob_phone) as bob:
        first, second = await bob.expect("envelope"), await bob.expect("envelope")
        assert (first["seq"], first["kind"]) == (2, "message")
        assert second["system"] == {"event": "gap", "from_seq": 1, "to_seq": 1}


@pytest.mark.parametrize("finishers", [1, 0])
async def test_a_web_process_finishes_unless_it_is_told_not_to(
    hot_road: None, settings: Any, finishers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.FINISHER_IN_WEB = bool(finishers)
    ran = []

    async def run() -> None:
        ran.append(True)

    runtime = Runtime()
    monkeypatch.setattr(runtime.finisher, "run", run)
    await runtime.start()
    await asyncio.sleep(0.05)
    await runtime.stop()
    assert len(ran) == finishers
    assert not await sync_to_async(OutboxRow.objects.exists)()
