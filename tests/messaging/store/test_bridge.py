"""The bridge between a driver's threads and the loop, on a session that answers when it is told to."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
from cassandra import InvalidRequest, OperationTimedOut, Unavailable
from cassandra.cluster import NoHostAvailable
from cassandra.protocol import OverloadedErrorMessage

from messaging.store.bridge import AnotherAnswer, Answer, Bridge
from messaging.store.keyspace import is_heard
from messaging.store.protocol import StoreUnavailable


class Response:
    """What `execute_async` returns; `answer` and `fail` call back on a thread of their own, as the driver does."""

    def __init__(self) -> None:
        self._paging_state: bytes | None = None

    def add_callbacks(self, callback: Callable[[Any], None], errback: Callable[[Exception], None]) -> None:
        self._callback, self._errback = callback, errback

    def answer(self, rows: list[tuple[Any, ...]] | None = None, next_page: bytes | None = None) -> None:
        self._paging_state = next_page
        _elsewhere(self._callback, rows)

    def fail(self, failure: Exception) -> None:
        _elsewhere(self._errback, failure)


def _elsewhere(call: Callable[[Any], None], value: Any) -> None:
    thread = threading.Thread(target=call, args=(value,))
    thread.start()
    thread.join()


class Session:
    """Remembers what was asked."""

    def __init__(self) -> None:
        self.asked: list[Response] = []
        self.broken = False

    def execute_async(self, statement: object, execution_profile: str, paging_state: bytes | None) -> Response:
        del statement, execution_profile, paging_state
        if self.broken:
            message = "no such attribute"
            raise AttributeError(message)
        self.asked.append(Response())
        return self.asked[-1]


@pytest.fixture
def session() -> Session:
    return Session()


async def _turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_rows_and_the_next_page_come_back(session: Session) -> None:
    question = asyncio.create_task(Bridge(session).ask("SELECT", profile="reads"))
    await _turns()
    session.asked[0].answer([(1,)], b"more")
    assert await question == Answer([(1,)], b"more")


async def test_whatever_the_driver_raises_is_unavailable_and_says_no_more_than_its_name(session: Session) -> None:
    bridge = Bridge(session)
    question = asyncio.create_task(bridge.ask("SELECT", profile="reads"))
    await _turns()
    session.asked[0].fail(ValueError("topsecret"))
    with pytest.raises(StoreUnavailable, match=r"Cassandra: ValueError$"):
        await question
    session.broken = True
    with pytest.raises(StoreUnavailable, match="AttributeError"):
        await bridge.ask("SELECT", profile="reads")


async def test_a_caller_that_gives_up_frees_no_permit_before_the_driver_has_done(session: Session) -> None:
    bridge = Bridge(session, most_in_flight=1)
    given_up = asyncio.create_task(bridge.ask("SELECT", profile="reads"))
    await _turns()
    given_up.cancel()
    waiting = asyncio.create_task(bridge.ask("SELECT", profile="reads"))
    await _turns()
    assert len(session.asked) == 1
    session.asked[0].answer([])
    await _turns()
    assert len(session.asked) == 2
    session.asked[1].answer([(2,)])
    assert (await waiting).rows == [(2,)]


async def test_a_driver_that_calls_back_twice_frees_one_permit(session: Session) -> None:
    """As it does for a question that was asked of two nodes, when both answer."""
    bridge = Bridge(session, most_in_flight=1)
    first = asyncio.create_task(bridge.ask("SELECT", profile="reads"))
    await _turns()
    session.asked[0].answer([(1,)])
    assert (await first).rows == [(1,)]
    session.asked[0].answer([(1,)])
    session.asked[0].fail(TimeoutError())
    others = [asyncio.create_task(bridge.ask("SELECT", profile="reads")) for _ in range(3)]
    await _turns()
    assert len(session.asked) == 2
    for other in others:
        other.cancel()


async def test_requests_in_flight_are_bounded_and_all_are_answered(session: Session) -> None:
    bridge = Bridge(session, most_in_flight=8)
    questions = [asyncio.create_task(bridge.ask(number, profile="reads")) for number in range(100)]
    answered = 0
    while answered < 100:
        await _turns()
        assert len(session.asked) - answered <= 8
        session.asked[answered].answer([(answered,)])
        answered += 1
    assert [answer.rows for answer in await asyncio.gather(*questions)] == [[(number,)] for number in range(100)]


async def test_too_many_that_wait_are_refused_at_once(session: Session) -> None:
    bridge = Bridge(session, most_in_flight=1, most_waiting=2)
    accepted = [asyncio.create_task(bridge.ask("SELECT", profile="reads")) for _ in range(3)]
    await _turns()
    with pytest.raises(StoreUnavailable, match="too many"):
        await bridge.ask("SELECT", profile="reads")
    for one in accepted:
        one.cancel()


async def test_of_many_writes_one_failure_is_the_failure_of_all(session: Session) -> None:
    writes = asyncio.create_task(Bridge(session).tell(range(5), profile="writes"))
    await _turns()
    for response in session.asked[:4]:
        response.answer(None)
    await _turns()
    assert not writes.done()
    session.asked[4].fail(TimeoutError())
    with pytest.raises(StoreUnavailable, match="TimeoutError"):
        await writes


async def test_rows_are_no_answer_to_a_write(session: Session) -> None:
    """What they answer is something else: that the write was done nobody has said."""
    writes = asyncio.create_task(Bridge(session).tell(range(2), profile="writes"))
    await _turns()
    session.asked[0].answer(None)
    session.asked[1].answer([])
    with pytest.raises(AnotherAnswer):
        await writes


async def test_many_answers_wake_the_loop_once(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    loop, wakes = asyncio.get_running_loop(), 0
    call_soon_threadsafe = loop.call_soon_threadsafe

    def counted(*args: Any, **kwargs: Any) -> asyncio.Handle:
        nonlocal wakes
        wakes += 1
        return call_soon_threadsafe(*args, **kwargs)

    writes = asyncio.create_task(Bridge(session).tell(range(50), profile="writes"))
    await _turns()
    monkeypatch.setattr(loop, "call_soon_threadsafe", counted)
    for response in session.asked:
        response.answer(None)
    await writes
    assert wakes == 1


async def test_it_is_silent_from_an_unanswered_question_to_the_next_answer_or_complaint(session: Session) -> None:
    bridge = Bridge(session, is_heard=is_heard)
    assert bridge.silence == 0
    for failure in (Unavailable("one replica of three"), OperationTimedOut()):
        question = asyncio.create_task(bridge.ask("SELECT", profile="reads"))
        await _turns()
        await asyncio.sleep(0.01)
        assert bridge.silence > 0
        session.asked[-1].fail(failure)
        with pytest.raises(StoreUnavailable):
            await question
        assert (bridge.silence == 0) == isinstance(failure, Unavailable)
    question = asyncio.create_task(bridge.ask("SELECT", profile="reads"))
    await _turns()
    session.asked[-1].answer([])
    await question
    assert bridge.silence == 0


@pytest.mark.parametrize(
    ("failure", "heard"),
    [
        (Unavailable("one replica of three"), True),
        (InvalidRequest("no such table"), True),
        (OverloadedErrorMessage(0x1001, "", None), True),
        (NoHostAvailable("none is left", {"a": OperationTimedOut(), "b": Unavailable("one of three")}), True),
        (NoHostAvailable("none is left", {"a": OperationTimedOut()}), False),
        (NoHostAvailable("all are down", {}), False),
        (OperationTimedOut(), False),
        (AttributeError("a lost connection"), False),
    ],
)
def test_what_a_node_says_is_heard_whatever_it_says(failure: Exception, *, heard: bool) -> None:
    assert is_heard(failure) == heard
