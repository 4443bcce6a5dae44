"""The devices of other people, and the own other ones: what was last known of each, with its identity key pinned.

Trust on first use: the first identity key seen is kept, and any other one afterwards is told as an event.
"""

import time
from dataclasses import dataclass

from .events import DeviceAdded, IdentityChanged, Kept
from .keyring import Keyring
from .keys import fingerprint, link_statement, verifies
from .state import State
from .values import Bundle

COLUMNS = "device_id, user_id, registration_id, identity_key, wants_session"
# Fetching bundles is limited, and what was sent before the new session arrived cannot be read anyway.
NEW_SESSION_AFTER = 300.0


@dataclass(frozen=True, slots=True)
class Peer:
    device_id: str
    user_id: str
    registration_id: int
    identity_key: bytes
    wants_session: bool = False


class Peers:
    """Methods that write belong to the caller's transaction."""

    def __init__(self, state: State) -> None:
        self._state = state

    def get(self, device_id: str) -> Peer | None:
        row = self._state.db.execute(f"SELECT {COLUMNS} FROM peers WHERE device_id = ?", (device_id,)).fetchone()  # noqa: S608 - a constant
        return None if row is None else _peer(row)

    def of_user(self, user_id: str) -> list[Peer]:
        """The devices a message to this user is sealed for."""
        rows = self._state.db.execute(
            f"SELECT {COLUMNS} FROM peers WHERE user_id = ? AND active ORDER BY device_id",  # noqa: S608 - a constant
            (user_id,),
        )
        return [_peer(row) for row in rows]

    def roster_known(self, user_id: str) -> bool:
        return self._state.db.execute("SELECT 1 FROM rosters WHERE user_id = ?", (user_id,)).fetchone() is not None

    def know_roster(self, user_id: str) -> None:
        self._state.db.execute("INSERT OR IGNORE INTO rosters (user_id) VALUES (?)", (user_id,))

    def meet(self, peer: Peer, *, vouched: bool = False, first_contact: bool = False) -> list[Kept]:
        """Pin this device's identity key, or replace the pinned one. The events say what its owner's friends should know;
        at the first contact with a person every device is new, and none is news."""
        known = self.get(peer.device_id)
        news: list[Kept] = []
        if known is None and not first_contact and self._has_others(peer):
            news.append(_added(peer, vouched=vouched))
        elif known is not None and known.identity_key != peer.identity_key:
            news.append(_changed(known, peer))
        self._state.db.execute(
            "INSERT INTO peers (device_id, user_id, registration_id, identity_key) VALUES (?, ?, ?, ?) ON CONFLICT (device_id) DO UPDATE"
            " SET user_id = excluded.user_id, registration_id = excluded.registration_id, identity_key = excluded.identity_key, active = 1",
            (peer.device_id, peer.user_id, peer.registration_id, peer.identity_key),
        )
        return news

    def pin(self, device_id: str, user_id: str, identity_key: bytes) -> None:
        """Know a device's key before anything else is known of it: another key will be told of."""
        self._state.db.execute(
            "INSERT OR REPLACE INTO peers (device_id, user_id, registration_id, identity_key, active) VALUES (?, ?, 0, ?, 0)",
            (device_id, user_id, identity_key),
        )

    def vouched(self, user_id: str, bundle: Bundle) -> bool:
        """Whether a device we know of the same user signed for this one, with the key we have pinned for it. We know ourselves too."""
        link = bundle.linked_by
        if link is None or bundle.device_uuid is None:
            return False
        if (user_id, link.device_id) == (self._state.fact("user_id"), self._state.fact("device_id")):
            known: bytes | None = Keyring(self._state).identity_key
        else:
            voucher = self.get(link.device_id)
            known = voucher.identity_key if voucher is not None and voucher.user_id == user_id else None
        if known != link.identity_key:
            return False
        return verifies(
            link.identity_key, link_statement(user_id, bundle.identity_key, bundle.device_uuid), link.signature
        )

    def retire(self, device_id: str) -> None:
        """Seal nothing for this device any more. Its pinned key stays, should it come back."""
        self._state.db.execute("UPDATE peers SET active = 0 WHERE device_id = ?", (device_id,))

    def revive(self, device_id: str) -> None:
        self._state.db.execute("UPDATE peers SET active = 1 WHERE device_id = ?", (device_id,))

    def want_session(self, device_id: str) -> None:
        """The next message to this device starts a new session, unless the last start was a moment ago."""
        self._state.db.execute(
            "UPDATE peers SET wants_session = 1 WHERE device_id = ? AND met_at < ?",
            (device_id, time.time() - NEW_SESSION_AFTER),
        )

    def session_started(self, device_id: str) -> None:
        self._state.db.execute(
            "UPDATE peers SET wants_session = 0, met_at = ? WHERE device_id = ?", (time.time(), device_id)
        )

    def _has_others(self, peer: Peer) -> bool:
        found = self._state.db.execute(
            "SELECT 1 FROM peers WHERE user_id = ? AND device_id <> ? LIMIT 1", (peer.user_id, peer.device_id)
        )
        return found.fetchone() is not None


def _peer(row: tuple[str, str, int, bytes, int]) -> Peer:
    return Peer(row[0], row[1], row[2], row[3], bool(row[4]))


def _added(peer: Peer, *, vouched: bool) -> DeviceAdded:
    return DeviceAdded(
        user_id=peer.user_id, device_id=peer.device_id, fingerprint=fingerprint(peer.identity_key), vouched=vouched
    )


def _changed(known: Peer, peer: Peer) -> IdentityChanged:
    return IdentityChanged(
        user_id=peer.user_id,
        device_id=peer.device_id,
        old_fingerprint=fingerprint(known.identity_key),
        new_fingerprint=fingerprint(peer.identity_key),
    )
