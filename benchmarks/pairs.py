"""One pair of devices under load: keeps its sends in flight, acknowledges what arrives, and checks that each message arrives once and in order."""

import secrets
import time
from collections.abc import Callable

import msgspec

from benchmarks.events import Pair
from benchmarks.websocket import BINARY, TEXT, ClientSocket

JSON = "waypost.v1.json"
MSGPACK = "waypost.v1.msgpack"


class Fault(Exception):
    """The server broke a promise."""


class Answer(msgspec.Struct):
    """The fields of server frames that are looked at; the others are skipped."""

    type: str
    message_id: str = ""
    client_message_id: str = ""
    seq: int = 0
    duplicate: bool = False
    error_code: str = ""


class Addressed(msgspec.Struct):
    device_id: str
    registration_id: int
    ciphertext: bytes


class SendFrame(msgspec.Struct, tag="send", tag_field="type"):
    conversation_id: str
    client_message_id: str
    messages: list[Addressed]
    kind: str = "message"


class AckFrame(msgspec.Struct, tag="ack", tag_field="type"):
    message_ids: list[str]


class Codec:
    """One subprotocol."""

    def __init__(self, subprotocol: str) -> None:
        module = msgspec.json if subprotocol == JSON else msgspec.msgpack
        self.opcode = TEXT if subprotocol == JSON else BINARY
        self.encode: Callable[[msgspec.Struct], bytes] = module.Encoder().encode
        self.decode: Callable[[bytes], Answer] = module.Decoder(Answer).decode


class Counters:
    """What all pairs of a run count together. The lists of latencies are emptied at the beginning of each window."""

    def __init__(self) -> None:
        self.delivered = 0
        self.early = 0
        self.receipts = 0
        self.slowest_ms = 0.0
        self.sent_ms: list[float] = []
        self.envelope_ms: list[float] = []


class LoadedPair:
    """A conversation under load. The n-th send carries n in its client_message_id; that is how it is known again."""

    def __init__(self, pair: Pair, codec: Codec, counters: Counters, *, size: int, fail: Callable[[str], None]) -> None:
        self._pair = pair
        self._codec = codec
        self._counters = counters
        self._fail = fail
        self._ciphertext = secrets.token_bytes(size)
        self._mark = secrets.token_hex(3)
        self._running = False
        self._made = 0
        self._sending: dict[int, float] = {}
        self._travelling: dict[int, float] = {}
        self._seqs: dict[int, int] = {}
        self._arrived = 0
        self._early: dict[int, int] = {}
        self._idle = {"sender": False, "recipient": False}
        self.sender: ClientSocket | None = None
        self.recipient: ClientSocket | None = None

    @property
    def is_ready(self) -> bool:
        """Both devices have got everything that waited for them."""
        return all(self._idle.values())

    @property
    def is_quiet(self) -> bool:
        """Nothing is under way."""
        return not self._sending and not self._travelling

    @property
    def missing(self) -> int:
        """How many messages have not arrived."""
        return len(self._travelling)

    @property
    def made(self) -> int:
        """How many messages were sent."""
        return self._made

    def start(self, in_flight: int) -> None:
        """Keep so many sends in flight from now on."""
        self._running = True
        self._send(in_flight)

    def stop(self) -> None:
        """Send no more."""
        self._running = False

    # --- the sending device ----------------------------------------------------------------------------------------------------

    def _send(self, count: int) -> None:
        if count and self._running and self.sender is not None:
            self.sender.send([self._next() for _ in range(count)])

    def _next(self) -> bytes:
        self._made += 1
        now = time.perf_counter()
        self._sending[self._made] = self._travelling[self._made] = now
        pair = self._pair
        addressed = Addressed(pair.recipient.device_id, pair.recipient.registration_id, self._ciphertext)
        return self._codec.encode(
            SendFrame(pair.conversation_id, client_message_id(self._mark, self._made), [addressed])
        )

    def sender_got(self, payloads: list[bytes]) -> None:
        """Frames for the sending device."""
        now = time.perf_counter()
        settled = 0
        for answer in map(self._codec.decode, payloads):
            match answer.type:
                case "sent":
                    self._note_sent(answer, now)
                    settled += 1
                case "receipt":
                    self._counters.receipts += 1
                case "queue_empty":
                    self._idle["sender"] = True
                case "ready":
                    pass
                case _:
                    self._fail(f"the sender got {answer.type} {answer.error_code}")
        self._send(settled)

    def _note_sent(self, answer: Answer, now: float) -> None:
        number = number_of(answer.client_message_id)
        began = self._sending.pop(number, None)
        if began is None or answer.duplicate:
            self._fail("a send was answered twice")
            return
        self._counters.sent_ms.append(1000 * (now - began))
        self._check_seq(number, answer.seq)

    # --- the receiving device --------------------------------------------------------------------------------------------------

    def recipient_got(self, payloads: list[bytes]) -> None:
        """Frames for the receiving device. All envelopes that came together are acknowledged together."""
        now = time.perf_counter()
        message_ids = []
        for answer in map(self._codec.decode, payloads):
            match answer.type:
                case "envelope":
                    message_ids.append(answer.message_id)
                    self._note_envelope(answer, now)
                case "queue_empty":
                    self._idle["recipient"] = True
                case "ready":
                    pass
                case _:
                    self._fail(f"the recipient got {answer.type} {answer.error_code}")
        if message_ids and self.recipient is not None:
            self.recipient.send([self._codec.encode(AckFrame(message_ids))])

    def _note_envelope(self, answer: Answer, now: float) -> None:
        number = number_of(answer.client_message_id)
        began = self._travelling.pop(number, None)
        if began is None:
            self._fail("a message was delivered twice")
            return
        counters = self._counters
        counters.delivered += 1
        took_ms = 1000 * (now - began)
        counters.envelope_ms.append(took_ms)
        counters.slowest_ms = max(counters.slowest_ms, took_ms)
        self._check_seq(number, answer.seq)
        self._check_order(number, answer.seq)

    def _check_order(self, number: int, seq: int) -> None:
        """As clients do: hold back until there is no gap; then the order must be the order of sending."""
        self._early[seq] = number
        if seq != self._arrived + 1:
            self._counters.early += 1
        while (due := self._early.pop(self._arrived + 1, None)) is not None:
            self._arrived += 1
            if due != self._arrived:
                self._fail("messages were delivered in another order than they were sent in")

    def _check_seq(self, number: int, seq: int) -> None:
        """Sender and recipient must have been told the same place in the log."""
        other = self._seqs.pop(number, None)
        if other is None:
            self._seqs[number] = seq
        elif other != seq:
            self._fail("sender and recipient were told different places of one message")


def client_message_id(mark: str, number: int) -> str:
    """A UUIDv7 of now; `mark` makes it different from those of other runs, `number` from the others of this one."""
    stamp = f"{time.time_ns() // 1_000_000:012x}"
    return f"{stamp[:8]}-{stamp[8:]}-7{mark[:3]}-8{mark[3:]}-{number:012x}"


def number_of(identifier: str) -> int:
    """The number in such an id."""
    return int(identifier[-12:], 16)
