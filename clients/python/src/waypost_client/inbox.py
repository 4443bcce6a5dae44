"""What arrives: opened, kept and put in order in one transaction, and only then acknowledged by the caller."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

from .events import Kept, Message, Missing, SystemEvent, Unreadable, decode, encode
from .ordering import Lane, Verdict
from .payload import BadPayload, unpack
from .peers import Peers
from .sessions import Address, Reason, Sessions, Undecryptable, binding
from .state import State
from .values import Envelope, Resolved, Sent

MEMBERSHIP = frozenset(
    {"conversation_created", "member_added", "member_removed", "member_left", "role_changed", "renamed", "updated"}
)


class Inbox:
    """The conversations of one device, as it has seen them."""

    def __init__(self, state: State, sessions: Sessions, peers: Peers) -> None:
        self._state = state
        self._sessions = sessions
        self._peers = peers
        self._lanes: dict[str, Lane] = {}

    def receive(self, envelopes: Iterable[Envelope], now: float) -> None:
        """Open these and keep them. After this they may be acknowledged: neither text nor ratchet can be lost."""
        with self._changing():
            for envelope in envelopes:
                self._take(envelope, now)

    def accept(self, sent: Sent, event: Message, now: float) -> None:
        """An own message got its place. Belongs to the caller's transaction, as the queue entry goes in the same."""
        self._state.db.execute(
            "INSERT OR IGNORE INTO messages (conversation_id, message_id, seq, sender_device_id, client_message_id, own, event)"
            " VALUES (?, ?, ?, ?, ?, 1, ?)",
            (
                sent.conversation_id,
                sent.message_id,
                sent.seq,
                event.sender_device_id,
                sent.client_message_id,
                encode(event),
            ),
        )
        lane = self._lane(sent.conversation_id, now)
        self._show(sent.conversation_id, lane, lane.fill(sent.seq, now))

    def questions(self, now: float, *, at_once: bool = False) -> list[tuple[str, int, int]]:
        """Gaps that are old enough to ask the server about, or all: conversation, first and last seq."""
        asked = [
            (conversation_id, lane.question(now, at_once=at_once)) for conversation_id, lane in self._lanes.items()
        ]
        return [(conversation_id, *gap) for conversation_id, gap in asked if gap is not None]

    def asked_enough(self, conversation_id: str) -> bool:
        """Whether the gap in it was asked about again and again."""
        lane = self._lanes.get(conversation_id)
        return lane is not None and lane.asked_enough

    def answers(self, conversation_id: str, items: Sequence[Resolved], now: float) -> list[str]:
        """Go on past a gap as the server says. Gives the message_ids that came with the answer and are kept now."""
        lane = self._lane(conversation_id, now)
        came = [item.envelope for item in items if item.envelope is not None and _has_content(item.envelope)]
        verdicts = {item.seq: _verdict(item, lane) for item in items}
        with self._changing():
            for envelope in came:
                self._take(envelope, now)
            for first, last in _runs(seq for seq, verdict in verdicts.items() if verdict is Verdict.UNAVAILABLE):
                self.tell(Missing(conversation_id=conversation_id, from_seq=first, to_seq=last))
            self._show(conversation_id, lane, lane.answer(verdicts, now))
        return [envelope.message_id for envelope in came]

    def watch(self, now: float) -> None:
        """Take up again what was held back when the profile was last open."""
        for (conversation_id,) in self._state.db.execute(
            "SELECT DISTINCT conversation_id FROM messages WHERE shown = 0"
        ).fetchall():
            self._lane(conversation_id, now)

    def forget(self) -> None:
        """Read everything from disk again: another process may go on from here."""
        self._lanes.clear()

    def tell(self, event: Kept) -> None:
        """Keep an event until its owner has seen it. Belongs to the caller's transaction."""
        self._state.db.execute("INSERT INTO events (event) VALUES (?)", (encode(event),))

    def events_after(self, last: int, limit: int) -> list[tuple[int, Kept]]:
        rows = self._state.db.execute(
            "SELECT id, event FROM events WHERE id > ? ORDER BY id LIMIT ?", (last, limit)
        ).fetchall()
        return [(number, decode(event)) for number, event in rows]

    def seen(self, last: int) -> None:
        """Its owner has seen every event up to this one; they are not told again."""
        if last == 0:
            return
        with self._state.transaction() as db:
            db.execute("DELETE FROM events WHERE id <= ?", (last,))

    def history(self, conversation_id: str, *, before: int | None, limit: int) -> list[Kept]:
        """What this device has opened or sent there, newest last."""
        rows = self._state.db.execute(
            "SELECT event FROM messages WHERE conversation_id = ? AND seq < ? AND event IS NOT NULL AND (shown OR own)"
            " ORDER BY seq DESC LIMIT ?",
            (conversation_id, before or 2**62, limit),
        ).fetchall()
        return [decode(event) for (event,) in reversed(rows)]

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """A transaction; when it fails, what is in memory is forgotten and read from disk again."""
        try:
            with self._state.transaction():
                yield
        except BaseException:
            self._lanes.clear()
            raise

    def _take(self, envelope: Envelope, now: float) -> None:
        lane = self._lane(envelope.conversation_id, now)
        if not self._known(envelope):
            late = lane.next_seq is not None and envelope.seq < lane.next_seq
            self._keep(envelope, self._read(envelope, late=late))
            self._note(envelope)
        shown = self._cover(lane, envelope, now) + lane.arrive(envelope.seq, now, start=bool(envelope.start))
        self._show(envelope.conversation_id, lane, shown)

    def _known(self, envelope: Envelope) -> bool:
        """By message_id, and by sender and client_message_id: a second copy under another id is not shown either."""
        row = self._state.db.execute(
            "SELECT 1 FROM messages WHERE conversation_id = ? AND (message_id = ?"
            " OR (client_message_id = ? AND sender_device_id = ? AND ? = 'message')) LIMIT 1",
            (
                envelope.conversation_id,
                envelope.message_id,
                envelope.client_message_id,
                envelope.sender_device_id,
                envelope.kind,
            ),
        ).fetchone()
        return row is not None

    def _keep(self, envelope: Envelope, event: Kept | None) -> None:
        self._state.db.execute(
            "INSERT INTO messages (conversation_id, message_id, seq, sender_device_id, client_message_id, event) VALUES (?, ?, ?, ?, ?, ?)",
            (
                envelope.conversation_id,
                envelope.message_id,
                envelope.seq,
                envelope.sender_device_id,
                envelope.client_message_id,
                None if event is None else encode(event),
            ),
        )

    def _note(self, envelope: Envelope) -> None:
        """A change of members makes what is remembered of the conversation stale."""
        if envelope.system and envelope.system.get("event") in MEMBERSHIP:
            self._state.db.execute(
                "UPDATE conversations SET fresh = 0 WHERE conversation_id = ?", (envelope.conversation_id,)
            )

    def _cover(self, lane: Lane, envelope: Envelope, now: float) -> list[int]:
        gap = envelope.system or {}
        first, last = gap.get("from_seq"), gap.get("to_seq")
        if gap.get("event") != "gap" or not isinstance(first, int) or not isinstance(last, int):
            return []
        return lane.cover(first, last, now)

    def _show(self, conversation_id: str, lane: Lane, seqs: Iterable[int]) -> None:
        for seq in seqs:
            rows = self._state.db.execute(
                "UPDATE messages SET shown = 1 WHERE conversation_id = ? AND seq = ? AND shown = 0 RETURNING own, event",
                (conversation_id, seq),
            ).fetchall()
            self._state.db.executemany(
                "INSERT INTO events (event) VALUES (?)", [(event,) for own, event in rows if event and not own]
            )
        self._state.db.execute(
            "INSERT INTO conversations (conversation_id, next_seq) VALUES (?, ?)"
            " ON CONFLICT (conversation_id) DO UPDATE SET next_seq = excluded.next_seq",
            (conversation_id, lane.next_seq),
        )

    def _read(self, envelope: Envelope, *, late: bool) -> Kept | None:
        if envelope.kind == "system":
            return _system(envelope, late=late)
        if envelope.kind != "message" or envelope.deleted:
            return None
        try:
            return self._open(envelope, late=late)
        except Undecryptable as problem:
            if problem.session_lost and envelope.sender_device_id:
                self._peers.want_session(envelope.sender_device_id)
            return _unreadable(envelope, problem.reason, late=late)

    def _open(self, envelope: Envelope, *, late: bool) -> Message:
        user_id, device_id, client_message_id = (
            envelope.sender_user_id,
            envelope.sender_device_id,
            envelope.client_message_id,
        )
        if not user_id or not device_id or not client_message_id or not envelope.ciphertext:
            raise Undecryptable(Reason.EMPTY)
        bound_to = _bound_to(envelope.conversation_id, client_message_id)
        plaintext, news = self._sessions.open(Address(user_id, device_id), envelope.ciphertext, bound_to)
        for event in news:
            self.tell(event)
        try:
            text = unpack(plaintext)
        except BadPayload:
            raise Undecryptable(Reason.CONTENT) from None
        return Message(
            conversation_id=envelope.conversation_id,
            seq=envelope.seq,
            message_id=envelope.message_id,
            client_message_id=client_message_id,
            sender_user_id=user_id,
            sender_device_id=device_id,
            text=text.text,
            sent_at=envelope.sent_at or datetime.now(UTC),
            written_at=text.sent_at,
            reply_to=text.reply_to,
            late=late,
        )

    def _lane(self, conversation_id: str, now: float) -> Lane:
        if conversation_id not in self._lanes:
            self._lanes[conversation_id] = self._load(conversation_id, now)
        return self._lanes[conversation_id]

    def _load(self, conversation_id: str, now: float) -> Lane:
        row = self._state.db.execute(
            "SELECT next_seq FROM conversations WHERE conversation_id = ?", (conversation_id,)
        ).fetchone()
        held = self._state.db.execute(
            "SELECT seq, own FROM messages WHERE conversation_id = ? AND shown = 0", (conversation_id,)
        ).fetchall()
        return Lane(
            row[0] if row else None,
            arrived=(seq for seq, own in held if not own),
            own=(seq for seq, own in held if own),
            now=now,
        )


def _system(envelope: Envelope, *, late: bool) -> SystemEvent:
    details = dict(envelope.system or {})
    return SystemEvent(
        conversation_id=envelope.conversation_id,
        seq=envelope.seq,
        message_id=envelope.message_id,
        event=str(details.pop("event", "unknown")),
        actor_user_id=details.pop("actor_user_id", None),
        user_id=details.pop("user_id", None),
        details=details,
        sent_at=envelope.sent_at,
        late=late,
    )


def _unreadable(envelope: Envelope, reason: str, *, late: bool) -> Unreadable:
    return Unreadable(
        conversation_id=envelope.conversation_id,
        seq=envelope.seq,
        message_id=envelope.message_id,
        reason=reason,
        sender_user_id=envelope.sender_user_id,
        sender_device_id=envelope.sender_device_id,
        sent_at=envelope.sent_at,
        late=late,
    )


def _bound_to(conversation_id: str, client_message_id: str) -> bytes:
    try:
        return binding(conversation_id, client_message_id)
    except ValueError:
        raise Undecryptable(Reason.MALFORMED) from None


def _has_content(envelope: Envelope) -> bool:
    return bool(envelope.ciphertext or envelope.shared or envelope.system)


def _verdict(item: Resolved, lane: Lane) -> Verdict:
    """A committed seq is waited for; one that the server has emptied only as long as it might still be on its way."""
    emptied = item.envelope is not None and not _has_content(item.envelope)
    if emptied and item.envelope and item.envelope.deleted:
        # Deleted or expired: there is nothing to tell anybody.
        return Verdict.EMPTY
    if item.state in (Verdict.NOT_FOR_YOU, Verdict.UNAVAILABLE):
        return Verdict(item.state)
    return Verdict.UNAVAILABLE if emptied and lane.asked_enough else Verdict.COMMITTED


def _runs(seqs: Iterable[int]) -> list[tuple[int, int]]:
    runs: list[tuple[int, int]] = []
    for seq in sorted(seqs):
        if runs and runs[-1][1] == seq - 1:
            runs[-1] = (runs[-1][0], seq)
        else:
            runs.append((seq, seq))
    return runs
