"""PostgreSQL in memory, as far as the service asks it: rows, row locks, transactions with ids, and statements by the service's own constants.

READ COMMITTED: each statement sees what is committed when it runs. A transaction's writes are kept until its COMMIT and then happen at once; the
service never reads what it has written in the same transaction. A statement that is not known here fails by name: who changes one of the
service's statements says here what it does now, and the contract beside this file holds both to it.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from psycopg import errors

from accounts.positions import XID_BITS
from tests.faults.simulation.tables import Tables
from tests.faults.simulation.time_of_its_own import SimulatedLoop

LOCK_SECONDS = 2.0
IDLE_SECONDS = 5.0
TIMELINE = 1

Write = Callable[[], None]


class Transaction:
    """What a session has begun and not ended."""

    def __init__(self) -> None:
        self.xid: int | None = None
        self.locks: list[Any] = []
        self.writes: list[Write] = []


class Server:
    """One PostgreSQL. `clock_ms` is its clock; `loop` the process it is."""

    def __init__(self, loop: SimulatedLoop, clock_ms: Callable[[], int]) -> None:
        self.loop = loop
        self.clock_ms = clock_ms
        self.tables = Tables()
        self.is_up = True
        self.run = 1
        # Off in a build that has dropped the constraint.
        self.sends_are_unique = True
        self.sessions: set[Session] = set()
        self._next_xid = 1000
        self._open: list[int] = []
        self._serial = 0
        self._connection = 0
        self._locks: dict[Any, Transaction] = {}
        self._queues: dict[Any, list[asyncio.Future[None]]] = {}
        # Called once, after the next commit that wrote something.
        self.after_commit: list[Write] = []

    # --- transaction ids -------------------------------------------------------------------------------------------------------

    def xid(self, transaction: Transaction) -> int:
        """The transaction's id, given at its first need of one."""
        if transaction.xid is None:
            transaction.xid = self._next_xid
            self._next_xid += 1
            self._open.append(transaction.xid)
        return transaction.xid

    def position(self, transaction: Transaction) -> int:
        return TIMELINE << XID_BITS | self.xid(transaction)

    def oldest_open(self) -> int:
        """No transaction that is still to commit has a position below this one."""
        return TIMELINE << XID_BITS | min([*self._open, self._next_xid])

    def serial(self) -> int:
        """nextval: never given back."""
        self._serial += 1
        return self._serial

    def connection_number(self) -> int:
        self._connection += 1
        return self._connection

    # --- row locks -------------------------------------------------------------------------------------------------------------

    def try_lock(self, transaction: Transaction, row: Any) -> bool:
        """FOR NO KEY UPDATE SKIP LOCKED: whether the row is the transaction's now."""
        holder = self._locks.setdefault(row, transaction)
        if holder is transaction and row not in transaction.locks:
            transaction.locks.append(row)
            self.xid(transaction)
        return holder is transaction

    async def lock(self, transaction: Transaction, row: Any) -> None:
        """FOR NO KEY UPDATE. Raises LockNotAvailable after lock_timeout."""
        try:
            async with asyncio.timeout(LOCK_SECONDS):
                while not self.try_lock(transaction, row):
                    turn: asyncio.Future[None] = self.loop.create_future()
                    self._queues.setdefault(row, []).append(turn)
                    await turn
        except TimeoutError:
            raise errors.LockNotAvailable from None

    def end(self, transaction: Transaction) -> None:
        """Let go of the transaction's locks and id."""
        if transaction.xid is not None:
            self._open.remove(transaction.xid)
        for row in transaction.locks:
            del self._locks[row]
            for turn in self._queues.pop(row, []):
                if not turn.done():
                    turn.set_result(None)
        transaction.locks.clear()

    def commit(self, transaction: Transaction) -> None:
        """All of its writes, now."""
        for write in transaction.writes:
            write()
        self.end(transaction)
        if transaction.writes and self.after_commit:
            waiting, self.after_commit = self.after_commit, []
            for begin in waiting:
                begin()

    # --- what may happen to it -------------------------------------------------------------------------------------------------

    def crash(self) -> None:
        """As an immediate stop: what is committed stays, everybody's connection is gone."""
        self.is_up = False
        for session in sorted(self.sessions, key=lambda session: session.number):
            session.break_off()

    def start(self) -> None:
        self.run += 1
        self.is_up = True

    @property
    def answers(self) -> bool:
        """Whether whoever calls gets through."""
        return self.is_up and not self.loop.is_stopped

    async def alone(self, locks: Sequence[Any], work: Callable[[], Any]) -> Any:
        """A short transaction of the synchronous road: lock these rows, do that, commit."""
        transaction = Transaction()
        try:
            for row in locks:
                await self.lock(transaction, row)
            self.xid(transaction)
            return work()
        finally:
            self.end(transaction)


Ask = tuple[str, Sequence[Any]]


class Session:
    """The server's side of one connection."""

    def __init__(self, server: Server, statements: "Statements") -> None:
        self.server = server
        self.number = server.serial()
        self.is_broken = False
        self._statements = statements
        self._transaction: Transaction | None = None
        self._task: asyncio.Task[None] | None = None
        self._idle: asyncio.TimerHandle | None = None
        self.when_broken: Write = lambda: None
        server.sessions.add(self)

    def serve(self, asked: Sequence[Ask], answer: Callable[[Any], None]) -> None:
        """Run statements as they came in one pipeline; `answer` gets their rows, or the error that ended it."""
        self._task = self.server.loop.create_task(self._serve(asked, answer))

    async def _serve(self, asked: Sequence[Ask], answer: Callable[[Any], None]) -> None:
        if self._idle is not None:
            self._idle.cancel()
        try:
            answer([await self._run(query, params) for query, params in asked])
        except errors.Error as failure:
            answer(failure)
        finally:
            self._task = None
            if self.is_broken:
                self._roll_back()
            elif self._transaction is not None:
                self._idle = self.server.loop.call_later(IDLE_SECONDS, self.break_off)

    async def _run(self, query: str, params: Sequence[Any]) -> list[Any]:
        match query:
            case "BEGIN":
                self._transaction = Transaction()
                return []
            case "COMMIT":
                self._commit()
                return []
            case "ROLLBACK":
                self._roll_back()
                return []
        return await self._statement(query, params)

    async def _statement(self, query: str, params: Sequence[Any]) -> list[Any]:
        transaction = self._transaction or Transaction()
        try:
            rows = await self._statements.run(self.server, transaction, query, params)
        except BaseException:
            if self._transaction is None:
                self.server.end(transaction)
            raise
        if self._transaction is None:
            self.server.commit(transaction)
        return rows

    def _commit(self) -> None:
        if self._transaction is not None:
            transaction, self._transaction = self._transaction, None
            self.server.commit(transaction)

    def _roll_back(self) -> None:
        if self._transaction is not None:
            transaction, self._transaction = self._transaction, None
            self.server.end(transaction)

    def hang_up(self) -> None:
        """The client is gone. What has arrived is still done, as a server does that notices only when it answers."""
        self.is_broken = True
        self.server.sessions.discard(self)
        if self._task is None:
            self._roll_back()

    def break_off(self) -> None:
        """The server ends the connection: a crash, or a transaction idle for too long."""
        self.hang_up()
        if self._task is not None:
            self._task.cancel()
        self.when_broken()


class Statements:
    """What each statement does, by its text."""

    def __init__(self, known: dict[str, Callable[..., Any]]) -> None:
        self._known = known

    async def run(self, server: Server, transaction: Transaction, query: str, params: Sequence[Any]) -> list[Any]:
        does = self._known.get(query)
        if does is None:
            raise AssertionError(f"the simulated PostgreSQL does not know this statement: {query}")
        found = does(server, transaction, *params)
        rows: list[Any] = await found if asyncio.iscoroutine(found) else found
        return rows
