"""The client's side of the simulated PostgreSQL: as much of psycopg and its pool as the service uses, and the network between them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Self

import psycopg

from accounts.connections import NoConnection
from accounts.postgresql import CHECKOUT_SECONDS, POOL_SIZE
from tests.faults.simulation.network import Network
from tests.faults.simulation.postgresql import Ask, Server, Session
from tests.faults.simulation.statements import STATEMENTS

TRY_AGAIN_SECONDS = 0.25


class Answer:
    """A cursor: its rows are there once what asked for them has ended."""

    def __init__(self, connection: "Connection | None" = None) -> None:
        self.rows: list[Any] = []
        self._connection = connection

    async def execute(self, query: str, params: Sequence[Any] = (), **options: Any) -> Self:
        assert self._connection is not None
        self.rows = (await self._connection.execute(query, params, **options)).rows
        return self

    async def fetchall(self) -> list[Any]:
        return self.rows

    async def fetchone(self) -> Any:
        return self.rows[0] if self.rows else None


class Cursor(Answer):
    """A cursor that was asked for by name; inside a pipeline it is filled at its end."""

    async def execute(self, query: str, params: Sequence[Any] = (), **_: Any) -> Self:
        assert self._connection is not None
        await self._connection.ask(query, params, self)
        return self


class Connection:
    """One connection in autocommit mode. Statements of a pipeline travel together."""

    def __init__(self, server: Server, network: Network) -> None:
        self._session = Session(server, STATEMENTS)
        self._session.when_broken = self._lost
        self._server = server
        self._network = network
        self._loop = asyncio.get_running_loop()
        self._reply: asyncio.Future[Any] | None = None
        self._queued: list[tuple[Ask, Answer]] | None = None
        self.in_transaction = False
        self.until = float("inf")

    @property
    def is_broken(self) -> bool:
        return self._session.is_broken

    def cursor(self, *, binary: bool = False) -> Cursor:
        return Cursor(self)

    async def execute(self, query: str, params: Sequence[Any] = (), **_: Any) -> Answer:
        answer = Answer()
        await self.ask(query, params, answer)
        return answer

    async def ask(self, query: str, params: Sequence[Any], answer: Answer) -> None:
        if self._queued is not None:
            self._queued.append(((query, params), answer))
        else:
            await self._exchange([((query, params), answer)])

    @asynccontextmanager
    async def pipeline(self) -> AsyncIterator[None]:
        self._queued = []
        try:
            yield
            queued, self._queued = self._queued, None
            if queued:
                await self._exchange(queued)
        finally:
            self._queued = None

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        await self.execute("BEGIN")
        try:
            yield
        except BaseException:
            await self.roll_back()
            raise
        await self.execute("COMMIT")

    async def roll_back(self) -> None:
        """Leave no transaction behind; a connection that cannot say so is broken."""
        if self.in_transaction and not self.is_broken:
            await self.execute("ROLLBACK")

    async def _exchange(self, queued: list[tuple[Ask, Answer]]) -> None:
        if self.is_broken:
            raise psycopg.OperationalError("the connection is closed")
        self._reply = self._loop.create_future()
        asked = [ask for ask, _ in queued]
        self._note_transaction(asked)
        there, back = self._network.to_postgresql(), self._network.to_postgresql()
        if self._network.loses_request():
            self._loop.call_later(there, self.close)
        else:
            self._server.loop.call_later(there, self._arrive, asked, back)
        found = await self._answer_in_time(self._reply)
        for (_, answer), rows in zip(queued, found, strict=True):
            answer.rows = rows

    async def _answer_in_time(self, reply: "asyncio.Future[Any]") -> Any:
        """What is not answered at `until`, or waited for by nobody any more, costs the connection."""
        try:
            async with asyncio.timeout_at(self.until):
                return await reply
        except TimeoutError:
            self.close()
            raise psycopg.OperationalError("no answer in time") from None
        except asyncio.CancelledError:
            self.close()
            raise

    def _note_transaction(self, asked: Sequence[Ask]) -> None:
        for query, _ in asked:
            if query in ("BEGIN", "COMMIT", "ROLLBACK"):
                self.in_transaction = query == "BEGIN"

    def _arrive(self, asked: Sequence[Ask], back: float) -> None:
        if not self._session.is_broken:
            self._session.serve(asked, partial(self._answer_in, back))

    def _answer_in(self, seconds: float, result: Any) -> None:
        self._loop.call_later(seconds, self._answered, result)

    def _answered(self, result: Any) -> None:
        if self._reply is None or self._reply.done():
            return
        if self._network.loses_answer():
            self.close()
        elif isinstance(result, Exception):
            self._reply.set_exception(result)
        else:
            self._reply.set_result(result)

    def close(self) -> None:
        """Hang up; whoever waits for an answer does not get one."""
        if not self._session.is_broken:
            self._session.hang_up()
        self._lost_now()

    def _lost(self) -> None:
        self._loop.call_later(self._network.to_postgresql(), self._lost_now)

    def _lost_now(self) -> None:
        if self._reply is not None and not self._reply.done():
            self._reply.set_exception(psycopg.OperationalError("the server closed the connection unexpectedly"))


class Pool:
    """The running loop's connections, with the promises of `accounts.connections.Connections`."""

    def __init__(
        self,
        server: Server,
        network: Network,
        *,
        size: int = POOL_SIZE,
        checkout_seconds: float = CHECKOUT_SECONDS,
        admit: Callable[[Any], Awaitable[None]] | None = None,
    ) -> None:
        self._server = server
        self._network = network
        self._admit = admit
        self._idle: list[Connection] = []
        self._places = asyncio.Semaphore(size)
        self._checkout_seconds = checkout_seconds
        self.is_refusing = False
        self._all: list[Connection] = []
        self.answered_at = 0.0

    @asynccontextmanager
    async def one(self, *, until: float, fresh: bool = False) -> AsyncIterator[Connection]:
        """A connection of one's own, whose open transaction is rolled back at the end. Nothing is waited for after `until`."""
        if self.is_refusing:
            raise NoConnection
        try:
            async with asyncio.timeout(self._checkout_seconds):
                await self._places.acquire()
        except TimeoutError as late:
            raise NoConnection from late
        try:
            if fresh:
                await self.drop_idle()
            connection = self._last_used() or await self._connect(until)
            connection.until = until
            try:
                yield connection
            finally:
                await self._return(connection)
        finally:
            self._places.release()

    def _last_used(self) -> Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_broken:
                return connection
        return None

    async def _connect(self, until: float) -> Connection:
        """A stopped server does not answer the call; where there is none, it is refused."""
        await asyncio.sleep(2 * self._network.to_postgresql())
        if not self._server.is_up:
            raise psycopg.OperationalError("connection refused")
        async with asyncio.timeout_at(until):
            while self._server.loop.is_stopped:  # noqa: ASYNC110  (a stopped process has no event for it)
                await asyncio.sleep(TRY_AGAIN_SECONDS)
        connection = Connection(self._server, self._network)
        self._all = [known for known in self._all if not known.is_broken]
        self._all.append(connection)
        connection.until = until
        await self._admitted(connection)
        return connection

    async def _admitted(self, connection: Connection) -> None:
        if self._admit is not None:
            try:
                await self._admit(connection)
            except BaseException:
                connection.close()
                raise

    async def _return(self, connection: Connection) -> None:
        try:
            await connection.roll_back()
        except psycopg.Error:
            connection.close()
        if not connection.is_broken:
            self.answered_at = self._server.loop.time()
            self._idle.append(connection)

    async def drop_idle(self) -> None:
        """Close what is idle: the next caller connects."""
        while self._idle:
            self._idle.pop().close()

    async def close(self) -> None:
        """Close what there is."""
        self.hang_up()

    def hang_up(self) -> None:
        """The process is gone, and its connections with it."""
        for connection in self._all:
            connection.close()
