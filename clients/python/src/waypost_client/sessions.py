"""Encrypted sessions between this device and others: several per peer, since both may start at once or start anew.

Sealing uses the session that last received something, among those with the peer's pinned identity key. Opening tries
them all. Everything here runs inside the caller's transaction, so a ratchet never moves without its message.
"""

import hashlib
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from doubleratchet import DuplicateMessageException

from .events import Kept
from .handshake import BadHandshake, Greeting, greet, welcome
from .keyring import Keyring
from .peers import Peer, Peers
from .ratchet import Ratchet
from .state import State
from .values import Bundle

RATCHET = 0x42
SENDER_KEY = 0x43
RATCHET_PREFIX = bytes([RATCHET, 1])
MOST_PER_PEER = 10
T = TypeVar("T")


class Reason(StrEnum):
    """Why a message cannot be read. The text is for people and tells nothing of its content."""

    EMPTY = "it carries nothing for this device"
    MALFORMED = "its identifiers are malformed"
    FORMAT = "its format is not known to this client"
    SENDER_KEY = "it is sealed with a sender key, which this client does not know yet"
    CONTENT = "its content is of a kind this client does not know"
    REPEATED = "it was opened before"
    NO_SESSION = "there is no session with its sender"
    NO_PREKEY = "it uses a prekey this device no longer has"
    SEALED = "it does not open with any session of its sender"


SESSION_LOST = frozenset({Reason.NO_SESSION, Reason.NO_PREKEY, Reason.SEALED})


class Undecryptable(Exception):
    """This device cannot open a ciphertext."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason = reason
        self.session_lost = reason in SESSION_LOST


@dataclass(frozen=True, slots=True)
class Address:
    user_id: str
    device_id: str


@dataclass(frozen=True, slots=True)
class _Session:
    id: int
    associated_data: bytes
    greeting: bytes | None
    ratchet: str


def binding(conversation_id: str, client_message_id: str) -> bytes:
    """Where a message belongs. It is authenticated with the ciphertext, so it opens nowhere else."""
    return uuid.UUID(conversation_id).bytes + uuid.UUID(client_message_id).bytes


class Sessions:
    def __init__(self, state: State, keyring: Keyring, peers: Peers) -> None:
        self._state = state
        self._keyring = keyring
        self._peers = peers

    def can_reach(self, peer: Peer) -> bool:
        """Whether a session is there to seal with, without a bundle."""
        return self._current(peer) is not None

    def start(self, peer: Peer, bundle: Bundle, plaintext: bytes, bound_to: bytes) -> bytes:
        """Seal by a new session. BadHandshake when the bundle is not sound."""
        agreement, greeting = greet(
            self._keyring, bundle, parties=_parties(self._own, Address(peer.user_id, peer.device_id))
        )
        ratchet, body = Ratchet.start(
            agreement.secret, agreement.ratchet_key, plaintext, agreement.associated_data + bound_to
        )
        session = _Session(0, agreement.associated_data, greeting.pack(), ratchet.dump())
        self._add(peer.device_id, bundle.identity_key, _base_key(greeting), session)
        self._peers.session_started(peer.device_id)
        return greeting.pack() + body

    def seal(self, peer: Peer, plaintext: bytes, bound_to: bytes) -> bytes:
        """Seal by the current session; there must be one."""
        session = self._current(peer)
        if session is None:
            raise BadHandshake
        ratchet = Ratchet.load(session.ratchet)
        body = ratchet.encrypt(plaintext, session.associated_data + bound_to)
        self._state.db.execute("UPDATE sessions SET ratchet = ? WHERE id = ?", (ratchet.dump(), session.id))
        return (session.greeting or RATCHET_PREFIX) + body

    def open(self, sender: Address, ciphertext: bytes, bound_to: bytes) -> tuple[bytes, list[Kept]]:
        """The plaintext, and what was learnt about the sender's device. Undecryptable leaves every session as it was."""
        if ciphertext[:2] == RATCHET_PREFIX:
            return self._open_by_any(sender, ciphertext[2:], bound_to), []
        if ciphertext[:1] == bytes([SENDER_KEY]):
            raise Undecryptable(Reason.SENDER_KEY)
        try:
            greeting, body = Greeting.unpack(ciphertext)
        except BadHandshake:
            raise Undecryptable(Reason.FORMAT) from None
        known = self._by_base_key(sender.device_id, _base_key(greeting))
        if known is not None:
            return self._open_by(known, body, bound_to), []
        return self._welcome(sender, greeting, body, bound_to)

    def _welcome(self, sender: Address, greeting: Greeting, body: bytes, bound_to: bytes) -> tuple[bytes, list[Kept]]:
        agreement = _try(lambda: welcome(self._keyring, greeting, parties=_parties(sender, self._own)))
        ratchet, plaintext = _try(
            lambda: Ratchet.answer(agreement.secret, agreement.ratchet_key, body, agreement.associated_data + bound_to)
        )
        if greeting.one_time_prekey_id is not None:
            self._keyring.use_up(greeting.one_time_prekey_id)
        news = self._peers.meet(Peer(sender.device_id, sender.user_id, greeting.registration_id, greeting.identity_key))
        session = _Session(0, agreement.associated_data, None, ratchet.dump())
        self._add(sender.device_id, greeting.identity_key, _base_key(greeting), session)
        self._peers.session_started(sender.device_id)
        return plaintext, news

    def _open_by_any(self, sender: Address, body: bytes, bound_to: bytes) -> bytes:
        problem = Undecryptable(Reason.NO_SESSION)
        for session in self._all(sender.device_id):
            try:
                return self._open_by(session, body, bound_to)
            except Undecryptable as error:
                if not error.session_lost:
                    raise
                problem = error
        raise problem

    def _open_by(self, session: _Session, body: bytes, bound_to: bytes) -> bytes:
        ratchet = Ratchet.load(session.ratchet)
        plaintext = _try(lambda: ratchet.decrypt(body, session.associated_data + bound_to))
        self._state.db.execute(
            "UPDATE sessions SET ratchet = ?, greeting = NULL, used = ? WHERE id = ?",
            (ratchet.dump(), self._tick(), session.id),
        )
        return plaintext

    def _add(self, device_id: str, identity_key: bytes, base_key: bytes, session: _Session) -> None:
        self._state.db.execute(
            "INSERT INTO sessions (device_id, identity_key, base_key, associated_data, greeting, ratchet, used) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                device_id,
                identity_key,
                base_key,
                session.associated_data,
                session.greeting,
                session.ratchet,
                self._tick(),
            ),
        )
        self._state.db.execute(
            "DELETE FROM sessions WHERE device_id = ? AND id NOT IN"
            " (SELECT id FROM sessions WHERE device_id = ? ORDER BY used DESC LIMIT ?)",
            (device_id, device_id, MOST_PER_PEER),
        )

    def _tick(self) -> int:
        used = int(self._state.fact("session_uses") or 0) + 1
        self._state.remember(session_uses=used)
        return used

    def _current(self, peer: Peer) -> _Session | None:
        row = self._state.db.execute(
            "SELECT id, associated_data, greeting, ratchet FROM sessions WHERE device_id = ? AND identity_key = ? ORDER BY used DESC LIMIT 1",
            (peer.device_id, peer.identity_key),
        ).fetchone()
        return None if row is None else _Session(*row)

    def _all(self, device_id: str) -> list[_Session]:
        rows = self._state.db.execute(
            "SELECT id, associated_data, greeting, ratchet FROM sessions WHERE device_id = ? ORDER BY used DESC",
            (device_id,),
        )
        return [_Session(*row) for row in rows.fetchall()]

    def _by_base_key(self, device_id: str, base_key: bytes) -> _Session | None:
        row = self._state.db.execute(
            "SELECT id, associated_data, greeting, ratchet FROM sessions WHERE device_id = ? AND base_key = ?",
            (device_id, base_key),
        ).fetchone()
        return None if row is None else _Session(*row)

    @property
    def _own(self) -> Address:
        return Address(self._state.fact("user_id"), self._state.fact("device_id"))


def _base_key(greeting: Greeting) -> bytes:
    """What tells one session from another: the greeting without the registration id, which may change."""
    return hashlib.sha256(greeting.pack()[4:]).digest()


def _parties(first: Address, second: Address) -> bytes:
    return f"{first.user_id}/{first.device_id}>{second.user_id}/{second.device_id}".encode()


def _try(step: Callable[[], T]) -> T:
    try:
        return step()
    except BadHandshake:
        raise Undecryptable(Reason.NO_PREKEY) from None
    except DuplicateMessageException:
        raise Undecryptable(Reason.REPEATED) from None
    except Exception:  # noqa: BLE001 - hostile bytes may raise anything in three libraries, and must not stop the queue
        raise Undecryptable(Reason.SEALED) from None
