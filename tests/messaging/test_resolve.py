"""Resolving a gap: committed, not for you, unavailable."""
# ruff: noqa: F811  (fixtures have the names of the arguments that ask for them)

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db.models import F
from django.utils import timezone

from conversations.models import LedgerRow, OutboxRow
from messaging import resolving
from messaging.models import HistoryRow
from messaging.store.protocol import RETENTION_MS
from tests.callers import Caller
from tests.cast import Answer, b64
from tests.clocks import set_process_clock
from tests.conversations.conftest import Calling, alice, bob, calling, carol, carol_phone, many  # noqa: F401  (fixtures)
from tests.messaging.test_history import deposited, lose, seven, store_down  # noqa: F401  (a fixture among them)

pytestmark = [
    pytest.mark.django_db(transaction=True, databases=["default", "messages"]),
    pytest.mark.usefixtures("many", "unlimited"),
]

COMMITTED, NOT_FOR_YOU, UNAVAILABLE = "committed", "not_for_you", "unavailable"


async def ask(who: Caller, conversation: str, first: Any, last: Any) -> Answer:
    return await who.get(f"conversations/{conversation}/resolve", **{"from": first, "to": last})


async def states(who: Caller, conversation: str, first: int, last: int) -> list[str]:
    answer = await ask(who, conversation, first, last)
    assert answer.status == 200, answer
    assert [item["seq"] for item in answer.body["items"]] == list(range(first, first + len(answer.body["items"])))
    return [item["state"] for item in answer.body["items"]]


@sync_to_async
def forget_ledger(conversation: str) -> None:
    """The ledger does not go back so far any more."""
    LedgerRow.objects.filter(conversation_id=conversation).delete()


async def test_what_is_committed_for_the_device_comes_with_its_envelope_and_nothing_above_the_head(
    alice: Caller, bob: Caller, seven: str
) -> None:
    answer = await ask(bob, seven, 6, 20)
    assert [(item["seq"], item["state"]) for item in answer.body["items"]] == [(6, COMMITTED), (7, COMMITTED)]
    assert answer.body["items"][0]["envelope"] == (await bob.history(seven, before=7))["items"][0]
    assert answer.body["items"][0]["envelope"]["ciphertext"] == b64(b"6")
    assert await states(bob, seven, 8, 20) == []


async def test_own_sends_are_not_for_you_but_own_system_entries_are(alice: Caller, bob: Caller) -> None:
    group = await alice.group(bob)
    await alice.said(group, bob)
    await bob.said(group, alice)
    assert await states(alice, group, 1, 3) == [COMMITTED, NOT_FOR_YOU, COMMITTED]
    assert await states(bob, group, 1, 3) == [COMMITTED, COMMITTED, NOT_FOR_YOU]


async def test_before_a_devices_start_and_outside_its_owners_stays_nothing_is_for_it(
    alice: Caller, bob: Caller, carol: Caller, calling: Calling
) -> None:
    group = await alice.group()  # 1
    await alice.said(group)  # 2
    await alice.post(f"conversations/{group}/members", {"user_ids": [bob.user_id]})  # 3
    await alice.said(group, bob)  # 4
    laptop = calling(await sync_to_async(bob.device.beside("Bob's laptop").register)())
    assert await states(laptop, group, 1, 4) == [NOT_FOR_YOU] * 4
    await alice.said(group, bob, laptop)  # 5, 6
    assert await states(bob, group, 1, 6) == [NOT_FOR_YOU] * 2 + [COMMITTED] * 4
    assert await states(laptop, group, 1, 6) == [NOT_FOR_YOU] * 4 + [COMMITTED] * 2


async def test_who_came_back_still_gets_what_was_for_them_in_their_first_stay(alice: Caller, bob: Caller) -> None:
    group = await alice.group(bob)  # 1
    await alice.said(group, bob)  # 2
    await alice.delete(f"conversations/{group}/members/{bob.user_id}")  # 3
    await alice.said(group)  # 4
    await alice.post(f"conversations/{group}/members", {"user_ids": [bob.user_id]})  # 5
    assert await states(bob, group, 1, 5) == [COMMITTED] * 3 + [NOT_FOR_YOU, COMMITTED]


async def test_after_a_new_installation_only_what_came_after_it_is_for_the_device(
    alice: Caller, bob: Caller, seven: str, calling: Calling
) -> None:
    again = await sync_to_async(bob.device.reinstalled().register)()
    assert again.device_id == bob.device.device_id
    bob_again = calling(again)
    assert await states(bob_again, seven, 1, 7) == [NOT_FOR_YOU] * 7
    await alice.said(seven, bob_again)
    assert await states(bob_again, seven, 6, 9) == [NOT_FOR_YOU] * 2 + [COMMITTED] * 2


async def test_what_outbox_and_store_have_lost_is_unavailable(alice: Caller, bob: Caller, seven: str) -> None:
    await lose(seven, 3)
    assert await states(bob, seven, 2, 4) == [COMMITTED, UNAVAILABLE, COMMITTED]
    assert await states(alice, seven, 2, 4) == [NOT_FOR_YOU] * 3


async def test_beyond_the_ledger_the_history_answers(alice: Caller, bob: Caller, seven: str) -> None:
    await forget_ledger(seven)
    await lose(seven, 3)
    assert await states(bob, seven, 2, 4) == [COMMITTED, UNAVAILABLE, COMMITTED]
    assert await states(alice, seven, 4, 4) == [NOT_FOR_YOU]


async def test_while_the_store_is_down_nothing_that_is_only_late_is_called_lost(
    alice: Caller, bob: Caller, seven: str
) -> None:
    async with store_down():
        await alice.said(seven, bob, text=b"new")
        answer = await ask(bob, seven, 7, 8)
        late, waiting = answer.body["items"]
        assert (late, waiting["state"]) == ({"seq": 7, "state": COMMITTED}, COMMITTED)
        assert waiting["envelope"]["ciphertext"] == b64(b"new")
        await forget_ledger(seven)
        refused = await ask(bob, seven, 7, 8)
        assert (refused.status, refused.code) == (503, "STORAGE_UNAVAILABLE")
        assert await states(bob, seven, 8, 8) == [COMMITTED]


async def test_what_has_expired_comes_by_no_mailbox_and_is_not_waited_for(
    alice: Caller, bob: Caller, seven: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await alice.said(seven, bob, expires_in=1)
    await alice.said(seven, bob, expires_in=600)
    await asyncio.sleep(1.1)
    assert await states(bob, seven, 7, 9) == [COMMITTED] * 3, "a copy may be under way"
    monkeypatch.setattr(resolving, "LAST_COPY_MS", 0)
    async with store_down():
        assert await states(bob, seven, 8, 8) == [COMMITTED], "what the store would say is not known"
    answer = await ask(bob, seven, 7, 9)
    assert [item["state"] for item in answer.body["items"]] == [COMMITTED, UNAVAILABLE, COMMITTED]
    assert answer.body["items"][1]["envelope"]["deleted"] is True
    assert await states(alice, seven, 8, 8) == [NOT_FOR_YOU]
    set_process_clock(monkeypatch, timedelta(hours=1))
    assert await states(bob, seven, 9, 9) == [COMMITTED], "it is PostgreSQL's clock that counts"
    await forget_ledger(seven)
    assert await states(bob, seven, 7, 9) == [COMMITTED, UNAVAILABLE, COMMITTED], "the history says it, too"


async def test_what_is_older_than_a_mailbox_is_not_waited_for_either(alice: Caller, bob: Caller, seven: str) -> None:
    """History is kept for good, and says that it was there; what is for all comes with the answer."""
    await alice.said(seven, bob, shared=b64(b"for all"))
    await deposited()
    old = {"kept_ms": F("kept_ms") - RETENTION_MS - 120_000}
    await HistoryRow.objects.filter(conversation_id=seven, seq__in=(3, 8)).aupdate(**old)
    await forget_ledger(seven)
    answer = await ask(bob, seven, 2, 8)
    assert {item["seq"]: item["state"] for item in answer.body["items"] if item["state"] != COMMITTED} == {
        3: UNAVAILABLE,
        8: UNAVAILABLE,
    }
    assert answer.body["items"][-1]["envelope"]["shared"] == b64(b"for all")


async def test_a_range_is_at_most_five_hundred_and_well_formed(bob: Caller, seven: str) -> None:
    assert len(await states(bob, seven, 1, 500)) == 7
    for first, last, field in ((1, 501, "to"), (0, 3, "from"), (5, 4, "from"), ("x", 3, "from"), (1, "", "to")):
        answer = await ask(bob, seven, first, last)
        assert (answer.status, answer.body["field"]) == (400, field)
    answer = await bob.get(f"conversations/{seven}/resolve", to=3)
    assert (answer.status, answer.body["field"]) == (400, "from")


@sync_to_async
def leave_unreadable(conversation: str, seq: int) -> None:
    """The entry is still in the outbox, and nobody can read it."""
    row = LedgerRow.objects.get(conversation_id=conversation, seq=seq)
    OutboxRow.objects.create(
        conversation_id=conversation,
        seq=seq,
        position=row.position,
        kept_ms=row.kept_ms,
        claimed_until=timezone.now(),
        size=1,
        bundle=b"\xc1",
    )


async def test_an_entry_nobody_can_read_is_unavailable_and_hides_no_other(bob: Caller, seven: str) -> None:
    await lose(seven, 3)
    await leave_unreadable(seven, 3)
    assert await states(bob, seven, 2, 4) == [COMMITTED, UNAVAILABLE, COMMITTED]
    page = await bob.history(seven)
    assert [item["seq"] for item in page["items"]] == [7, 6, 5, 4, 2, 1]
    assert page["sources_missing"] == [{"from_seq": 3, "to_seq": 3}]
