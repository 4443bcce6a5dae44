"""A whole round of pruning, and what people notice of it: nothing."""
# ruff: noqa: F811  (fixtures have the names of the arguments that ask for them)

import asyncio
import time
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.sessions.models import Session
from django.core.management import CommandError, call_command
from django.utils import timezone

from accounts import leases
from accounts.models import CodeDay, KnownPlace, Lease
from conversations.models import LedgerRow
from messaging import pruning, runtime
from messaging.store.memory import MemoryStore
from tests.aging import age, forget
from tests.callers import Caller
from tests.conversations.conftest import alice, bob, calling, many  # noqa: F401  (fixtures)
from tests.messaging.conftest import Connect
from tests.messaging.test_history import deposited, seven, store_down  # noqa: F401  (a fixture among them)
from tests.messaging.test_resolve import COMMITTED, NOT_FOR_YOU, states

pytestmark = [
    pytest.mark.django_db(transaction=True, databases=["default", "messages"]),
    pytest.mark.usefixtures("many", "unlimited"),
]


@pytest.fixture
async def forgotten(alice: Caller, bob: Caller, seven: str) -> str:
    """Seven messages, of which the ledger has forgotten five."""
    await age(seven, range(1, 6), days=16)
    assert await forget() == 5
    return seven


async def test_history_and_resolve_go_beyond_the_ledger(alice: Caller, bob: Caller, forgotten: str) -> None:
    assert [item["seq"] for item in (await bob.history(forgotten))["items"]] == [7, 6, 5, 4, 3, 2, 1]
    assert await states(bob, forgotten, 1, 7) == [COMMITTED] * 7
    assert await states(alice, forgotten, 1, 7) == [NOT_FOR_YOU] * 7


async def test_what_the_ledger_has_forgotten_is_still_delivered_and_acknowledged(
    bob: Caller, forgotten: str, connect: Connect
) -> None:
    async with connect(bob.device) as phone:
        envelopes = await phone.envelopes(7)
        await phone.ack(*envelopes)
    await (await runtime.running()).acks.drain()
    async with connect(bob.device) as phone:
        await phone.expect("queue_empty")
        await phone.nothing("envelope")


async def test_senders_hear_that_what_the_ledger_has_forgotten_was_read(
    alice: Caller, bob: Caller, forgotten: str, connect: Connect
) -> None:
    fourth = next(item for item in (await bob.history(forgotten))["items"] if item["seq"] == 4)
    async with connect(alice.device) as told, connect(bob.device) as phone:
        await phone.say({"type": "read", "conversation_id": forgotten, "seq": 4})
        receipt = await told.expect("receipt")
        assert (receipt["seq"], receipt["message_id"]) == (4, fourth["message_id"])
        await phone.say({"type": "read", "conversation_id": forgotten, "seq": 7})
        assert (await told.expect("receipt"))["seq"] == 7
        await told.nothing("receipt")
    assert (await bob.get(f"conversations/{forgotten}")).body["unread_count"] == 0


async def test_a_read_mark_moves_also_while_the_store_that_knows_the_message_is_down(
    bob: Caller, forgotten: str, connect: Connect
) -> None:
    async with connect(bob.device) as phone:
        async with store_down():
            await phone.say({"type": "read", "conversation_id": forgotten, "seq": 4})
            async with asyncio.timeout(10):
                while (await bob.get(f"conversations/{forgotten}")).body["last_read_seq"] != 4:  # noqa: ASYNC110  (nothing tells)
                    await asyncio.sleep(0.05)
        await phone.nothing("error")
    assert (await bob.get(f"conversations/{forgotten}")).body["unread_count"] == 3


@pytest.fixture
def soon(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Name it before anybody who needs a server: a round each second."""
    settings.PRUNE_EVERY_SECONDS = 1
    monkeypatch.setattr(pruning, "LOOK_SECONDS", 0.1)


# --- rounds ----------------------------------------------------------------------------------------------------------------------------


@sync_to_async
def ordered() -> str:
    """What the command says."""
    said = StringIO()
    call_command("prune", stdout=said)
    return said.getvalue()


async def test_the_command_prunes_everything_and_says_what(bob: Caller, seven: str) -> None:
    await age(seven, range(1, 6), days=16)
    await Session.objects.acreate(session_key="old", session_data="", expire_date=timezone.now() - timedelta(days=1))
    await Session.objects.acreate(session_key="new", session_data="", expire_date=timezone.now() + timedelta(days=1))
    await CodeDay.objects.acreate(day=timezone.now().date() - timedelta(days=402), country="TH", sent=9)
    await KnownPlace.objects.acreate(number_hash=b"n", place_hash=b"p", seen_at=timezone.now() - timedelta(days=181))
    lines = dict(line.split(maxsplit=1)[::-1] for line in (await ordered()).splitlines())
    assert lines == {
        "ledger": "5",
        "tallies": "0",
        "token pairs": "0",
        "links": "0",
        "tombstones": "0",
        "web sessions": "1",
        "security events": "0",
        "days of codes": "1",
        "known places": "1",
        "mailboxes of unlinked devices": "0",
        "rows of the message store": "0",
    }
    assert await LedgerRow.objects.acount() == 2
    assert await CodeDay.objects.aexists()
    assert await KnownPlace.objects.aexists()


async def test_the_command_fails_while_another_process_is_at_it(hot_road: None) -> None:
    assert await leases.claim(pruning.LEASE)
    with pytest.raises(CommandError, match="Another process"):
        await ordered()


async def test_nothing_is_removed_by_clocks_that_disagree(
    bob: Caller, seven: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await age(seven, range(1, 6), days=16)
    month_ahead = time.time_ns() + 30 * 24 * 3600 * 10**9
    monkeypatch.setattr(time, "time_ns", lambda: month_ahead)
    with pytest.raises(CommandError, match="an hour apart"):
        await ordered()
    assert await LedgerRow.objects.acount() == 7


async def test_web_processes_prune_by_themselves(soon: None, bob: Caller, seven: str) -> None:
    await age(seven, range(1, 6), days=16)
    async with asyncio.timeout(10):
        while await LedgerRow.objects.acount() > 2:  # noqa: ASYNC110  (nothing tells)
            await asyncio.sleep(0.05)


async def test_switched_off_they_do_not(settings: Any, hot_road: None) -> None:
    settings.PRUNE_EVERY_SECONDS = 0
    await pruning.prune_for_ever(MemoryStore())
    assert not await Lease.objects.aexists()
