"""A device that keeps the client rules: connected whenever it can be, answers and acknowledges, and never loses track of what it has asked for."""

import asyncio
import contextlib
import itertools
import time
from collections.abc import Coroutine
from typing import Any, Literal

from waypost_client.backoff import pause, pause_after_close

from tests.faults.history import QueueEmpty, ReceiptHeard, SocketClosed, SocketOpened
from tests.faults.load.chain import Chain, Outgoing, Refusal
from tests.faults.load.clock import PhoneClock
from tests.faults.load.identity import Identity, SignedOut, refresh
from tests.faults.load.inbox import Inbox
from tests.faults.load.outgoing import Posting
from tests.faults.load.pages import Pages
from tests.faults.load.receiving import Receiving
from tests.faults.load.roster import Roster
from tests.faults.load.scene import Person, Scene
from tests.faults.load.session import JSON, MSGPACK, Frame, Session
from tests.faults.load.web import Answer, NoAnswer

READY_SECONDS = 8.0
STEADY_SECONDS = 3.0
LINGER_SECONDS = 100.0
ELSEWHERE, REVOKED, NOT_KEEPING_UP = 4409, 4401, 4408
Manner = Literal["good", "slow", "silent"]
_sockets = itertools.count(1)


class Device:
    """One installation of one person. `live` runs as long as it is signed in; `manner` says whether it behaves."""

    def __init__(self, scene: Scene, person: Person, me: Identity, *, skew: float = 0.0) -> None:
        self.scene = scene
        self.person = person
        self.me = me
        self.rng = scene.rng
        self.user_id, self.device_id = me.user_id, me.device_id
        self.clock = PhoneClock(scene.rng, skew)
        self.manner: Manner = "good"
        self.is_away = False
        self.is_retired = False
        # Its unlink is asked for: that its tokens end is no surprise, and no reason to sign in again.
        self.is_leaving = self.has_left = False
        self.was_connected = False
        self.session: Session | None = None
        self.roster = Roster(scene, self)
        self.inbox = Inbox(self.device_id, scene.record, self._shown)
        self.history = Pages(scene, self.device_id)
        self.posting = Posting(scene, self)
        self.receiving = Receiving(scene, self)
        self.chains: dict[str, Chain] = {}
        self.old_sessions: set[Session] = set()
        self._subprotocol = scene.rng.choice([JSON, MSGPACK])
        self._refreshing = asyncio.Lock()
        self._errands: set[asyncio.Task[None]] = set()
        self._leave = asyncio.Event()
        self._life: asyncio.Task[None] | None = None

    # --- being there -------------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        self._life = asyncio.create_task(self._live())

    async def stop(self) -> None:
        """End everything of it, at once."""
        tasks = [*self._errands, *([self._life] if self._life else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def retire(self) -> None:
        """It is not signed in any more. Its last socket is left open, to see that the server closes it."""
        self.is_retired = True
        self.lose("gone")
        self._leave.set()

    async def vanish(self) -> None:
        """It is gone from one moment to the next, with all it had; nothing it asked for is heard of any more."""
        self.is_retired = True
        for session in [*self.old_sessions, *([self.session] if self.session is not None else [])]:
            session.cut()
        await self.stop()
        for chain in self.chains.values():
            chain.abandon()

    def succeed(self, former: "Device") -> None:
        """This is what `former` was, installed again. It knows nothing but where to talk; its messages are counted on."""
        self.roster.talks = set(former.roster.talks)
        self.posting.count_on(former.posting)

    def come_back(self) -> None:
        """Leave the socket now, and come back with another."""
        self._leave.set()

    @property
    def is_connected(self) -> bool:
        return self.session is not None and self.session.is_usable

    async def _live(self) -> None:
        attempt, span = 0, self.scene.plan.connected
        while not self.is_retired:
            if self.is_away:
                await asyncio.sleep(0.2)
                continue
            began = time.monotonic()
            session = await self._open()
            if session is not None:
                await self._stay(session, self.rng.uniform(*span) if self.manner == "good" else LINGER_SECONDS)
                attempt = 0 if time.monotonic() - began > STEADY_SECONDS else attempt
                wait = await self._after(session, attempt)
            else:
                wait = pause(attempt)
            attempt += 1
            await asyncio.sleep(wait)

    async def _open(self) -> Session | None:
        """A socket that is ready, or None when there is none now."""
        session = Session(f"s{next(_sockets)}", self._subprotocol, self._heard, self._ended)
        self.scene.watch(session)
        try:
            token = await self.access_token()
            await session.open(self.scene.next_url(), token)
            async with asyncio.timeout(READY_SECONDS):
                while not session.is_ready and not session.ended.is_set():  # noqa: ASYNC110  (two events at once)
                    await asyncio.sleep(0.01)
        except (OSError, TimeoutError, NoAnswer):
            session.cut()
            return None
        except asyncio.CancelledError:
            session.cut()
            raise
        except SignedOut:
            await self.posting.sign_in_again()
            return None
        if not session.is_ready and (session.code == REVOKED or " 401" in session.reason):
            self.me.fresh_until = 0.0
        return session if session.is_ready else None

    async def _stay(self, session: Session, seconds: float) -> None:
        """Until the socket ends, or its time is over."""
        ended, leave = asyncio.create_task(session.ended.wait()), asyncio.create_task(self._leave.wait())
        try:
            await asyncio.wait({ended, leave}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ended.cancel()
            leave.cancel()
        self._leave.clear()
        if not session.ended.is_set():
            self._go_away_from(session)
        if self.session is session:
            self.session = None
        self.lose("gone")

    def _go_away_from(self, session: Session) -> None:
        """As clients leave: with a goodbye, cut off, half-open, or without closing it at all."""
        how = self.rng.choices(["close", "cut", "forget", "stay"], [35, 25, 20, 20])[0]
        if self.is_retired or (how == "stay" and not self.is_away):
            self._linger(session)
        elif how == "forget":
            session.forget()
            self._errand(self._cut_later(session, self.rng.uniform(5, 60)))
        else:
            session.hang_up(cut=how == "cut")

    def _linger(self, session: Session) -> None:
        """The server has to close it: a newer one is going to be there, or the device is unlinked."""
        self.old_sessions.add(session)
        self._errand(self._expect_end(session, "an unlinked device" if self.is_retired else "an older socket"))

    async def _expect_end(self, session: Session, what: str) -> None:
        try:
            async with asyncio.timeout(LINGER_SECONDS):
                await session.ended.wait()
        except TimeoutError:
            self.scene.figures.strange(
                f"the socket {session.name} of {what} was not closed within {LINGER_SECONDS:.0f} s"
            )
            session.hang_up(cut=True)

    async def _cut_later(self, session: Session, seconds: float) -> None:
        try:
            await asyncio.sleep(seconds)
        finally:
            session.cut()

    async def _after(self, session: Session, attempt: int) -> float:
        if session.code == NOT_KEEPING_UP:
            self.manner = "good"
        if session.code == REVOKED:
            self.me.fresh_until = 0.0
        if session.by_client or session.code == ELSEWHERE or not session.ended.is_set():
            return self.rng.uniform(0, 1.5)
        return pause_after_close(session.code, attempt, session.reason)

    def _ended(self, session: Session) -> None:
        self.old_sessions.discard(session)
        if not session.is_ready:
            return
        self.scene.record(
            SocketClosed(device=self.device_id, socket=session.name, code=session.code, by_client=session.by_client)
        )
        if not session.by_client:
            self.scene.figures.note_closed(session.code)

    # --- HTTP --------------------------------------------------------------------------------------------------------------------

    async def access_token(self) -> str:
        """A token that lives for two minutes more. Raises SignedOut, NoAnswer."""
        async with self._refreshing:
            if not self.has_token:
                await refresh(self.scene.web, self.me, self.scene.plan.patience)
            return self.me.access_token

    async def freshen(self) -> None:
        """Have a token that lives for a while, if there can be one now."""
        with contextlib.suppress(NoAnswer, SignedOut):
            await self.access_token()

    @property
    def has_token(self) -> bool:
        return time.monotonic() < self.me.fresh_until

    async def call(self, method: str, path: str, body: Refusal | None = None, **query: Any) -> Answer:
        """One attempt as this device. Raises NoAnswer."""
        try:
            token = await self.access_token()
        except SignedOut as failure:
            raise NoAnswer("signed out") from failure
        answer = await self.scene.web.call(method, path, body, token=token, **query)
        if answer.status == 401 and token == self.me.access_token:
            self.me.fresh_until = 0.0
        return answer

    # --- what comes --------------------------------------------------------------------------------------------------------------

    def _heard(self, session: Session, frame: Frame) -> None:
        match frame["type"]:
            case "envelope":
                self.receiving.take(session, frame)
            case "sent" | "error":
                self._answered(frame)
            case "ready":
                self._begin(session, frame)
            case "queue_empty":
                self.scene.record(QueueEmpty(device=self.device_id, socket=session.name))
                self.receiving.partings.caught_up()
                self.receiving.ask(at_once=True)
            case "receipt":
                self._note_receipt(session, frame)

    def _begin(self, session: Session, frame: Frame) -> None:
        self.clock.set(str(frame["server_time"]))
        self.receiving.partings.connected()
        if self.manner != "slow":
            # Who reads a byte a second does not hear that the server has closed the socket, and cannot tell how long it was open.
            self.scene.record(SocketOpened(device=self.device_id, socket=session.name))
        self.session, self.was_connected = session, True
        self.lose("gone")
        if self.manner == "slow":
            session.wire.read_slowly()
        for chain in self.chains.values():
            chain.pump(time.monotonic())

    def _answered(self, frame: Frame) -> None:
        call = str(frame.get("ref") or "")
        if not call:
            # An ack or a read was refused: they are said again by themselves, or need not be.
            self.scene.figures.note_error(str(frame.get("error_code")))
            return
        for chain in self.chains.values():
            if any(item.call == call for item in chain.waiting):
                chain.answered(call, frame, time.monotonic())
                return

    def _note_receipt(self, session: Session, frame: Frame) -> None:
        self.scene.figures.count("receipts")
        self.scene.record(
            ReceiptHeard(
                device=self.device_id,
                socket=session.name,
                what="read" if frame.get("read_at") else "delivered",
                conversation=str(frame["conversation_id"]),
                seq=int(frame["seq"]),
                message_id=str(frame["message_id"]),
                by_user=str(frame["user_id"]),
                by_device=str(frame.get("device_id") or ""),
            )
        )

    def _shown(self, conversation: str, seq: int, message_id: str) -> None:
        self.scene.figures.count("shown")
        self.history.note(conversation, seq, message_id)
        self.receiving.maybe_read(conversation, seq)

    # --- what it wants to say -------------------------------------------------------------------------------------------------------

    def chain(self, conversation: str) -> Chain:
        found = self.chains.get(conversation)
        if found is None:
            found = self.chains[conversation] = self.posting.new_chain(conversation)
        return found

    def post(self, conversation: str, outgoing: Outgoing) -> bool:
        return not self.is_retired and self.posting.post(conversation, outgoing)

    def correct(self, conversation: str, refusal: Refusal) -> None:
        self._errand(self._correct(conversation, refusal))

    async def _correct(self, conversation: str, refusal: Refusal) -> None:
        await self.roster.correct(conversation, refusal)
        self.chains[conversation].corrected(time.monotonic())

    def lose(self, code: str) -> None:
        """No answer comes any more to what is open."""
        for chain in self.chains.values():
            chain.lost(code)

    def tick(self, now: float) -> None:
        """What has to be done from time to time; called several times a second."""
        for chain in self.chains.values():
            if chain.waiting:
                chain.pump(now)
        self.receiving.tick(now)
        if self.session is not None and any(
            chain.overdue(now - self.scene.plan.patience) for chain in self.chains.values()
        ):
            self.scene.figures.count("timeouts")
            self.lose("timeout")
            self.session.hang_up(cut=True)

    def _errand(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._errands.add(task)
        task.add_done_callback(self._finished)

    def errand(self, work: Coroutine[Any, Any, None]) -> None:
        """Do this beside everything else, as long as the device lives."""
        self._errand(work)

    def _finished(self, task: "asyncio.Task[None]") -> None:
        self._errands.discard(task)
        if not task.cancelled() and (problem := task.exception()) is not None:
            self.scene.figures.strange(f"an errand of {self.device_id} failed: {problem!r}")
