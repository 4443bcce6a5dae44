"""The recorded history of a run: what clients asked, were told, got and showed, and what was done to the servers meanwhile.

One JSON line for each event, in files that one writer each appends to; `read` merges them by time. Ids are written as on the wire (UUIDs, and
decimal strings for devices and messages). `at` is CLOCK_MONOTONIC in seconds, comparable between the processes of one machine; a simulation
writes its virtual time. No content, key or token is ever written, only digests.

What the checker makes of it is in `tests.faults.checker`. What it needs from whoever records:

* Every attempt of a send, and every change, has a `call` of its own that is unique in the run, one `…Invoked` and at most one `…Answered`.
* What a client says is written before it leaves (`…Invoked`, `Acked`, `ReadSaid`), what it hears when it was heard.
* `number` counts a device's messages in one conversation, 1, 2, 3 … in the order in which the client wants them; a retry repeats it.
* `EnvelopeReceived` is written for every frame, duplicates too, before its `Acked`. `Shown` is written once the client rules release a seq:
  in the order shown, own sends too (`own`). `Skipped` is written for what the client rules leave out because the server said so.
* After the last `FaultOff`: every device that is still linked reconnects, two `QueueEmpty` each, and then the dump from PostgreSQL, `Dumped` last.
"""

import heapq
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import msgspec

FLUSH_SECONDS = 0.2
FLUSH_BYTES = 64 * 1024

Outcome = Literal["ok", "refused", "unknown"]
ChangeKind = Literal["register", "link", "reinstall", "unlink", "create", "add", "remove", "leave", "role", "rename"]
Phase = Literal["before", "during", "after"]


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type"):
    """Something that happened at `at`."""

    at: float = msgspec.field(default_factory=time.monotonic)


class Began(Event, frozen=True, kw_only=True, tag="began"):
    """The run: how to repeat it. `build` names the rule that is broken on purpose, "" for none."""

    seed: int
    commit: str = ""
    machine: str = ""
    profile: str = ""
    build: str = ""
    store: str = ""


# --- people, devices, conversations ----------------------------------------------------------------------------------------------


class ChangeInvoked(Event, frozen=True, kw_only=True, tag="change_invoked"):
    """A change was asked for: `users` are those added or removed, `device` the one unlinked. `by_device` is "" for a registration.

    "reinstall": `device` signs in with nothing left of what it had. It says, acknowledges and shows nothing between leaving and coming back.
    """

    call: str
    what: ChangeKind
    by_user: str = ""
    by_device: str = ""
    conversation: str = ""
    users: tuple[str, ...] = ()
    device: str = ""


class ChangeAnswered(Event, frozen=True, kw_only=True, tag="change_answered"):
    """`refused`: it did not happen. `unknown`: no answer, or one after which it may have happened.

    With `ok`, a registration or link names its new `user` and `device`, a new conversation its `conversation`.
    """

    call: str
    outcome: Outcome
    code: str = ""
    user: str = ""
    device: str = ""
    conversation: str = ""


# --- sockets ---------------------------------------------------------------------------------------------------------------------


class SocketOpened(Event, frozen=True, kw_only=True, tag="socket_opened"):
    """A socket of a device got its `ready`. `socket` is unique in the run."""

    device: str
    socket: str


class SocketClosed(Event, frozen=True, kw_only=True, tag="socket_closed"):
    """`code` is the close code, None where there was none (cut). `by_client`: the client closed it."""

    device: str
    socket: str
    code: int | None = None
    by_client: bool = False


class QueueEmpty(Event, frozen=True, kw_only=True, tag="queue_empty"):
    """The server said that all that was committed at connect has been sent."""

    device: str
    socket: str


# --- sends -----------------------------------------------------------------------------------------------------------------------


class SendInvoked(Event, frozen=True, kw_only=True, tag="send_invoked"):
    """One attempt. A message is (device, conversation, mid); `digest` is that of its payload and the same in each attempt.

    `expires_in`: seconds; 0: it does not expire. `deletes`: the mid of an earlier message of the same device in the same conversation.
    """

    call: str
    user: str
    device: str
    conversation: str
    mid: str
    number: int
    digest: str
    expires_in: int = 0
    deletes: str = ""


class SendAnswered(Event, frozen=True, kw_only=True, tag="send_answered"):
    """`ok` with seq and message_id; `refused`: this attempt stored nothing for sure; `unknown`: it may have (no answer, STORAGE_UNAVAILABLE)."""

    call: str
    outcome: Outcome
    seq: int = 0
    message_id: str = ""
    duplicate: bool = False
    code: str = ""


# --- deliveries ------------------------------------------------------------------------------------------------------------------


class EnvelopeReceived(Event, frozen=True, kw_only=True, tag="envelope_received"):
    """One envelope frame. `kind` "message" has `digest` and `addressed` (the device its payload names), both read from the payload; one that is
    `deleted` has none.

    In kind "system", `system` is the event's name, `subject_user` and `subject_device` its user_id and device_id where it has them, and
    `users` those of conversation_created; `from_seq` and `to_seq` are set for an explicit gap.
    """

    device: str
    socket: str
    conversation: str
    seq: int
    message_id: str
    mid: str
    kind: str
    sender_user: str = ""
    sender_device: str = ""
    digest: str = ""
    addressed: str = ""
    deleted: bool = False
    start: bool = False
    system: str = ""
    subject_user: str = ""
    subject_device: str = ""
    users: tuple[str, ...] = ()
    from_seq: int = 0
    to_seq: int = 0


class Acked(Event, frozen=True, kw_only=True, tag="acked"):
    """An ack frame was sent."""

    device: str
    socket: str
    message_ids: tuple[str, ...]


class Shown(Event, frozen=True, kw_only=True, tag="shown"):
    """The client rules released this seq. `late`: it came after the device had gone on without it."""

    device: str
    conversation: str
    seq: int
    message_id: str
    mid: str
    digest: str = ""
    own: bool = False
    late: bool = False


class Skipped(Event, frozen=True, kw_only=True, tag="skipped"):
    """The device went on without these seqs. `why`: the server's word (not_for_you, unavailable), or "gap" for an explicit gap row."""

    device: str
    conversation: str
    from_seq: int
    to_seq: int
    why: Literal["not_for_you", "unavailable", "gap"]


class ReadSaid(Event, frozen=True, kw_only=True, tag="read_said"):
    """A `read` frame was sent."""

    user: str
    device: str
    conversation: str
    seq: int


class ReceiptHeard(Event, frozen=True, kw_only=True, tag="receipt_heard"):
    """A receipt frame came to `device`: `by_user`/`by_device` has the message, or has read up to it."""

    device: str
    socket: str
    what: Literal["delivered", "read"]
    conversation: str
    seq: int
    message_id: str
    by_user: str
    by_device: str = ""


class HistoryRead(Event, frozen=True, kw_only=True, tag="history_read"):
    """One message of a `GET …/messages`, asked for by `device`. `digest` is that of its ciphertext for this device, "" where it has none.
    `has_content`: a ciphertext, or what all share.
    """

    device: str
    conversation: str
    seq: int
    message_id: str
    digest: str = ""
    deleted: bool = False
    has_content: bool = False


class HttpAnswered(Event, frozen=True, kw_only=True, tag="http_answered"):
    """An HTTP answer of 500 or more, or one whose body is not what is documented (`documented` false). Others need not be written."""

    route: str
    status: int
    documented: bool
    code: str = ""


# --- what was done to the servers ------------------------------------------------------------------------------------------------


class FaultOn(Event, frozen=True, kw_only=True, tag="fault_on"):
    """A fault begins. `in_flight` messages were invoked and without an answer, or committed and not everywhere, at that moment."""

    fault: str
    kind: str
    target: str
    in_flight: int = 0
    # A web worker, or the way to it, cannot answer while this lasts (SIGSTOP, black hole): sends may hang on it.
    freezes: bool = False


class FaultOff(Event, frozen=True, kw_only=True, tag="fault_off"):
    """The fault has ended: what was stopped goes on, what was killed is being started again. `recovery`: seconds until all was well, if known."""

    fault: str
    recovery: float | None = None


class FailpointHit(Event, frozen=True, kw_only=True, tag="failpoint_hit"):
    """A failpoint did what it was armed for."""

    name: str
    action: str
    process: str = ""


class Measured(Event, frozen=True, kw_only=True, tag="measured"):
    """`what`: rss (bytes), descriptors, connections (of PostgreSQL), backlog (outbox rows), watermark_lag (s), cpu (s) …

    `before` the first fault and `after` everything has settled are compared with each other; `during` is what recovery is seen by.
    """

    process: str
    what: str
    value: float
    phase: Phase = "during"


class SecretsSearched(Event, frozen=True, kw_only=True, tag="secrets_searched"):
    """So many planted secrets were looked for in so many files; `control_found`: a row planted to be found was."""

    planted: int
    files: int
    control_found: bool


class SecretFound(Event, frozen=True, kw_only=True, tag="secret_found"):
    """A planted secret stands in a file. `label` says which kind; the secret itself is never written."""

    label: str
    file: str


class StoreSearched(Event, frozen=True, kw_only=True, tag="store_searched"):
    """The message store's own tables at the end: so many mailbox rows are acknowledged, and so many of those still have their ciphertext."""

    acknowledged: int
    with_content: int


# --- the dump from PostgreSQL at the end -----------------------------------------------------------------------------------------


class LedgerRow(Event, frozen=True, kw_only=True, tag="ledger_row"):
    """One committed entry. `sender_device` is "0" for what the server wrote."""

    conversation: str
    seq: int
    message_id: str
    mid: str
    sender_device: str
    kind: str


class StayRow(Event, frozen=True, kw_only=True, tag="stay_row"):
    """One stay of a member, both seqs included; `left_seq` None while it lasts."""

    conversation: str
    user: str
    joined_seq: int
    left_seq: int | None = None
    last_read_seq: int = 0


class DeviceRow(Event, frozen=True, kw_only=True, tag="device_row"):
    """One device."""

    device: str
    user: str
    active: bool


class Dumped(Event, frozen=True, kw_only=True, tag="dumped"):
    """The dump is complete. `backlog`: outbox rows left; `watermark_reached`: nothing committed lies at or above the watermark."""

    backlog: int
    watermark_reached: bool


AnyEvent = (
    Began
    | ChangeInvoked
    | ChangeAnswered
    | SocketOpened
    | SocketClosed
    | QueueEmpty
    | SendInvoked
    | SendAnswered
    | EnvelopeReceived
    | Acked
    | Shown
    | Skipped
    | ReadSaid
    | ReceiptHeard
    | HistoryRead
    | HttpAnswered
    | FaultOn
    | FaultOff
    | FailpointHit
    | Measured
    | SecretsSearched
    | SecretFound
    | StoreSearched
    | LedgerRow
    | StayRow
    | DeviceRow
    | Dumped
)

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(AnyEvent)


class OutOfOrder(Exception):
    """A file's events do not follow each other in time."""


class Writer:
    """Appends events to one file, which only this writer writes. It flushes while it writes; call `flush` where a pause may follow."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("ab")
        self._drop_torn_line(path)
        self._waiting = bytearray()
        self._flushed_at = time.monotonic()
        self._last = float("-inf")

    def write(self, event: AnyEvent) -> None:
        """Append an event. Raises OutOfOrder for one that is older than the last: events are written as they happen."""
        if event.at < self._last:
            raise OutOfOrder(f"{type(event).__name__} at {event.at} after {self._last}")
        self._last = event.at
        self._waiting += _encoder.encode(event)
        self._waiting += b"\n"
        if len(self._waiting) >= FLUSH_BYTES or time.monotonic() - self._flushed_at >= FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Afterwards everything written is in the file."""
        self._file.write(self._waiting)
        self._file.flush()
        self._waiting.clear()
        self._flushed_at = time.monotonic()

    def close(self) -> None:
        """Flush and close. Idempotent."""
        if not self._file.closed:
            self.flush()
            self._file.close()

    def _drop_torn_line(self, path: Path) -> None:
        """A line that a killed process did not finish says nothing; what is appended must not continue it."""
        data = path.read_bytes()
        if data and not data.endswith(b"\n"):
            os.truncate(path, data.rfind(b"\n") + 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.close()


def read(paths: Iterable[Path]) -> Iterator[AnyEvent]:
    """The events of all files in the order of their time. Raises OutOfOrder, and msgspec.DecodeError for a line that is no event.

    A last line without its end was torn by a kill, and is ignored.
    """
    return heapq.merge(*(_events(path) for path in paths), key=lambda event: event.at)


def _events(path: Path) -> Iterator[AnyEvent]:
    last = float("-inf")
    with path.open("rb") as lines:
        for line in lines:
            if not line.endswith(b"\n"):
                return
            event = _decoder.decode(line)
            if event.at < last:
                raise OutOfOrder(f"{path.name}: {event.at} after {last}")
            last = event.at
            yield event
