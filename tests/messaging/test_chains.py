"""Alice pipelines: her phone does not wait for answers, and the server itself refuses what it has on the wire."""

import asyncio
from collections.abc import Callable
from uuid import UUID, uuid4

import pytest

from accounts.ids import uuid7
from accounts.wire.refusals import (
    ChatError,
    MismatchedDevices,
    NotFound,
    RateLimited,
    StaleDevices,
    StorageUnavailable,
)
from conversations.sends import Addressed, Send, Sender, Sent
from messaging import chains
from messaging.chains import BrokenChains
from messaging.group_commit import GroupCommit
from messaging.sending import Sending
from tests.messaging.test_group_commit import ALICE, BOB, ScriptedLog

LARGEST = 256 * 1024


@pytest.fixture
def log() -> ScriptedLog:
    return ScriptedLog()


@pytest.fixture
def sending(log: ScriptedLog, unlimited: None) -> Sending:
    return Sending(GroupCommit(log.append, lambda entries: None))


@pytest.fixture
def talk(sending: Sending) -> "Talk":
    return Talk(sending)


class Talk:
    """Messages of one conversation, by number; sending one again is sending the same bytes."""

    def __init__(self, sending: Sending) -> None:
        self.sending = sending
        self.id = uuid4()
        self.messages: dict[tuple[Sender, int], Send] = {}

    def message(self, number: int, sender: Sender = ALICE) -> Send:
        return self.messages.setdefault(
            (sender, number),
            Send(
                conversation_id=self.id,
                sender=sender,
                client_message_id=uuid7(),
                kind="message",
                messages=(Addressed(9, 1, b"x"),),
            ),
        )

    async def send(self, number: int, sender: Sender = ALICE) -> str:
        """The seq, or the code of the refusal."""
        outcome = await self.sending.begin(self.message(number, sender), largest=LARGEST)
        return str(outcome.seq) if isinstance(outcome, Sent) else str(getattr(outcome, "code", outcome))

    async def send_over_http(self, number: int) -> str:
        try:
            return str((await self.sending.send_message(self.message(number), largest=LARGEST)).seq)
        except ChatError as refusal:
            return refusal.code


Refusal = Callable[[], Exception]


@pytest.mark.parametrize(
    "refusal",
    [
        lambda: MismatchedDevices(missing=[], extra=[]),
        lambda: StaleDevices(stale=[]),
        StorageUnavailable,
    ],
)
async def test_what_was_on_the_wire_does_not_overtake_what_was_refused(
    talk: Talk, log: ScriptedLog, refusal: Refusal
) -> None:
    log.refusals[talk.message(1).client_message_id] = refusal()
    assert await talk.send(1) == refusal().code  # type: ignore[attr-defined]
    assert [await talk.send(number) for number in (2, 3)] == ["RETRY_IN_ORDER"] * 2
    log.refusals.clear()
    assert [await talk.send(number) for number in (1, 2, 3, 4)] == ["1", "2", "3", "4"]


async def test_what_is_sent_anew_waits_until_all_that_was_refused_has_come_again(talk: Talk, log: ScriptedLog) -> None:
    log.refusals[talk.message(1).client_message_id] = MismatchedDevices(missing=[], extra=[])
    await talk.send(1)
    assert [await talk.send(number) for number in (2, 3)] == ["RETRY_IN_ORDER"] * 2
    log.refusals.clear()
    assert await talk.send(1) == "1"
    assert [await talk.send(number) for number in (4, 3)] == ["RETRY_IN_ORDER"] * 2
    assert [await talk.send(number) for number in (2, 3, 4)] == ["2", "3", "4"]


async def test_a_chain_that_is_refused_again_keeps_its_order(talk: Talk, log: ScriptedLog) -> None:
    log.refusals[talk.message(1).client_message_id] = StorageUnavailable()
    await talk.send(1)
    await talk.send(2)
    await talk.send(3)
    log.gate.clear()
    first = asyncio.ensure_future(talk.send(1))
    await asyncio.sleep(0.01)
    second = asyncio.ensure_future(talk.send(2))
    await asyncio.sleep(0.01)
    log.gate.set()
    assert [await first, await second] == ["STORAGE_UNAVAILABLE", "RETRY_IN_ORDER"]
    log.refusals.clear()
    assert [await talk.send(number) for number in (3, 2)] == ["RETRY_IN_ORDER"] * 2
    assert [await talk.send(number) for number in (1, 2, 3)] == ["1", "2", "3"]


async def test_a_message_that_is_given_up_stops_the_others_for_a_moment_only(
    talk: Talk, log: ScriptedLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chains, "EXPECTED_SECONDS", 0.2)
    log.refusals[talk.message(1).client_message_id] = MismatchedDevices(missing=[], extra=[])
    await talk.send(1)
    assert await talk.send(2) == "RETRY_IN_ORDER"
    await asyncio.sleep(0.3)
    assert await talk.send(2) == "1"


async def test_behind_a_final_refusal_and_in_other_chains_everything_goes_on(talk: Talk, log: ScriptedLog) -> None:
    log.refusals[talk.message(1).client_message_id] = NotFound()
    assert [await talk.send(number) for number in (1, 2)] == ["NOT_FOUND", "1"]
    log.refusals[talk.message(3).client_message_id] = StorageUnavailable()
    await talk.send(3)
    assert await talk.send(1, BOB) == "2"
    assert await Talk(talk.sending).send(1) == "1"


async def test_a_send_beyond_the_rate_is_not_overtaken(talk: Talk, log: ScriptedLog) -> None:
    limited = [RateLimited(retry_after=0.1), None]
    talk.sending._limit_refusal = lambda send: limited.pop(0) if limited else None  # type: ignore[method-assign]
    assert [await talk.send(number) for number in (1, 2)] == ["RATE_LIMITED", "RETRY_IN_ORDER"]
    assert [await talk.send(number) for number in (1, 2)] == ["1", "2"]


async def test_sends_over_http_neither_keep_an_order_nor_break_one(talk: Talk, log: ScriptedLog) -> None:
    log.refusals[talk.message(1).client_message_id] = MismatchedDevices(missing=[], extra=[])
    assert await talk.send_over_http(1) == "MISMATCHED_DEVICES"
    assert await talk.send(2) == "1"
    await talk.send(1)
    assert await talk.send(3) == "RETRY_IN_ORDER"
    assert await talk.send_over_http(4) == "2"
    log.refusals.clear()
    assert await talk.send_over_http(1) == "3", "it came again, another way"
    assert await talk.send(3) == "4"


async def test_sends_that_nobody_answered_in_time_are_expected_in_their_order(
    talk: Talk, log: ScriptedLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("messaging.group_commit.ANSWER_SECONDS", 0.05)
    log.gate.clear()
    answers = await asyncio.gather(*(talk.send(number) for number in (1, 2)))
    assert answers == ["STORAGE_UNAVAILABLE"] * 2
    assert await talk.send(3) == "RETRY_IN_ORDER"
    log.gate.set()


async def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chains, "MOST_CHAINS", 5)
    monkeypatch.setattr(chains, "MOST_EXPECTED", 3)
    broken = BrokenChains()
    first = uuid4(), 1
    for number in range(20):
        broken.broke(first if number == 0 else (uuid4(), 1), [UUID(int=number)])
    assert len(broken._expected) == 5
    assert not broken.refuses(first, uuid4())
    last = next(reversed(broken._expected))
    assert all(broken.refuses(last, uuid4()) for _ in range(10))
    assert len(broken._expected[last]) == 3


async def test_chains_nobody_comes_back_to_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chains, "EXPECTED_SECONDS", 0.02)
    broken = BrokenChains()
    for _ in range(10):
        broken.broke((uuid4(), 1), [uuid4()])
    await asyncio.sleep(0.03)
    broken.broke((uuid4(), 1), [uuid4()])
    assert len(broken._expected) == 1
