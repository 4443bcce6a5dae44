"""Many devices talking at once: what each sent, what each got, and whether it is what was promised."""

import asyncio
import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import websockets

from accounts.ids import uuid7
from tests.acceptance.house import House, Resident
from tests.cast import JsonObject
from tests.sockets import DeviceSocket, connected, message

GIVE_UP_SECONDS = 120.0
# More than the server has under way to one socket. A reader that is full stops reading, and does not see that its socket was closed either:
# whoever writes to it then waits for ten seconds.
MOST_UNREAD = 1024
RETRYABLE = {"STORAGE_UNAVAILABLE", "RETRY_IN_ORDER", "RATE_LIMITED", "SOURCE_READ_ONLY"}


@dataclass
class Talker:
    """One device: sends until it is told `sent`, acknowledges and remembers what it gets, comes back when its socket is gone."""

    device: Resident
    house: House
    got: dict[str, list[JsonObject]] = field(default_factory=lambda: defaultdict(list))
    seen: set[tuple[str, str]] = field(default_factory=set)
    sent: dict[str, JsonObject] = field(default_factory=dict)
    slowest: float = 0.0
    # From the first try of a message until it was acknowledged.
    longest: float = 0.0
    closes: list[tuple[int, str]] = field(default_factory=list)
    _socket: DeviceSocket | None = None
    _answers: dict[str, "asyncio.Future[JsonObject]"] = field(default_factory=dict)
    _ready: asyncio.Event = field(default_factory=asyncio.Event)

    async def live(self) -> None:
        """Stay connected for ever."""
        while True:
            try:
                async with connected(self.house.ws, self.device, ready=False, max_queue=MOST_UNREAD) as socket:
                    await self._listen(socket)
            except websockets.ConnectionClosed as closed:
                rcvd = closed.rcvd
                self.closes.append(
                    (rcvd.code, rcvd.reason) if rcvd is not None else (websockets.CloseCode.ABNORMAL_CLOSURE, "")
                )
            except (OSError, TimeoutError, websockets.WebSocketException):
                pass
            finally:
                self._forget_socket()
            await asyncio.sleep(0.2)

    async def _listen(self, socket: DeviceSocket) -> None:
        while True:
            data = await socket.connection.recv()
            frame = json.loads(data)
            match frame["type"]:
                case "ready":
                    self._socket = socket
                    self._ready.set()
                case "envelope":
                    await socket.ack(frame)
                    self._note(frame)
                case "sent" | "error":
                    answer = self._answers.pop(frame.get("ref", ""), None)
                    if answer is not None and not answer.done():
                        answer.set_result(frame)

    def _note(self, envelope: JsonObject) -> None:
        key = (envelope["conversation_id"], envelope["message_id"])
        if key not in self.seen:
            self.seen.add(key)
            self.got[envelope["conversation_id"]].append(envelope)

    def _forget_socket(self) -> None:
        self._socket = None
        self._ready.clear()
        for answer in self._answers.values():
            if not answer.done():
                answer.set_result({"type": "gone"})
        self._answers.clear()

    async def say(self, conversation_id: str, to: Sequence[Resident], text: bytes) -> JsonObject:
        """Send until it is committed: the same message under the same id, whatever happens in between."""
        frame = message(conversation_id, to, text)
        began = asyncio.get_running_loop().time()
        async with asyncio.timeout(GIVE_UP_SECONDS):
            while True:
                answer = await self._try(frame)
                if answer["type"] == "sent":
                    self.longest = max(self.longest, asyncio.get_running_loop().time() - began)
                    self.sent[frame["client_message_id"]] = answer
                    return answer
                if answer["type"] == "error" and answer["error_code"] not in RETRYABLE:
                    raise AssertionError(answer)
                await asyncio.sleep(answer.get("retry_after_ms", 200) / 1000)

    async def _try(self, frame: JsonObject) -> JsonObject:
        await self._ready.wait()
        ref = uuid7().hex
        answer = self._answers[ref] = asyncio.get_running_loop().create_future()
        began = asyncio.get_running_loop().time()
        try:
            assert self._socket is not None
            await self._socket.say(frame | {"ref": ref})
        except (OSError, AssertionError, websockets.WebSocketException):
            return {"type": "gone"}
        result: JsonObject = await answer
        if result["type"] != "gone":
            self.slowest = max(self.slowest, asyncio.get_running_loop().time() - began)
        return result

    def seqs(self, conversation_id: str) -> list[int]:
        return sorted(envelope["seq"] for envelope in self.got[conversation_id])


@dataclass
class Party:
    """Devices that talk, and the check of what they heard."""

    talkers: list[Talker]

    def talker(self, device: Resident) -> Talker:
        return next(talker for talker in self.talkers if talker.device is device)

    def others(self, device: Resident) -> list[Resident]:
        return [talker.device for talker in self.talkers if talker.device is not device]

    async def settled(self, conversation_id: str, *, seconds: float = 60) -> None:
        """Return when every device has everything of the conversation that was committed, once and without gaps. Raises AssertionError."""
        try:
            async with asyncio.timeout(seconds):
                while any(self._missing(talker, conversation_id) for talker in self.talkers):  # noqa: ASYNC110
                    await asyncio.sleep(0.1)
        except TimeoutError:
            missing = {
                talker.device.name: sorted(self._missing(talker, conversation_id))[:20] for talker in self.talkers
            }
            raise AssertionError(missing) from None
        await asyncio.sleep(0.3)
        self.check(conversation_id)

    def _committed(self, conversation_id: str) -> dict[int, str]:
        sent = (answer for talker in self.talkers for answer in talker.sent.values())
        return {answer["seq"]: answer["message_id"] for answer in sent if answer["conversation_id"] == conversation_id}

    def _missing(self, talker: Talker, conversation_id: str) -> set[int]:
        own = {answer["seq"] for answer in talker.sent.values() if answer["conversation_id"] == conversation_id}
        return self._committed(conversation_id).keys() - own - set(talker.seqs(conversation_id))

    def check(self, conversation_id: str) -> None:
        """One order for everybody, gap-free, nothing twice."""
        committed = self._committed(conversation_id)
        for talker in self.talkers:
            own = {answer["seq"] for answer in talker.sent.values() if answer["conversation_id"] == conversation_id}
            heard = talker.seqs(conversation_id)
            assert len(heard) == len(set(heard)), f"{talker.device.name} got a seq twice"
            everything = sorted(own | set(heard))
            assert everything == list(range(everything[0], everything[-1] + 1)), f"{talker.device.name} has gaps"
            for envelope in talker.got[conversation_id]:
                assert committed.get(envelope["seq"], envelope["message_id"]) == envelope["message_id"], (
                    "two messages, one seq"
                )


class Talking:
    """`async with Talking(house, devices) as party`: everybody is connected, and stays so."""

    def __init__(self, house: House, devices: Sequence[Resident]) -> None:
        self._party = Party([Talker(device, house) for device in devices])
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Party:
        self._tasks = [asyncio.create_task(talker.live()) for talker in self._party.talkers]
        async with asyncio.timeout(30):
            for talker in self._party.talkers:
                await talker._ready.wait()
        return self._party

    async def __aexit__(self, *_: Any) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
