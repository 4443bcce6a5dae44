"""Changes beside sends, beside each other, beside registrations, and beside somebody who holds the row."""

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from asgiref.sync import sync_to_async
from django.db import connections

from accounts import postgresql
from conversations import changes, log
from conversations.models import DeviceStart, LedgerRow, Member, OutboxRow
from messaging.models.sql import MailboxRow
from tests.callers import Caller, message
from tests.cast import Answer, Installation
from tests.conversations.conftest import Calling
from tests.deadlines import promised

pytestmark = [
    pytest.mark.django_db(transaction=True, databases=["default", "messages"]),
    pytest.mark.usefixtures("many", "unlimited"),
]


@asynccontextmanager
async def held(conversation: str) -> AsyncIterator[None]:
    """Somebody else has the conversation's row locked."""
    async with await psycopg.AsyncConnection.connect(postgresql.conninfo("default")) as rival:
        await rival.execute("SELECT FROM conversations_conversation WHERE id = %s FOR UPDATE", [conversation])
        yield
        await rival.rollback()


async def say_until_it_fits(who: Caller, conversation: str, people: dict[str, Caller]) -> Answer:
    """Send as clients do: on a mismatch, correct the device list and send the same message again."""
    body = message()
    while True:
        answer = await who.post(f"conversations/{conversation}/messages", body)
        if answer.code == "STORAGE_UNAVAILABLE":
            # Thirty rivals for one row may need longer than anybody waits; the same send again is the same message.
            continue
        if answer.code != "MISMATCHED_DEVICES":
            return replace(answer, status=201) if answer.status == 200 else answer
        to = {item["device_id"] for item in body["messages"]} - set(answer.body["extra"])
        to |= {item["device_id"] for item in answer.body["missing"]}
        body["messages"] = message(*(people[device_id] for device_id in sorted(to)))["messages"]


async def at_last(call: Callable[[], Awaitable[Answer]]) -> int:
    """The status of the first answer that is not `STORAGE_UNAVAILABLE`."""
    while (answer := await call()).code == "STORAGE_UNAVAILABLE":
        pass
    return answer.status


@sync_to_async
def stays(conversation: str) -> dict[str, list[tuple[int, int]]]:
    found: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
    for stay in Member.objects.filter(conversation_id=conversation):
        found[str(stay.user_id)].append((stay.joined_seq, stay.left_seq or 10**9))
    return found


@sync_to_async
def log_rows(conversation: str) -> list[Any]:
    rows = LedgerRow.objects.filter(conversation_id=conversation).order_by("seq")
    return list(rows.values_list("seq", "sender_device_id", "message_id"))


@sync_to_async
def mailbox(device: Installation, conversation: str) -> list[int]:
    rows = MailboxRow.objects.filter(device_id=device.device_id, conversation_id=conversation)
    return sorted(seq or 0 for seq in rows.values_list("seq", flat=True))


async def everything_deposited() -> None:
    async with asyncio.timeout(10):
        while await OutboxRow.objects.acount():  # noqa: ASYNC110  (the relay may be another process's)
            await asyncio.sleep(0.02)


async def test_thirty_changes_and_sends_at_once_leave_one_log_without_gaps_and_everybody_gets_their_part(
    alice: Caller, bob: Caller, calling: Calling
) -> None:
    def register() -> Installation:
        return Installation(name="a phone").register(prekeys=0)

    guests = [calling(await sync_to_async(register)()) for _ in range(10)]
    everybody = {caller.device.device_id: caller for caller in (alice, bob, *guests)}
    group = await alice.group(bob)
    members = f"conversations/{group}/members"

    async def come_and_go(guest: Caller) -> None:
        # A change without an answer may have happened: then it is a conflict, or there is nobody to leave.
        assert await at_last(lambda: alice.post(members, {"user_ids": [guest.user_id]})) in (201, 409)
        if int(guest.device.device_id) % 2:
            assert await at_last(lambda: guest.post(f"conversations/{group}/leave")) in (204, 404)
            assert await at_last(lambda: alice.post(members, {"user_ids": [guest.user_id]})) in (201, 409)

    sends = [say_until_it_fits(who, group, everybody) for who in (alice, bob) for _ in range(10)]
    async with asyncio.timeout(60):
        sent, _ = await asyncio.gather(asyncio.gather(*sends), asyncio.gather(*map(come_and_go, guests)))
    assert [answer.status for answer in sent] == [201] * 20
    await everything_deposited()

    rows = await log_rows(group)
    assert [seq for seq, *_ in rows] == list(range(1, len(rows) + 1))
    assert [message_id for *_, message_id in rows] == sorted(message_id for *_, message_id in rows)
    present = await stays(group)
    for device_id, caller in everybody.items():
        expected = [
            seq
            for seq, sender_device_id, _ in rows
            if sender_device_id != int(device_id)
            and any(first <= seq <= last for first, last in present[caller.user_id])
        ]
        assert await mailbox(caller.device, group) == expected, caller.device.name


async def test_a_device_that_signs_in_while_its_owner_is_added_is_never_without_a_start(
    alice: Caller, bob: Caller, calling: Calling
) -> None:
    groups = [await alice.group() for _ in range(6)]
    laptop = bob.device.beside("Bob's laptop")

    def sign_in() -> None:
        laptop.register()
        connections.close_all()

    adding = [alice.post(f"conversations/{group}/members", {"user_ids": [bob.user_id]}) for group in groups]
    added, _ = await asyncio.gather(asyncio.gather(*adding), asyncio.to_thread(sign_in))
    assert [answer.status for answer in added] == [201] * 6
    for group in groups:
        await alice.said(group, bob, calling(laptop))
        starts = DeviceStart.objects.filter(
            conversation_id=group, device_id__in=[laptop.device_id, bob.device.device_id]
        )
        assert await starts.filter(envelope_seq=None).acount() == 0
        assert await starts.acount() == 2
        seen = (await calling(laptop).history(group))["items"]
        assert len([item for item in seen if item.get("start")]) == 1


async def test_while_a_conversation_is_held_its_changes_are_refused_in_time_and_others_go_on(
    alice: Caller, bob: Caller, carol: Caller
) -> None:
    held_group, free_group = await alice.group(bob), await alice.group(bob)
    async with held(held_group):
        began = time.monotonic()
        waiting = [
            asyncio.create_task(alice.patch(f"conversations/{held_group}", {"name": f"Name {number}"}))
            for number in range(12)
        ]
        await asyncio.sleep(0.2)
        rounds = 0
        while not any(task.done() for task in waiting):
            await alice.said(free_group, bob)
            answer = await alice.post(f"conversations/{free_group}/members", {"user_ids": [carol.user_id]})
            assert answer.status == 201
            assert (await alice.delete(f"conversations/{free_group}/members/{carol.user_id}")).status == 204
            rounds += not any(task.done() for task in waiting)
        assert rounds, "the others had to wait until those before them were refused"
        answers = await asyncio.gather(*waiting)
        assert {(answer.status, answer.code) for answer in answers} == {(503, "STORAGE_UNAVAILABLE")}
        assert time.monotonic() - began < promised(5)
    assert (await alice.patch(f"conversations/{held_group}", {"name": "Free"})).status == 200


async def test_a_stranger_cannot_wait_for_a_held_conversation(alice: Caller, mallory_online: Caller) -> None:
    group = await alice.group()
    async with held(group):
        assert (await mallory_online.patch(f"conversations/{group}", {"name": "Mine"})).status == 404, "not 503"


async def test_two_who_add_each_others_friends_in_opposite_order_both_succeed(
    alice: Caller, bob: Caller, carol: Caller, mallory_online: Caller
) -> None:
    groups = [await alice.group() for _ in range(8)]
    people = [bob.user_id, carol.user_id, mallory_online.user_id]
    adding = [
        alice.post(f"conversations/{group}/members", {"user_ids": people[:: -1 if number % 2 else 1]})
        for number, group in enumerate(groups)
    ]
    assert [answer.status for answer in await asyncio.gather(*adding)] == [201] * 8


async def test_a_change_reaches_its_store_through_the_finisher_when_nobody_heard_of_it(
    alice: Caller, bob: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:

    monkeypatch.setattr(log, "CLAIM_SECONDS", 0)
    monkeypatch.setattr(changes, "announce", lambda _entries: None)
    group = await alice.group()
    await alice.post(f"conversations/{group}/members", {"user_ids": [bob.user_id]})
    await everything_deposited()
    assert await mailbox(bob.device, group) == [2]


async def test_who_was_removed_still_hears_that_the_message_was_committed_though_the_row_is_held(
    alice: Caller, bob: Caller
) -> None:
    group = await alice.group(bob)
    body = message(alice)
    first = await bob.post(f"conversations/{group}/messages", body)
    assert first.status == 201, first
    assert (await alice.delete(f"conversations/{group}/members/{bob.user_id}")).status == 204
    async with held(group):
        again = await bob.post(f"conversations/{group}/messages", body)
    assert again.body == first.body | {"duplicate": True}
