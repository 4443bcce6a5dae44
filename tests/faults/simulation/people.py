"""Devices of the simulated people: sockets opened again and again, the client rules of the protocol's page, and what they write into the history.

What arrives is ordered and shown by the load generator's inbox, which is the reference client's.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any
from uuid import UUID

import msgspec
from msgspec.structs import replace
from waypost_client.ordering import Lane

from accounts.wire.refusals import ChatError
from messaging.resolving import Resolved
from tests.faults import history
from tests.faults.load.inbox import Inbox, Place
from tests.faults.simulation.seen import Installation, as_frame, shown_of
from tests.faults.simulation.talking import FINAL, UNKNOWN, Message, Talk
from tests.faults.simulation.workers import Wire

ANSWER_SECONDS = 5.5
READY_SECONDS = 8.0
TICK_SECONDS = 1.0
REVOKED = 4401

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder()


class Device:
    """One client program."""

    def __init__(self, installation: Installation, name: str, user_id: UUID, device_id: int, number: int) -> None:
        self.name = name
        self.user_id = user_id
        self.device_id = device_id
        self.number = number
        self.registration_id = device_id % 16000
        self.is_gone = False
        self.slowness = 0.02
        self.clock_ahead_ms = 0
        self.empties = 0
        # Called once, at the next `ready`.
        self.when_ready: list[Callable[[], None]] = []
        self.talks: dict[UUID, Talk] = {}
        self.inbox = Inbox(self.id, self._record, self._shown)
        self._world = installation
        self._network = installation.network
        self._loop = installation.people
        self._wire: Wire | None = None
        self._socket = ""
        self._is_ready = False
        self._opened_at = 0.0
        self._failures = 0
        self._calls = 0
        self._unacked: list[str] = []
        self._is_acking = False
        self._questions: set[str] = set()

    @property
    def id(self) -> str:
        return str(self.device_id)

    @property
    def is_idle(self) -> bool:
        """Whether everything it wants to say is said, and everything that came is in its place."""
        if self.is_gone:
            return True
        return not self.inbox.waits() and all(talk.is_idle for talk in self.talks.values())

    def talk(self, conversation_id: UUID) -> Talk:
        return self.talks.setdefault(conversation_id, Talk())

    def was_there_from_the_start(self, conversation_id: UUID) -> None:
        """The device knows the conversation from its founding: it counts from 1."""
        self.inbox._places[str(conversation_id)] = Place(lane=Lane(1), base=1)

    def _record(self, event: history.AnyEvent) -> None:
        self._world.tell(replace(event, at=self._loop.time()))

    def _shown(self, conversation: str, seq: int, message_id: str) -> None:
        """Nobody asks what was read."""

    # --- the socket ------------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        self._connect()
        self._loop.call_later(TICK_SECONDS, self._tick)

    def _connect(self) -> None:
        if self.is_gone or self._wire is not None:
            return
        worker = self._world.any_worker()
        if worker is None:
            self._come_back()
            return
        self._opened_at = self._loop.time()
        self._is_ready = False
        self._socket = f"{self.device_id}.{self._world.next_number()}"
        wire: Wire
        wire = self._wire = worker.connect(
            self, self._loop, lambda frame: self._heard(wire, frame), lambda code: self._closed(wire, code)
        )

    def _come_back(self) -> None:
        self._failures += 1
        self._loop.call_later(self._network.between(0.05, min(0.5 * 2**self._failures, 4.0)), self._connect)

    def cut(self) -> None:
        """Its connection breaks."""
        if self._wire is not None:
            self._wire.cut()

    def _closed(self, wire: Wire, code: int | None) -> None:
        if wire is not self._wire:
            return
        if self._is_ready:
            self._record(history.SocketClosed(device=self.id, socket=self._socket, code=code))
        self._wire = None
        self._is_ready = False
        for talk in self.talks.values():
            for call in talk.give_up_waiting():
                self._record(history.SendAnswered(call=call, outcome="unknown"))
        if code == REVOKED and self._world.is_unlinked(self.device_id):
            self.is_gone = True
        else:
            self._come_back()

    def _heard(self, wire: Wire, data: bytes) -> None:
        if wire is not self._wire or self.is_gone:
            return
        frame = _decoder.decode(data)
        match frame["type"]:
            case "ready":
                self._is_ready = True
                self._failures = 0
                self._record(history.SocketOpened(device=self.id, socket=self._socket))
                waiting, self.when_ready = self.when_ready, []
                for begin in waiting:
                    begin()
                self._pump()
            case "envelope":
                self._receive(frame)
            case "sent" | "error":
                self._answered(frame)
            case "queue_empty":
                self.empties += 1
                self._record(history.QueueEmpty(device=self.id, socket=self._socket))
            case "receipt":
                self._heard_receipt(frame)

    def _say(self, frame: dict[str, Any]) -> None:
        if self._wire is not None:
            self._wire.say(_encoder.encode(frame))

    def _tick(self) -> None:
        if self.is_gone or self._world.has_ended:
            return
        now = self._loop.time()
        if self._wire is not None and not self._is_ready and now - self._opened_at > READY_SECONDS:
            self.cut()
        asked = [message.asked_at for talk in self.talks.values() for message in talk.asked.values()]
        if asked and now - min(asked) > ANSWER_SECONDS:
            self.cut()
        self._ask_about_gaps(now)
        self._pump()
        self._loop.call_later(TICK_SECONDS, self._tick)

    # --- saying ----------------------------------------------------------------------------------------------------------------

    def say(self, conversation_id: UUID, size: int) -> None:
        """The person writes a message."""
        talk = self.talk(conversation_id)
        talk.number += 1
        mid = self._world.uuid7(self._world.wall_ms() + self.clock_ahead_ms)
        talk.queue.append(Message(self.id, conversation_id, mid, talk.number, size))
        self._pump()

    def _pump(self) -> None:
        if self._is_ready and not self.is_gone:
            for talk in self.talks.values():
                for message in talk.may_go(self._loop.time()):
                    self._send(talk, message)

    def _send(self, talk: Talk, message: Message) -> None:
        self._calls += 1
        call = f"{self.device_id}/{self._calls}"
        message.asked_at = self._loop.time()
        talk.asked[call] = message
        conversation, mid = str(message.conversation_id), str(message.mid)
        self._record(
            history.SendInvoked(
                call=call,
                user=str(self.user_id),
                device=self.id,
                conversation=conversation,
                mid=mid,
                number=message.number,
                digest=message.digest,
            )
        )
        copies = [
            {"device_id": str(device_id), "registration_id": registration, "ciphertext": message.copy_for(device_id)}
            for device_id, registration in self._world.believed_devices(self, message.conversation_id)
        ]
        said = {"conversation_id": conversation, "client_message_id": mid, "kind": "message", "messages": copies}
        self._say({"type": "send", "ref": call, **said})

    def _answered(self, frame: dict[str, Any]) -> None:
        call = frame.get("ref", "")
        for talk in self.talks.values():
            message = talk.asked.pop(call, None)
            if message is not None:
                self._note_answer(talk, message, call, frame)
                self._pump()
                return

    def _note_answer(self, talk: Talk, message: Message, call: str, frame: dict[str, Any]) -> None:
        if frame["type"] == "sent":
            seq, message_id = frame["seq"], frame["message_id"]
            self._record(
                history.SendAnswered(
                    call=call, outcome="ok", seq=seq, message_id=message_id, duplicate=frame["duplicate"]
                )
            )
            talk.said(message)
            conversation, mid = str(message.conversation_id), str(message.mid)
            self.inbox.sent(conversation, seq, message_id, mid, message.digest, self._loop.time())
            return
        code = frame["error_code"]
        self._record(history.SendAnswered(call=call, outcome="unknown" if code in UNKNOWN else "refused", code=code))
        if code in FINAL:
            talk.drop(message, code)
            talk.is_over = not self._world.is_member(self.user_id, message.conversation_id)
            return
        if code in ("MISMATCHED_DEVICES", "STALE_DEVICES"):
            self._world.ask_devices(self, message.conversation_id)
        pause = frame.get("retry_after_ms", 200) / 1000 * self._network.between(1.0, 1.3)
        talk.wait(self._loop.time() + pause)
        self._loop.call_at(talk.again_at + 0.001, self._pump)

    # --- hearing ---------------------------------------------------------------------------------------------------------------

    def _receive(self, frame: dict[str, Any]) -> None:
        conversation_id = UUID(frame["conversation_id"])
        talk = self.talk(conversation_id)
        # Whoever was removed may have been brought in again.
        talk.is_over = talk.is_over and not self._world.is_member(self.user_id, conversation_id)
        self.inbox.receive(frame, frame.get("ciphertext"), self._socket, self._loop.time())
        self._unacked.append(frame["message_id"])
        if not self._is_acking:
            self._is_acking = True
            self._loop.call_later(self.slowness * self._network.between(0.1, 2.0), self._ack)

    def _ack(self) -> None:
        self._is_acking = False
        unacked, self._unacked = tuple(self._unacked), []
        if self._is_ready and not self.is_gone:
            self._record(history.Acked(device=self.id, socket=self._socket, message_ids=unacked))
            self._say({"type": "ack", "message_ids": list(unacked)})

    def _heard_receipt(self, frame: dict[str, Any]) -> None:
        self._record(
            history.ReceiptHeard(
                device=self.id,
                socket=self._socket,
                what="delivered" if frame.get("delivered_at") else "read",
                conversation=frame["conversation_id"],
                seq=frame["seq"],
                message_id=frame["message_id"],
                by_user=frame["user_id"],
                by_device=frame.get("device_id", ""),
            )
        )

    # --- gaps ------------------------------------------------------------------------------------------------------------------

    def _ask_about_gaps(self, now: float) -> None:
        worker = self._world.any_worker()
        if worker is None:
            return
        for conversation, first, last in self.inbox.questions(now):
            conversation_id = UUID(conversation)
            if conversation not in self._questions:
                self._questions.add(conversation)
                ask = partial(worker.resolve, self.user_id, self.device_id, conversation_id, (first, last))
                worker.errand(self._loop, ask, partial(self._resolved, conversation, first, last))

    def _resolved(self, conversation: str, first: int, last: int, answer: Sequence[Resolved] | ChatError) -> None:
        self._questions.discard(conversation)
        if self.is_gone:
            return
        if isinstance(answer, ChatError):
            talk = self.talk(UUID(conversation))
            talk.is_over = not self._world.is_member(self.user_id, UUID(conversation))
            if talk.is_over:
                # Brought in again and gone again before this was asked: nobody answers, and what lies between the stays is none of its.
                gap = [{"seq": seq, "state": "not_for_you"} for seq in range(first, last + 1)]
                self.inbox.answer(conversation, gap, self._loop.time())
            return
        for item in answer:
            if item.envelope is not None and (item.envelope.ciphertext or item.envelope.system):
                self._receive(as_frame(item.envelope))
        items = [{"seq": item.seq, "state": item.state.value, "envelope": shown_of(item)} for item in answer]
        self.inbox.answer(conversation, items, self._loop.time())
