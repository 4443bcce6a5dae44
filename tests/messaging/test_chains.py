"""What one device says keeps its order behind a failure, also what was on its way when the failure was told."""

import asyncio
from uuid import UUID, uuid4

import pytest

from accounts.ids import uuid7
from accounts.wire.refusals import InvalidRequest, MismatchedDevices, RateLimited, RetryInOrder, StorageUnavailable
from conversations.sends import Send, Sender, Sent
from messaging import chains
from messaging.chains import Chains
from messaging.group_commit import Outcome
from tests.cast import Installation
from tests.messaging.conftest import Connect
from tests.sockets import message

ALICE = Sender(uuid4(), 1, 1)
WITH_BOB, WITH_CAROL = uuid4(), uuid4()


def send(conversation_id: UUID = WITH_BOB) -> Send:
    return Send(conversation_id=conversation_id, sender=ALICE, client_message_id=uuid7(), kind="message", messages=())


class Socket:
    """Alice's socket: her sends go out, and are answered when the test says so."""

    def __init__(self) -> None:
        self.chains = Chains()
        self.answers: dict[UUID, asyncio.Future[Outcome]] = {}

    def say(self, said: Send, at_once: Outcome | None = None) -> bool:
        """Whether it went."""
        if not self.chains.may_go(said):
            return False
        answer: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        if at_once is not None:
            answer.set_result(at_once)
        self.answers[said.client_message_id] = answer
        self.chains.went(said, answer)
        return True

    def answer(self, said: Send, outcome: Outcome) -> None:
        self.answers[said.client_message_id].set_result(outcome)


@pytest.fixture
async def alice() -> Socket:
    return Socket()


async def test_what_comes_behind_a_failure_waits_until_it_is_repeated(alice: Socket) -> None:
    first, second = send(), send()
    assert alice.say(first)
    alice.answer(first, StorageUnavailable())
    assert not alice.say(second), "it was on its way when Alice heard of the failure"
    assert alice.say(first)
    assert alice.say(second)


async def test_a_failure_counts_from_the_moment_it_is_decided_not_from_when_it_is_told(alice: Socket) -> None:
    first = send()
    alice.say(first)
    alice.answer(first, MismatchedDevices())
    # Nobody has had a turn in between: whoever waits for the answer has not seen it yet.
    assert not alice.say(send())


async def test_of_two_failures_the_first_has_to_come_first(alice: Socket) -> None:
    first, second = send(), send()
    alice.say(first)
    alice.say(second, at_once=RateLimited(retry_after=1))
    alice.answer(first, StorageUnavailable())
    assert not alice.say(second)
    assert alice.say(first)
    assert alice.say(second)


async def test_what_is_refused_for_good_lets_the_next_pass(alice: Socket) -> None:
    first = send()
    alice.say(first)
    alice.answer(first, InvalidRequest())
    assert alice.say(send())


async def test_a_device_that_gives_the_failed_one_up_repeats_the_next(alice: Socket) -> None:
    first, second, third = send(), send(), send()
    alice.say(first)
    alice.answer(first, StorageUnavailable())
    assert not alice.say(second)
    assert not alice.say(third)
    assert alice.say(second), "Alice has heard RETRY_IN_ORDER, and before that of the failure"
    assert alice.say(third)


async def test_an_earlier_failure_that_is_decided_later_keeps_what_was_held_off_behind_it(alice: Socket) -> None:
    first, second, third = send(), send(), send()
    alice.say(first)
    alice.say(second, at_once=RateLimited(retry_after=1))
    assert not alice.say(third)
    alice.answer(first, StorageUnavailable())
    assert alice.say(first)
    assert alice.say(second)
    assert alice.say(third)


async def test_a_repetition_that_fails_as_well_is_still_in_front_of_what_came_behind_it(alice: Socket) -> None:
    """Alice is told that the first is late, and repeats it while the second is still queued. Then PostgreSQL refuses what was under way."""
    first, second, third = send(), send(), send()
    alice.say(first)
    alice.say(second)
    alice.answer(first, StorageUnavailable())
    assert alice.say(first)
    alice.answer(second, RetryInOrder())
    alice.answer(first, RetryInOrder())
    assert not alice.say(third)
    assert alice.say(first)
    assert alice.say(second)
    assert alice.say(third)


async def test_other_conversations_do_not_wait(alice: Socket) -> None:
    first = send(WITH_BOB)
    alice.say(first)
    alice.answer(first, StorageUnavailable())
    assert alice.say(send(WITH_CAROL))
    assert not alice.say(send(WITH_BOB))


async def test_what_succeeded_is_forgotten(alice: Socket) -> None:
    for _ in range(10):
        said = send()
        alice.say(said)
        alice.answer(said, Sent(1, 1, 1))
    assert alice.say(send())
    assert [len(under_way) for under_way in alice.chains._under_way.values()] == [1]


@pytest.mark.django_db(transaction=True, databases=["default", "messages"])
async def test_over_a_socket_the_second_message_does_not_overtake_the_first(
    connect: Connect, alice_phone: Installation, bob_phone: Installation, alice_and_bob: UUID
) -> None:
    first, second = message(alice_and_bob, [bob_phone]), message(alice_and_bob, [bob_phone])
    async with connect(alice_phone) as alice:
        assert (await alice.ask(first | {"messages": []}))["error_code"] == "MISMATCHED_DEVICES"
        assert (await alice.ask(second))["error_code"] == "RETRY_IN_ORDER"
        assert (await alice.ask(first))["seq"] == 1
        assert (await alice.ask(second))["seq"] == 2
        assert (await alice.ask(message(alice_and_bob, [bob_phone]) | {"messages": []}))["type"] == "error"
    async with connect(alice_phone) as alice:
        assert (await alice.ask(message(alice_and_bob, [bob_phone])))["seq"] == 3, "a new socket begins anew"


async def test_in_more_conversations_than_anybody_has_nothing_waits_to_be_repeated(
    alice: Socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each refused send is remembered, and a client may make up conversations as it likes."""
    monkeypatch.setattr(chains, "MOST_FAILED", 3)
    refused = [send(uuid4()) for _ in range(10)]
    assert [alice.say(one, RateLimited()) for one in refused] == [True] * 3 + [False] * 7
    assert len(alice.chains._failed) == 3
    assert alice.say(refused[0])
    assert alice.say(send(uuid4()))
