"""A socket's ear while what its device has asked for takes long."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast
from uuid import uuid4

import pytest

from messaging import hearing as ears
from messaging.frames import PingFrame
from messaging.hearing import Hearing
from messaging.pauses import end_all
from messaging.sessions import Session


class SlowStore:
    """Whatever is asked of it is done when somebody says so."""

    def __init__(self) -> None:
        self.done = asyncio.Event()
        self.at_work = 0

    async def do(self) -> None:
        self.at_work += 1
        await self.done.wait()
        self.at_work -= 1


@pytest.fixture
def said() -> list[Any]:
    return []


@pytest.fixture
async def ear(said: list[Any]) -> AsyncIterator[Hearing]:
    session = Session(uuid4(), 1, 1, 1, 0, 0)
    ear = Hearing(session, cast("Any", None), cast("Any", None), said.append)
    yield ear
    await end_all(ear.errands)


async def test_frames_are_heard_while_a_slow_store_is_asked_again_and_again(ear: Hearing, said: list[Any]) -> None:
    store = SlowStore()
    for _ in range(ears.MOST_ERRANDS):
        ear.errand(store.do, None)
    await asyncio.wait_for(ear.hear(PingFrame(ref="1")), 5)
    assert [frame.ref for frame in said] == ["1"]
    assert store.at_work == ears.ERRANDS_AT_ONCE
    store.done.set()
    await asyncio.wait(ear.errands)
    assert store.at_work == 0


async def test_who_asks_for_too_much_is_refused_and_what_comes_behind_is_heard(ear: Hearing, said: list[Any]) -> None:
    """A send behind it has five seconds."""
    store = SlowStore()
    for _ in range(ears.MOST_ERRANDS):
        ear.errand(store.do, None)
    ear.errand(store.do, "too much")
    await asyncio.wait_for(ear.hear(PingFrame(ref="behind it")), 5)
    [refusal, pong] = said
    assert (refusal["error_code"], refusal["ref"]) == ("RATE_LIMITED", "too much")
    assert pong.ref == "behind it"
    store.done.set()
    await asyncio.wait(ear.errands)
    ear.errand(store.do, None)
    await asyncio.wait(ear.errands)
    assert len(said) == 2
