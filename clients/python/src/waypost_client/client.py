"""The client: one device of one person.

client = await Client.register("http://localhost:8000", "+66812345678", code_source, state="alice", name="Alice's phone")
async with client:
    conversation = await client.direct("bob")
    await client.send(conversation.conversation_id, "hello")
    async for message in client.messages():
        print(message.text)
"""

import asyncio
import contextlib
import uuid
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any, Self, TypeVar

import msgspec

from . import maintenance
from .api import Api
from .clock import ServerClock
from .codes import CodeSource, Mistyped, PinSource
from .connection import MSGPACK
from .directory import Directory
from .errors import GroupTooLarge, NotAnswered, NotRegistered, Refused, UnknownUser, Unreachable
from .events import Event, Kept, Live, Message, Person
from .inbox import Inbox
from .keyring import Keyring
from .keys import fingerprint
from .link import Link
from .linking import PATIENCE, Linking, claim_link
from .locks import FolderLock
from .outbox import Failure, Outbox, Outgoing
from .payload import Text, pack
from .peers import Peers
from .people import People
from .pin import Pin
from .push import Push
from .registration import register_device
from .sending import Sender
from .sessions import Sessions
from .state import State
from .values import Conversation, Deleted, Device, KeyCount, Member, Page, Sent, User

ANSWER_WITHIN = 60.0
LOOK_EVERY = 0.1
# Long enough for a `send` beside it to finish what it is just sending.
LET_GO_WITHIN = 2.0
MOST_LIVE = 1000
MOST_MEMBERS = 32
PAGE = 64
T = TypeVar("T")


class Client:
    """Use it as `async with Client.open(folder) as client`. One process at a time is connected as a device; with
    `online=False` any number may ask and queue beside it, and what they queue leaves through the connected one."""

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

    @classmethod
    async def register(
        cls,
        server: str,
        phone: str,
        code_source: CodeSource,
        *,
        state: str | Path,
        name: str,
        platform: str = "desktop",
        mistyped: Mistyped | None = None,
        pin: str | PinSource | None = None,
        unlink_device_id: str | None = None,
    ) -> Self:
        """Make `state`, a folder, a device of this number's account, and give its client, not yet connected.

        `code_source` is awaited once the code was sent, and again after a wrong one if there is `mistyped`, which is told how
        many tries are left; `pin`, if it is no text, when the account has a registration lock. AlreadyRegistered when the
        folder holds a device; Refused as the server says, REGISTRATION_LOCKED (give the PIN) and DEVICE_LIMIT (name a device to unlink) among it. Interrupted
        at any point it can be called again.
        """
        await register_device(
            Path(state),
            server=server,
            phone=phone,
            code_source=code_source,
            mistyped=mistyped,
            name=name,
            platform=platform,
            pin=pin,
            unlink=unlink_device_id,
        )
        return cls.open(state)

    @classmethod
    async def claim(
        cls,
        text: str,
        *,
        state: str | Path,
        name: str,
        platform: str = "desktop",
        show: Callable[[str], None],
        within: float = PATIENCE,
    ) -> Self:
        """Make `state`, a folder, a device of the account that shows this QR code, and give its client, not yet connected.

        `show` is given the fingerprint that the showing device must see too. NotALinkCode, LinkEnded; NotVouched when that device
        did not sign for this one.
        """
        await claim_link(Path(state), text, name=name, platform=platform, show=show, within=within)
        return cls.open(state)

    @classmethod
    def open(cls, state: str | Path, *, online: bool = True, subprotocol: str = MSGPACK) -> Self:
        """A registered device's client. Nothing happens before `async with`."""
        return cls(Path(state), online=online, subprotocol=subprotocol)

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

    # Who

    @property
    def user_id(self) -> str:
        return str(self._state.fact("user_id"))

    @property
    def device_id(self) -> str:
        return str(self._state.fact("device_id"))

    @property
    def server(self) -> str:
        return str(self._state.fact("server"))

    @property
    def own_fingerprint(self) -> str:
        """What others compare with what they see of this device."""
        return fingerprint(Keyring(self._state).identity_key)

    def fingerprints(self, user_id: str) -> dict[str, str]:
        """The pinned identity keys of a user's devices, by device_id, to be compared over another channel."""
        return {peer.device_id: fingerprint(peer.identity_key) for peer in self._peers.of_user(user_id)}

    async def profile(self) -> User:
        return await self._api.call("GET", "profile", User)

    async def set_profile(self, **changes: str | None) -> User:
        """Change display_name, username or bio."""
        return await self._api.call("PATCH", "profile", User, body=changes)

    async def lookup(self, username: str) -> User | None:
        """The user of that name, None when there is none."""
        found = await self._api.call("POST", "users/lookup", _Found, body={"usernames": [username]})
        return found.items[0].user if found.items else None

    async def devices(self) -> list[Device]:
        """The active devices of this account."""
        return await self._all("devices", Device)

    async def rename_device(self, device_id: str, name: str) -> Device:
        return await self._api.call("PATCH", f"devices/{device_id}", Device, body={"name": name})

    @property
    def people(self) -> People:
        """One's settings, friends and blocks."""
        return People(self._api, self.user_id_of)

    async def watch(self, users: Iterable[User | str]) -> tuple[Person, ...]:
        """Who of these is there. What changes comes as `Presence` events, until the next call or connection; those out of sight are left out."""
        return (await self._link.watch([await self.user_id_of(user) for user in users])).users

    async def say_typing(self, conversation_id: str, *, active: bool = True) -> None:
        """Let the others know that one types: say it every 3 s, and `active=False` at the end."""
        await self._link.say_typing(conversation_id, active=active)

    async def signal_call(
        self, conversation_id: str, signal: str, body: bytes, *, device_id: str | None = None
    ) -> None:
        """Tell connected devices something about a call: one, or all of the conversation's. What they answer are `CallSignal` events."""
        fields = {"conversation_id": conversation_id, "signal": signal, "body": body}
        await self._link.signal_call(fields | ({"device_id": device_id} if device_id else {}))

    @property
    def linking(self) -> Linking:
        """Letting other devices in."""
        return Linking(self._state, self._api)

    async def delete_account(self, *, pin: str | None = None) -> Deleted:
        """Delete the account for good. Afterwards this device is signed out; what it has on disk stays."""
        deleted = await self._api.call("DELETE", "account", Deleted, body={"pin": pin} if pin else None)
        self._state.remember(signed_out=1)
        return deleted

    @property
    def pin(self) -> Pin:
        """The account's PIN and registration lock."""
        return Pin(self._api)

    @property
    def push(self) -> Push:
        """Where this device is woken while it is not connected."""
        return Push(self._api)

    async def unlink_device(self, device_id: str, *, pin: str | None = None) -> None:
        """End a device's membership of this account; from then on nothing is sealed for it."""
        await self._api.call("DELETE", f"devices/{device_id}", body={"pin": pin} if pin else None)

    # Keys

    async def prekeys_left(self) -> KeyCount:
        """One-time prekeys that the server can still hand out for this device. It is topped up by itself while connected."""
        return await self._api.call("GET", "keys/count", KeyCount)

    async def check_keys(self) -> bool:
        """Whether the server has the keys of this device. If not, it has lost or rolled them back, and was given them again."""
        return await maintenance.check_keys(self._state, self._api)

    async def rotate_keys(self) -> None:
        """Publish a new signed prekey and a new last resort now. What was sealed for the former ones still opens."""
        await maintenance.rotate_keys(self._state, self._api, now=True)

    # Conversations

    async def direct(self, user: User | str) -> Conversation:
        """The direct conversation with a user, given by value, user name or id; made when it is not there yet."""
        body = {"kind": "direct", "user_id": await self.user_id_of(user)}
        return await self._api.call("POST", "conversations", Conversation, body=body)

    async def create_group(self, name: str, members: Iterable[User | str]) -> Conversation:
        """A new group. GroupTooLarge above 32 members."""
        member_ids = [await self.user_id_of(member) for member in members]
        if len({*member_ids, self.user_id}) > MOST_MEMBERS:
            raise GroupTooLarge
        body = {"kind": "group", "name": name, "member_ids": member_ids}
        return await self._api.call("POST", "conversations", Conversation, body=body)

    async def conversations(self) -> list[Conversation]:
        """All of them, the last active first."""
        return await self._all("conversations", Conversation)

    async def conversation(self, conversation_id: str, *, fresh: bool = True) -> Conversation:
        """A conversation with its members. `fresh=False` is content with what is remembered, if no change is known."""
        if fresh:
            self._directory.doubt(conversation_id)
        return await self._directory.conversation(conversation_id)

    def name_of(self, user_id: str) -> str:
        """What to call a user, as far as it is remembered: no question goes to the server."""
        return self._directory.name_of(user_id) or user_id[:8]

    async def add_members(self, conversation_id: str, members: Iterable[User | str]) -> list[Member]:
        """All of them or none."""
        user_ids = [await self.user_id_of(member) for member in members]
        added = await self._api.call(
            "POST", f"conversations/{conversation_id}/members", _Members, body={"user_ids": user_ids}
        )
        self._directory.doubt(conversation_id)
        return list(added.items)

    async def remove_member(self, conversation_id: str, member: User | str) -> None:
        user_id = await self.user_id_of(member)
        await self._api.call("DELETE", f"conversations/{conversation_id}/members/{user_id}")
        self._directory.doubt(conversation_id)

    async def leave(self, conversation_id: str, *, successor: User | str | None = None) -> None:
        """Leave. The last admin must name a successor."""
        body = {"successor_user_id": await self.user_id_of(successor)} if successor is not None else None
        await self._api.call("POST", f"conversations/{conversation_id}/leave", body=body)
        self._directory.doubt(conversation_id)

    # Messages

    async def send(
        self, conversation_id: str, text: str, *, reply_to: str | None = None, within: float = ANSWER_WITHIN
    ) -> Sent:
        """Queue a text and wait until the server has it. Refused when it will never be sent.

        NotAnswered after `within` seconds: it is queued all the same, survives a kill, and leaves under its one id.
        """
        number = await self.enqueue(conversation_id, text, reply_to=reply_to)
        arrived = self._sender.awaited.setdefault(number, asyncio.Event())
        try:
            return await asyncio.wait_for(self._answer(number, arrived), within)
        except TimeoutError:
            raise NotAnswered from None
        finally:
            self._sender.awaited.pop(number, None)

    async def enqueue(self, conversation_id: str, text: str, *, reply_to: str | None = None) -> int:
        """Queue a text without waiting for the server; what becomes of it is told as an event if it fails."""
        written_at = self._clock.now()
        pack(Text(text=text, sent_at=written_at, reply_to=reply_to))
        with contextlib.suppress(Unreachable):
            if (await self._directory.conversation(conversation_id)).member_count > MOST_MEMBERS:
                raise GroupTooLarge
        number = self._outbox.put(conversation_id, self._clock.new_id(), text, written_at, reply_to)
        self._sender.wake()
        return number

    async def read(self, conversation_id: str, seq: int) -> None:
        """Say that everything up to `seq` was read: now, or at the next connection."""
        await self._link.read(conversation_id, seq)

    async def messages(self) -> AsyncIterator[Message]:
        """Texts of others and of the own other devices, each once and in order. See `events` for all else."""
        async for event in self.events():
            if isinstance(event, Message):
                yield event

    async def events(self) -> AsyncIterator[Event]:
        """Everything that happens. What is kept on disk is told again after a kill, unless the loop came past it.

        Ends when the client is closed; SignedOut or ConnectedElsewhere when it cannot go on. One loop at a time.
        """
        while not self._closing:
            self._news.clear()
            kept = self._inbox.events_after(self._told, PAGE)
            for number, event in kept:
                self._told = number
                yield event
                self._passed = number
            if kept:
                self._inbox.seen(self._passed)
            elif self._live:
                # Only when nothing kept is left: "caught up" must not overtake what it is about.
                yield self._live.popleft()
            elif self._ended is not None:
                raise self._ended
            else:
                await self._news.wait()

    def history(self, conversation_id: str, *, before: int | None = None, limit: int = 50) -> list[Kept]:
        """What this device has opened or sent there, newest last. The server keeps no text, so this is asked of the disk."""
        return self._inbox.history(conversation_id, before=before, limit=limit)

    async def server_history(
        self, conversation_id: str, *, before: int | None = None, after: int | None = None, limit: int = 50
    ) -> Page:
        """A page of the conversation as the server keeps it, newest first, ciphertext for this device while it is there."""
        query = {
            name: value for name, value in (("before", before), ("after", after), ("limit", limit)) if value is not None
        }
        return await self._api.call("GET", f"conversations/{conversation_id}/messages", Page, query=query)

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
            self._end(_first(group))

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

    async def _answer(self, number: int, arrived: asyncio.Event) -> Sent:
        while (answer := self._outbox.collect(number)) is None:
            if self._ended is not None:
                raise self._ended
            if self._online:
                await arrived.wait()
            else:
                await self._flush_or_wait()
        if isinstance(answer, Failure):
            raise Refused(answer.error_code, answer.error)
        return answer

    async def _flush_or_wait(self) -> None:
        """Speak for the device if nobody does; else whoever does will find the entry in the queue."""
        if not self._device_lock.take():
            await asyncio.sleep(LOOK_EVERY)
            return
        try:
            await self._sender.flush()
        except* Exception as group:  # noqa: BLE001 - as above
            self._end(_first(group))
        finally:
            self._inbox.forget()
            self._device_lock.release()

    async def _send_over_http(self, outgoing: Outgoing) -> Sent:
        path = f"conversations/{outgoing.conversation_id}/messages"
        return await self._api.call("POST", path, Sent, body=outgoing.fields())

    def _tell(self, event: Live) -> None:
        self._live.append(event)
        self._news.set()

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

    async def _all(self, path: str, kind: type[T]) -> list[T]:
        """Every page of a list."""
        items: list[T] = []
        query: dict[str, Any] = {"limit": 100}
        while True:
            page = await self._api.call("GET", path, _Listed, query=query)
            items += (msgspec.convert(item, kind) for item in page.items)
            if not page.has_more or page.next_cursor is None:
                return items
            query["cursor"] = page.next_cursor


class _Lookup(msgspec.Struct):
    user: User


class _Found(msgspec.Struct):
    items: tuple[_Lookup, ...] = ()


class _Members(msgspec.Struct):
    items: tuple[Member, ...] = ()


class _Listed(msgspec.Struct):
    items: list[Any]
    next_cursor: str | None = None
    has_more: bool = False


def is_uuid(text: str) -> bool:
    """Whether this is an id of the wire's form rather than a name."""
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False


def _first(group: BaseExceptionGroup[Any]) -> BaseException:
    first = group.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first
