"""From the Cassandra driver's threads to one asyncio loop.

The driver answers on its own thread. Here its answers are collected and handed to the loop together, one wake-up for many of them; and requests
in flight are bounded, because beyond its own bound the driver blocks the thread that asks, which is the loop's.
"""

import asyncio
import logging
import threading
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from messaging.store.protocol import StoreRefused, StoreUnavailable

logger = logging.getLogger(__name__)


class Answer(NamedTuple):
    """One page of rows, and where the next one begins (None: there is none). A write is answered without rows: None, which is not a page of none."""

    rows: list[tuple[Any, ...]] | None
    next_page: bytes | None


class AnotherAnswer(StoreUnavailable):
    """This is the answer to something else. Whether what was asked for was done nobody knows."""

    def __init__(self) -> None:
        super().__init__("an answer to something else")
        logger.error("The message store has answered something else than it was asked")


class ReadGivenUp(StoreUnavailable):
    """A node began to read, and failed. Its answer does not say why: mostly it has passed over too much that is expired, and less may be read."""


_Outcome = tuple["asyncio.Future[Answer]", Answer | None, Exception | None]


class Bridge:
    """Asks a driver's session on behalf of the loop it was made in."""

    def __init__(
        self,
        session: Any,
        *,
        refusals: tuple[type[Exception], ...] = (),
        given_up: tuple[type[Exception], ...] = (),
        is_heard: Callable[[Exception], bool] = lambda _: False,
        most_in_flight: int = 512,
        most_waiting: int = 4096,
    ) -> None:
        """`refusals`, `given_up`: what the driver raises where the server is well and the request is not, and where a read was given up.

        `is_heard`: whether a failure is an answer of a server.
        """
        self._session, self._loop = session, asyncio.get_running_loop()
        self._faults = {StoreRefused: refusals, ReadGivenUp: given_up}
        self._is_heard = is_heard
        self._permits, self._waiting, self._most_waiting = asyncio.Semaphore(most_in_flight), 0, most_waiting
        self._outcomes: list[_Outcome] = []
        # The driver may call back twice, where a question was asked of two nodes.
        self._begun: set[asyncio.Future[Answer]] = set()
        self._lock, self._woken = threading.Lock(), False
        self._unanswered_since: float | None = None

    @property
    def silence(self) -> float:
        """For how many seconds it has been asked without a single answer; a complaint of a server is one."""
        return 0.0 if self._unanswered_since is None else self._loop.time() - self._unanswered_since

    async def ask(self, statement: Any, *, profile: str, page: bytes | None = None) -> Answer:
        """The answer to one statement. Raises `StoreRefused`, `ReadGivenUp`, and `StoreUnavailable` for whatever else the driver raises."""
        await self._permit()
        return await self._begin(statement, profile, page)

    async def tell(self, statements: Iterable[Any], *, profile: str) -> None:
        """Return when all of these writes have succeeded. Raises `StoreUnavailable` as soon as one has not; the others go on.

        Rows are no answer to a write.
        """
        begun: list[asyncio.Future[Answer]] = []
        try:
            for statement in statements:
                await self._permit()
                begun.append(self._begin(statement, profile, None))
            answers = await asyncio.gather(*begun)
        finally:
            for future in begun:
                future.cancel()
        if any(answer.rows is not None for answer in answers):
            raise AnotherAnswer

    async def _permit(self) -> None:
        if not self._permits.locked():
            await self._permits.acquire()
            return
        if self._waiting >= self._most_waiting:
            message = "too many requests wait for the message store"
            raise StoreUnavailable(message)
        self._waiting += 1
        try:
            await self._permits.acquire()
        finally:
            self._waiting -= 1

    def _begin(self, statement: Any, profile: str, page: bytes | None) -> "asyncio.Future[Answer]":
        """Send the request; its permit comes back when the driver has done with it, however long its caller waits."""
        future = self._loop.create_future()
        if self._unanswered_since is None:
            self._unanswered_since = self._loop.time()
        try:
            response = self._session.execute_async(statement, execution_profile=profile, paging_state=page)
        except Exception as failure:  # noqa: BLE001  (the driver raises AttributeError, too, for a lost connection)
            self._permits.release()
            future.set_exception(self._fault(failure))
            return future
        self._begun.add(future)
        response.add_callbacks(
            # `_paging_state` is what ResultSet.paging_state returns; a ResultSet would read further pages by itself.
            lambda rows: self._collect((future, Answer(rows, response._paging_state), None)),  # noqa: SLF001
            lambda failure: self._collect((future, None, failure)),
        )
        return future

    def _collect(self, outcome: _Outcome) -> None:
        """On the driver's thread, or on the loop's when the request has failed at once."""
        with self._lock:
            self._outcomes.append(outcome)
            if self._woken:
                return
            self._woken = True
        try:
            self._loop.call_soon_threadsafe(self._deliver)
        except RuntimeError:
            return  # The loop is closed, and nobody waits any more.

    def _deliver(self) -> None:
        with self._lock:
            outcomes, self._outcomes, self._woken = self._outcomes, [], False
        for future, answer, failure in outcomes:
            if future not in self._begun:
                continue
            self._begun.remove(future)
            self._permits.release()
            if failure is None or self._is_heard(failure):
                self._unanswered_since = None
            if future.done():
                continue
            if answer is not None:
                future.set_result(answer)
            else:
                future.set_exception(self._fault(failure))

    def _fault(self, failure: Exception | None) -> StoreUnavailable:
        known = (kind for kind, causes in self._faults.items() if isinstance(failure, causes))
        kind: type[StoreUnavailable] = next(known, StoreUnavailable)
        # Never the driver's own text: it may quote values.
        fault = kind(f"Cassandra: {type(failure).__name__}")
        fault.__cause__ = failure
        return fault
