"""A client's life: its parts, who it is, what runs while it is open, and what is told."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Self

from .api import Api
from .clock import ServerClock
from .directory import Directory
from .errors import NotAnswered, NotRegistered, UnknownUser
from .events import Live
from .inbox import Inbox
from .keyring import Keyring
from .link import Link
from .listing import find_user, is_uuid
from .locks import FolderLock
from .outbox import Outbox, Outgoing
from .peers import Peers
from .sending import Sender
from .sessions import Sessions
from .state import State
from .values import Sent, User

LOOK_EVERY = 0.1
# Long enough for a `send` beside it to finish what it is just sending.
LET_GO_WITHIN = 2.0
MOST_LIVE = 1000


class Running:
    """What all subjects of a client stand on."""

    def __init__(self, folder: Path, *, online: bool, subprotocol: str) -> None:
        self.folder = folder
        self._online = online
        self._subprotocol = subprotocol
        self._device_lock = FolderLock(folder, "device")
        self._live: deque[Live] = deque(maxlen=MOST_LIVE)
        self._news = asyncio.Event()
        self._ended: BaseException | None = None
        self._closing = False
        self._tasks: list[asyncio.Task[None]] = []
        self._told = self._passed = 0

    async def __aenter__(self) -> Self:
        """NotRegistered when the folder holds no device, ProfileInUse when another process is connected as it."""
        if not (self.folder / "device.sqlite3").exists():
            raise NotRegistered
        if self._online:
            await self._device_lock.acquire(within=LET_GO_WITHIN)
        try:
            self._assemble()
        except BaseException:
            self._device_lock.release()
            raise
        if self._online:
            self._start()
        return self

    async def __aexit__(self, problem: object, *_: object) -> None:
        """Disconnect. What is still queued stays queued; an event whose handling failed is told again next time."""
        self._closing = True
        self._news.set()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        try:
            self._inbox.seen(self._told if problem is None else self._passed)
        finally:
            await self._api.close()
            self._state.close()
            self._device_lock.release()

    @property
    def user_id(self) -> str:
        return str(self._state.fact("user_id"))

    @property
    def device_id(self) -> str:
        return str(self._state.fact("device_id"))

    @property
    def server(self) -> str:
        return str(self._state.fact("server"))

    async def lookup(self, username: str) -> User | None:
        """The user of that name, None when there is none."""
        return await find_user(self._api, username)

    async def user_id_of(self, user: User | str) -> str:
        """UnknownUser when a name belongs to nobody."""
        if isinstance(user, User):
            return user.user_id
        if is_uuid(user):
            return user
        found = await self.lookup(user.removeprefix("@"))
        if found is None:
            raise UnknownUser(f"There is no user named {user}.")  # noqa: EM102 - names the user asked for
        return found.user_id

    async def connected(self, within: float = 30.0) -> None:
        """Wait until the device is connected. NotAnswered after `within` seconds."""
        waiting = asyncio.create_task(self._link.connected())
        done, _ = await asyncio.wait({waiting, *self._tasks}, timeout=within, return_when=asyncio.FIRST_COMPLETED)
        if waiting in done:
            await waiting
            return
        waiting.cancel()
        raise self._ended or NotAnswered()

    # Inside

    def _assemble(self) -> None:
        self._state = State(self.folder)
        if self._state.fact("device_id") is None:
            self._state.close()
            raise NotRegistered
        self._clock = ServerClock(self._state)
        self._api = Api(self._state, self.server, self._clock)
        self._peers = Peers(self._state)
        self._sessions = Sessions(self._state, Keyring(self._state), self._peers)
        self._inbox = Inbox(self._state, self._sessions, self._peers)
        self._outbox = Outbox(self._state)
        self._directory = Directory(self._state, self._api, self._inbox, self._peers, self._sessions)
        self._link = Link(
            self._state,
            self._api,
            self._inbox,
            self._clock,
            tell=self._tell,
            moved=self._news.set,
            subprotocol=self._subprotocol,
        )
        transport = self._link.send if self._online else self._send_over_http
        self._sender = Sender(
            self._state,
            self._outbox,
            self._inbox,
            self._directory,
            self._sessions,
            self._clock,
            transport,
            moved=self._news.set,
        )

    def _start(self) -> None:
        self._outbox.tidy()
        self._inbox.watch(asyncio.get_running_loop().time())
        for work in (self._link.run, self._sender.run, self._watch_profile):
            self._tasks.append(asyncio.create_task(self._until_it_ends(work)))

    async def _until_it_ends(self, work: Callable[[], Awaitable[None]]) -> None:
        """Whatever ends one part of the client ends `events` with its reason."""
        try:
            await work()
        except* Exception as group:  # noqa: BLE001 - a client that stands still without a word would be worse
            self._end(first_of(group))

    def _end(self, reason: BaseException) -> None:
        self._ended = self._ended or reason
        self._news.set()
        for arrived in self._sender.awaited.values():
            arrived.set()

    async def _watch_profile(self) -> None:
        """Another process of this profile may have queued something, or told an event."""
        before = self._state.changed_elsewhere()
        while True:
            await asyncio.sleep(LOOK_EVERY)
            if (now := self._state.changed_elsewhere()) != before:
                before = now
                self._sender.wake()
                self._news.set()

    async def _send_over_http(self, outgoing: Outgoing) -> Sent:
        path = f"conversations/{outgoing.conversation_id}/messages"
        return await self._api.call("POST", path, Sent, body=outgoing.fields())

    def _tell(self, event: Live) -> None:
        self._live.append(event)
        self._news.set()


def first_of(group: BaseExceptionGroup[Any]) -> BaseException:
    """The first reason in it that is no group."""
    first = group.exceptions[0]
    return first_of(first) if isinstance(first, BaseExceptionGroup) else first
