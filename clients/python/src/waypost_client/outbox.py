"""The queue of what this device wants to say. An entry stays, under its one id, until the server has given its answer."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from .state import State
from .values import Sent

COLUMNS = "id, conversation_id, client_message_id, text, written_at, reply_to, sealed"


class Copy(msgspec.Struct, frozen=True):
    """One device's ciphertext."""

    device_id: str
    registration_id: int
    ciphertext: bytes


class Failure(msgspec.Struct, frozen=True):
    """A refusal for good."""

    error_code: str
    error: str


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A queued message; `copies` is None while it is not sealed yet."""

    number: int
    conversation_id: str
    client_message_id: str
    text: str
    written_at: datetime
    reply_to: str | None
    copies: tuple[Copy, ...] | None

    def fields(self) -> dict[str, Any]:
        """The fields of a `send`, without those of its envelope."""
        fields: dict[str, Any] = {
            "client_message_id": self.client_message_id,
            "kind": "message",
            "messages": [msgspec.structs.asdict(copy) for copy in self.copies or ()],
        }
        return fields | ({"reply_to": self.reply_to} if self.reply_to else {})


class Outbox:
    def __init__(self, state: State) -> None:
        self._state = state

    def put(
        self, conversation_id: str, client_message_id: str, text: str, written_at: datetime, reply_to: str | None = None
    ) -> int:
        """Queue it. After this it survives a kill. Gives the number to ask for its answer with."""
        with self._state.transaction() as db:
            row = db.execute(
                "INSERT INTO outbox (conversation_id, client_message_id, text, written_at, reply_to) VALUES (?, ?, ?, ?, ?) RETURNING id",
                (conversation_id, client_message_id, text, written_at.isoformat(), reply_to),
            ).fetchone()
        return int(row[0])

    def conversations(self) -> list[str]:
        """Where something waits to be sent."""
        rows = self._state.db.execute(
            "SELECT conversation_id FROM outbox WHERE answer IS NULL GROUP BY conversation_id ORDER BY min(id)"
        )
        return [conversation_id for (conversation_id,) in rows.fetchall()]

    def first(self, conversation_id: str) -> Outgoing | None:
        """The oldest waiting entry there; it is the only one that may be in flight."""
        row = self._state.db.execute(
            f"SELECT {COLUMNS} FROM outbox WHERE conversation_id = ? AND answer IS NULL ORDER BY id LIMIT 1",  # noqa: S608 - a constant
            (conversation_id,),
        ).fetchone()
        return None if row is None else _outgoing(row)

    def keep_sealed(self, outgoing: Outgoing, copies: tuple[Copy, ...]) -> None:
        """Belongs to the transaction in which the ratchets moved."""
        self._state.db.execute(
            "UPDATE outbox SET sealed = ? WHERE id = ?", (msgspec.msgpack.encode(copies), outgoing.number)
        )

    def rename(self, outgoing: Outgoing, client_message_id: str) -> None:
        """Give another id to what was refused because of its id, so was never stored."""
        with self._state.transaction() as db:
            db.execute(
                "UPDATE outbox SET client_message_id = ?, sealed = NULL WHERE id = ?",
                (client_message_id, outgoing.number),
            )

    def answer(self, outgoing: Outgoing, answer: Sent | Failure) -> None:
        """The server's last word on it: it leaves the queue and waits to be collected. Belongs to the caller's transaction."""
        self._state.db.execute(
            "UPDATE outbox SET answer = ?, sealed = NULL WHERE id = ?", (msgspec.json.encode(answer), outgoing.number)
        )

    def collect(self, number: int) -> Sent | Failure | None:
        """The answer to an entry, once; None while there is none."""
        row = self._state.db.execute("SELECT answer FROM outbox WHERE id = ?", (number,)).fetchone()
        if row is None or row[0] is None:
            return None
        with self._state.transaction() as db:
            db.execute("DELETE FROM outbox WHERE id = ?", (number,))
        return _answer(row[0])

    def tidy(self) -> None:
        """Forget answers nobody came for within a day."""
        yesterday = datetime.now(UTC) - timedelta(days=1)
        with self._state.transaction() as db:
            db.execute("DELETE FROM outbox WHERE answer IS NOT NULL AND written_at < ?", (yesterday.isoformat(),))


def _answer(stored: bytes) -> Sent | Failure:
    try:
        return msgspec.json.decode(stored, type=Failure)
    except msgspec.ValidationError:
        return msgspec.json.decode(stored, type=Sent)


def _outgoing(row: Any) -> Outgoing:
    copies = None if row[6] is None else msgspec.msgpack.decode(row[6], type=tuple[Copy, ...])
    return Outgoing(row[0], row[1], row[2], row[3], datetime.fromisoformat(row[4]), row[5], copies)
