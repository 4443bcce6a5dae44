"""The batcher alone, over a scripted log: who rides with whom, who waits, and in what order."""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from uuid import UUID, uuid4

import msgspec
import pytest

from accounts.ids import uuid7
from accounts.wire.refusals import MismatchedDevices, NotFound, RetryInOrder, StorageUnavailable
from conversations.sends import SKIPPED, Committed, Send, Sender, Sent
from messaging import group_commit
from messaging.group_commit import GroupCommit

ALICE = Sender(uuid4(), 1, 1)
BOB = Sender(uuid4(), 2, 1)
Script = Callable[[Send], object]


class ScriptedLog:
    """Commits batches like the log, but at the test's pace: `held` conversations are skipped, `refusals` are given."""

    def __init__(self) -> None:
        self.batches: list[list[Send]] = []
        self.waited: list[list[Send]] = []
        self.held: set[UUID] = set()
        self.behind: set[UUID] = set()
        self.refusals: dict[UUID, Exception] = {}
        self.gate = asyncio.Event()
        self.gate.set()
        self.seqs: dict[UUID, int] = {}

    async def append(self, sends: Sequence[Send], *, waiting: bool = False) -> Committed:
        await self.gate.wait()
        (self.waited if waiting else self.batches).append(list(sends))
        while waiting and sends[0].conversation_id in self.held:  # noqa: ASYNC110  (tests change the set)
            await asyncio.sleep(0.001)
        behind = frozenset(self.behind & {send.conversation_id for send in sends})
        return Committed(tuple(self._outcome(send) for send in sends), behind=behind)

    def _outcome(self, send: Send) -> Sent | Exception | type(SKIPPED):  # type: ignore[valid-type]
        if send.conversation_id in self.held | self.behind:
            return SKIPPED
        if send.client_message_id in self.refusals:
            return self.refusals[send.client_message_id]
        seq = self.seqs[send.conversation_id] = self.seqs.get(send.conversation_id, 0) + 1
        return Sent(message_id=seq, seq=seq, sent_ms=0)


def a_send(conversation_id: UUID, sender: Sender = ALICE, client_message_id: UUID | None = None) -> Send:
    return Send(
        conversation_id=conversation_id,
        sender=sender,
        client_message_id=client_message_id or uuid7(),
        kind="message",
        messages=(),
    )


@pytest.fixture
def log() -> ScriptedLog:
    return ScriptedLog()


@pytest.fixture
def commits(log: ScriptedLog) -> GroupCommit:
    return GroupCommit(log.append, lambda entries: None)


async def test_sends_that_arrive_during_a_commit_ride_together_in_the_next_one(
    log: ScriptedLog, commits: GroupCommit
) -> None:
    log.gate.clear()
    first = commits.submit(a_send(uuid4()))
    await asyncio.sleep(0)
    others = [commits.submit(a_send(uuid4())) for _ in range(20)]
    log.gate.set()
    await asyncio.gather(first, *others)
    assert [len(batch) for batch in log.batches] == [1, 20]


async def test_a_batch_ends_at_a_hundred_sends(log: ScriptedLog, commits: GroupCommit) -> None:
    answers = [commits.submit(a_send(uuid4())) for _ in range(250)]
    await asyncio.gather(*answers)
    assert max(len(batch) for batch in log.batches) == group_commit.LARGEST_BATCH
    assert sum(len(batch) for batch in log.batches) == 250


async def test_a_held_conversation_keeps_its_order_and_stops_nobody(log: ScriptedLog, commits: GroupCommit) -> None:
    held, free = uuid4(), uuid4()
    log.held.add(held)
    waiting = [commits.submit(a_send(held)) for _ in range(5)]
    free_outcomes = await asyncio.gather(*(commits.submit(a_send(free)) for _ in range(50)))
    assert [outcome.seq for outcome in free_outcomes if isinstance(outcome, Sent)] == list(range(1, 51))
    assert not any(answer.done() for answer in waiting)
    log.held.clear()
    outcomes = await asyncio.gather(*waiting)
    assert [outcome.seq for outcome in outcomes if isinstance(outcome, Sent)] == [1, 2, 3, 4, 5]


async def test_a_conversation_held_for_long_gets_one_waiting_transaction_and_no_rival(
    log: ScriptedLog, commits: GroupCommit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_commit, "PATIENCE_SECONDS", 0.02)
    held = uuid4()
    log.held.add(held)
    early = [commits.submit(a_send(held)) for _ in range(3)]
    while not log.waited:  # noqa: ASYNC110
        await asyncio.sleep(0.001)
    tried = len(log.batches)
    late = [commits.submit(a_send(held)) for _ in range(3)]
    await asyncio.sleep(0.05)
    assert len(log.batches) == tried, "the batcher touched a conversation that a waiting transaction was at work on"
    log.held.clear()
    outcomes = await asyncio.gather(*early, *late)
    assert [outcome.seq for outcome in outcomes if isinstance(outcome, Sent)] == [1, 2, 3, 4, 5, 6]
    assert len(log.waited) == 1


async def test_what_is_queued_behind_a_send_to_be_repeated_is_to_be_retried_in_order(
    log: ScriptedLog, commits: GroupCommit
) -> None:
    conversation = uuid4()
    log.held.add(conversation)
    first, second = a_send(conversation), a_send(conversation)
    bobs = a_send(conversation, BOB)
    log.refusals[first.client_message_id] = MismatchedDevices(missing=[], extra=[])
    answers = [commits.submit(send) for send in (first, second, bobs)]
    await asyncio.sleep(0.02)
    # A held conversation is asked after with one send, so `second` is queued when `first` fails.
    log.held.clear()
    outcomes = await asyncio.gather(*answers)
    assert isinstance(outcomes[0], MismatchedDevices)
    assert isinstance(outcomes[1], RetryInOrder)
    assert isinstance(outcomes[2], Sent)


async def test_of_a_conversation_that_waits_for_its_turn_to_catch_up_one_transaction_runs_at_a_time(
    log: ScriptedLog, commits: GroupCommit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A transaction that waited for the row finds the conversation behind, and those that may catch up are others."""
    monkeypatch.setattr(group_commit, "PATIENCE_SECONDS", 0.02)
    monkeypatch.setattr(group_commit, "MOST_CATCHING_UP", 0)
    monkeypatch.setattr(group_commit, "MOST_WAITING", 4)
    running, append = Counter[UUID](), log.append

    async def slowly(sends: Sequence[Send], *, waiting: bool = False) -> Committed:
        there = {send.conversation_id: 1 for send in sends}
        running.update(there)
        assert running[conversation] <= 1, "two of them put back what they took in the wrong order"
        await asyncio.sleep(0.01)
        committed = await append(sends, waiting=waiting)
        running.subtract(there)
        return committed

    commits._append = slowly
    conversation = uuid4()
    log.behind.add(conversation)
    sends = [a_send(conversation) for _ in range(40)]
    answers = []
    for send in sends:
        answers.append(commits.submit(send))
        await asyncio.sleep(0.005)
    log.behind.clear()
    outcomes = await asyncio.gather(*answers)
    assert [outcome.seq for outcome in outcomes if isinstance(outcome, Sent)] == list(range(1, 41))


async def test_behind_a_final_refusal_the_next_send_goes_on(log: ScriptedLog, commits: GroupCommit) -> None:
    conversation = uuid4()
    log.held.add(conversation)
    first, second = a_send(conversation), a_send(conversation)
    log.refusals[first.client_message_id] = NotFound()
    answers = [commits.submit(send) for send in (first, second)]
    await asyncio.sleep(0.02)
    log.held.clear()
    outcomes = await asyncio.gather(*answers)
    assert isinstance(outcomes[0], NotFound)
    assert isinstance(outcomes[1], Sent)


async def test_the_same_send_queued_twice_is_committed_once_and_answers_both(
    log: ScriptedLog, commits: GroupCommit
) -> None:
    send = a_send(uuid4())
    one, two = commits.submit(send), commits.submit(send)
    assert await one == await two
    assert sum(len(batch) for batch in log.batches) == 1


async def test_a_send_that_waits_too_long_is_refused_and_so_are_those_behind_it(
    log: ScriptedLog, commits: GroupCommit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_commit, "QUEUE_SECONDS", 0.05)
    monkeypatch.setattr(group_commit, "ANSWER_SECONDS", 10)
    held = uuid4()
    log.held.add(held)
    first = commits.submit(a_send(held))
    await asyncio.sleep(0.04)
    second = commits.submit(a_send(held))
    assert isinstance(await first, StorageUnavailable)
    assert isinstance(await second, RetryInOrder)


async def test_nobody_waits_for_ever_for_a_commit_that_does_not_end(
    log: ScriptedLog, commits: GroupCommit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_commit, "ANSWER_SECONDS", 0.05)
    log.gate.clear()
    assert isinstance(await commits.submit(a_send(uuid4())), StorageUnavailable)
    log.gate.set()
    await commits.close()


async def test_a_fault_of_the_program_answers_everybody_and_the_queue_goes_on(
    commits: GroupCommit, log: ScriptedLog
) -> None:
    good = log.append

    async def broken(sends: Sequence[Send], *, waiting: bool = False) -> Committed:
        commits._append = good
        raise ZeroDivisionError

    commits._append = broken
    first = await commits.submit(a_send(uuid4()))
    assert isinstance(first, StorageUnavailable)
    assert isinstance(await commits.submit(a_send(uuid4())), Sent)


async def test_one_busy_conversation_does_not_starve_the_others(log: ScriptedLog, commits: GroupCommit) -> None:
    busy, calm = uuid4(), uuid4()
    flood = [commits.submit(a_send(busy)) for _ in range(1000)]
    await asyncio.gather(commits.submit(a_send(calm)), *flood)
    [batch] = [batch for batch in log.batches if any(send.conversation_id == calm for send in batch)]
    assert log.batches.index(batch) <= 1


async def test_a_chain_that_expires_whole_takes_nobody_else_out_of_the_queue(
    log: ScriptedLog, commits: GroupCommit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_commit, "QUEUE_SECONDS", 0.05)
    log.gate.clear()
    in_flight = commits.submit(a_send(uuid4()))
    await asyncio.sleep(0)
    held = uuid4()
    chain = [commits.submit(a_send(held)) for _ in range(2)]
    await asyncio.sleep(0.06)
    bystander = commits.submit(a_send(uuid4()))
    # The batch takes up the bystander first, then meets the chain: its head has waited too long, the rest is only behind it.
    commits._queues.move_to_end(held)
    log.gate.set()
    assert isinstance(await in_flight, Sent)
    assert isinstance(await asyncio.wait_for(bystander, 1), Sent)
    assert [type(await answer) for answer in chain] == [StorageUnavailable, RetryInOrder]


async def test_a_waiting_transaction_is_bounded_in_bytes_too(
    log: ScriptedLog, commits: GroupCommit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_commit, "PATIENCE_SECONDS", 0.02)
    held = uuid4()
    log.held.add(held)
    large = b"x" * (group_commit.LARGEST_BATCH_BYTES // 3)
    answers = [commits.submit(msgspec.structs.replace(a_send(held), shared=large)) for _ in range(7)]
    while not log.waited:  # noqa: ASYNC110
        await asyncio.sleep(0.001)
    log.held.clear()
    outcomes = await asyncio.gather(*answers)
    assert [outcome.seq for outcome in outcomes if isinstance(outcome, Sent)] == list(range(1, 8))
    assert {len(batch) <= 3 for batch in log.waited + log.batches} == {True}
