"""What a process believes of its stores, and how it finds out: one missed answer is no outage."""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator

import pytest

from messaging import probing
from messaging.condition import MESSAGES, POSTGRESQL, REDIS, Condition
from messaging.probing import Prober
from tests.waiting import until


class Watcher:
    """A condition, and what was away after each change of it."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, ...]] = []
        self.condition = Condition(lambda: self.seen.append(self.condition.away))


@pytest.fixture
def watcher() -> Watcher:
    return Watcher()


def test_nothing_is_away_before_anybody_asked(watcher: Watcher) -> None:
    assert watcher.condition.away == ()
    assert watcher.condition.latency_ms(REDIS) is None


def test_the_first_answer_or_its_absence_is_believed(watcher: Watcher) -> None:
    watcher.condition.answered(POSTGRESQL, latency_ms=1.5)
    watcher.condition.missed(REDIS)
    assert watcher.seen == [(REDIS,)]
    assert watcher.condition.latency_ms(POSTGRESQL) == 1.5
    assert watcher.condition.latency_ms(REDIS) is None


def test_it_takes_two_surprises_in_a_row_either_way(watcher: Watcher) -> None:
    condition = watcher.condition
    for _ in range(3):
        condition.answered(MESSAGES, latency_ms=1)
        condition.missed(MESSAGES)
    assert condition.is_doubtful(MESSAGES)
    condition.missed(MESSAGES)
    assert watcher.seen == [(MESSAGES,)]
    for _ in range(3):
        condition.missed(MESSAGES)
        condition.answered(MESSAGES, latency_ms=1)
    assert watcher.seen == [(MESSAGES,)]
    condition.answered(MESSAGES, latency_ms=1)
    assert watcher.seen == [(MESSAGES,), ()]


def test_several_are_named_in_one_order_and_each_change_is_logged_once(
    watcher: Watcher, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        for store in (POSTGRESQL, REDIS):
            for _ in range(5):
                watcher.condition.missed(store)
    assert watcher.condition.away == (REDIS, POSTGRESQL)
    assert [record.getMessage() for record in caplog.records] == ["PostgreSQL is away", "Redis is away"]


class Mood:
    """A store's probe: answers, refuses, or says nothing."""

    def __init__(self) -> None:
        self.answer = "well"
        self.asked = 0

    async def __call__(self) -> None:
        self.asked += 1
        if self.answer == "refuses":
            raise ConnectionRefusedError
        if self.answer == "stands still":
            await asyncio.sleep(60)


@pytest.fixture
def mood() -> Mood:
    return Mood()


@pytest.fixture
async def prober(watcher: Watcher, mood: Mood, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Prober]:
    for name, seconds in {"ANSWER": 0.2, "CALM": 0.3, "DOUBTFUL": 0.02, "LATE": 0.3}.items():
        monkeypatch.setattr(probing, f"{name}_SECONDS", seconds)
    prober = Prober(watcher.condition, {MESSAGES: mood})
    await prober.start()
    yield prober
    await prober.stop()


@pytest.mark.parametrize("fault", ["refuses", "stands still"])
async def test_a_store_that_goes_is_noticed_without_anybody_using_it_and_so_is_its_return(
    prober: Prober, watcher: Watcher, mood: Mood, fault: str
) -> None:
    assert mood.asked == 1
    mood.answer = fault
    await until(lambda: watcher.seen == [(MESSAGES,)])
    mood.answer = "well"
    await until(lambda: watcher.seen == [(MESSAGES,), ()])


async def test_whoever_got_no_answer_has_it_asked_at_once(
    prober: Prober, watcher: Watcher, mood: Mood, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probing, "CALM_SECONDS", 600)
    await asyncio.sleep(0.4)
    mood.answer = "refuses"
    prober.doubt(MESSAGES)
    await until(lambda: watcher.seen == [(MESSAGES,)])


async def test_a_probe_that_was_unlucky_does_not_count_while_others_get_answers(
    prober: Prober, watcher: Watcher, mood: Mood
) -> None:
    mood.answer = "stands still"
    asked = mood.asked
    while mood.asked < asked + 4:
        prober.heard(MESSAGES)
        await asyncio.sleep(0.01)
    assert watcher.seen == []


async def test_a_loop_that_was_held_up_says_nothing_of_the_store(
    prober: Prober, watcher: Watcher, mood: Mood, monkeypatch: pytest.MonkeyPatch
) -> None:
    mood.answer = "stands still"
    for _ in range(3):
        asked = mood.asked
        with contextlib.suppress(TimeoutError):
            await until(lambda asked=asked: mood.asked > asked)  # type: ignore[misc]
        time.sleep(0.6)  # noqa: ASYNC251  (this is what is tested)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert watcher.seen == []


async def test_a_probe_that_does_not_hear_that_it_is_over_is_told_again(watcher: Watcher) -> None:
    """A driver that is just leaving a call may take the cancellation for its own."""
    asked = 0

    async def hard_of_hearing() -> None:
        nonlocal asked
        asked += 1
        if asked == 2:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(3600)

    prober = Prober(watcher.condition, {MESSAGES: hard_of_hearing})
    await prober.start()
    prober.doubt(MESSAGES)
    await until(lambda: asked == 2)
    async with asyncio.timeout(10):
        await prober.stop()
