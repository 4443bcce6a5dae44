"""This device's own keys: identity, signed prekeys, one-time prekeys, last resort. Private sides stay in the profile."""

import hashlib
import secrets
import time
from dataclasses import dataclass

import xeddsa

from .keys import public_of, sign
from .state import State
from .values import Prekey, SignedPrekey

POOL = 100
ROTATE_AFTER = 7 * 86400.0
# Mail waits 45 days at the server; what it was sealed for must still be there so long after others were last given that key.
KEEP_REPLACED = 60 * 86400.0
# Key ids are below; so near to the end low ones count as risen for the server.
NUMBERS, WRAPS_WITHIN = 2**24, 2**16


@dataclass(frozen=True, slots=True)
class PrivateKey:
    private: bytes
    public: bytes
    signature: bytes | None
    created_at: float


class Keyring:
    """The keys of one profile. Methods that write belong to the caller's transaction."""

    def __init__(self, state: State) -> None:
        self._state = state

    def create(self) -> None:
        """Make the identity of a new device. It stays what it is for the life of the profile."""
        identity = xeddsa.seed_to_priv(secrets.token_bytes(32))
        self._state.remember(
            identity=identity, registration_id=secrets.randbelow(16383) + 1, next_prekey_id=1, next_signed_id=1
        )
        self.renew()

    @property
    def identity(self) -> bytes:
        return bytes(self._state.fact("identity"))

    @property
    def identity_key(self) -> bytes:
        return public_of(self.identity)

    @property
    def registration_id(self) -> int:
        return int(self._state.fact("registration_id"))

    def signed_prekey(self) -> SignedPrekey:
        return self._public_signed("signed")

    def last_resort_prekey(self) -> SignedPrekey:
        return self._public_signed("last_resort")

    def one_time_prekeys(self) -> list[Prekey]:
        """A full load of keys the server does not have yet, lowest id first. A repeated upload repeats the same keys."""
        for _ in range(POOL - len(self._waiting())):
            self._add("one_time")
        return [Prekey(key_id=key_id, public_key=public) for key_id, public in self._waiting()[:POOL]]

    def leap(self) -> None:
        """The next one-time prekeys and last resorts are among the last numbers, so that they are above any that others have used in this device's name."""
        number = int(self._state.fact("next_prekey_id"))
        target = NUMBERS - WRAPS_WITHIN + number
        self._state.remember(next_prekey_id=target if target < NUMBERS else (number + NUMBERS) // 2)

    def uploaded(self, prekeys: list[Prekey]) -> None:
        self._state.db.executemany(
            "UPDATE prekeys SET uploaded = 1 WHERE slot = 'one_time' AND key_id = ?", [(key.key_id,) for key in prekeys]
        )

    def renew(self) -> None:
        """Make the next signed prekey and the next last resort; the former ones go on opening what was sealed for them."""
        self._add("signed", signed=True)
        self._add("last_resort", signed=True)

    def published(self) -> None:
        """The newest signed prekey and last resort are those that others get from now on. What was replaced long ago goes."""
        now = time.time()
        for slot, key in (("signed", self.signed_prekey()), ("last_resort", self.last_resort_prekey())):
            self._state.db.execute(
                "UPDATE prekeys SET created_at = ?, uploaded = 1 WHERE slot = ? AND key_id = ? AND NOT uploaded",
                (now, slot, key.key_id),
            )
        self._state.db.execute(
            "DELETE FROM prekeys WHERE slot IN ('signed', 'last_resort') AND EXISTS (SELECT 1 FROM prekeys n"
            " WHERE n.slot = prekeys.slot AND n.key_id > prekeys.key_id AND n.uploaded AND n.created_at < ?)",
            (now - KEEP_REPLACED,),
        )

    def digest(self) -> bytes:
        """What the server compares with the keys it has: the identity key and the keys that stay."""
        stay = (self.signed_prekey(), self.last_resort_prekey())
        numbered = (key.key_id.to_bytes(4, "big") + key.public_key for key in stay)
        return hashlib.sha256(self.identity_key + b"".join(numbered)).digest()

    def wants_rotation(self) -> bool:
        created_at = self._state.db.execute("SELECT max(created_at) FROM prekeys WHERE slot = 'signed'").fetchone()[0]
        return bool(time.time() - created_at > ROTATE_AFTER)

    def newest_signed(self) -> PrivateKey:
        found = self.find("signed", self.signed_prekey().key_id)
        assert found is not None  # noqa: S101 - create() made one
        return found

    def find(self, slot: str, key_id: int) -> PrivateKey | None:
        """A private prekey by its id. One-time keys and the last resort share their numbers."""
        row = self._state.db.execute(
            "SELECT private, public, signature, created_at FROM prekeys WHERE slot IN (?, ?) AND key_id = ?",
            (slot, "last_resort" if slot == "one_time" else slot, key_id),
        ).fetchone()
        return None if row is None else PrivateKey(*row)

    def use_up(self, key_id: int) -> None:
        """Forget a one-time prekey. The last resort stays."""
        self._state.db.execute("DELETE FROM prekeys WHERE slot = 'one_time' AND key_id = ?", (key_id,))

    def _waiting(self) -> list[tuple[int, bytes]]:
        return self._state.db.execute(
            "SELECT key_id, public FROM prekeys WHERE slot = 'one_time' AND NOT uploaded ORDER BY key_id"
        ).fetchall()

    def _public_signed(self, slot: str) -> SignedPrekey:
        key_id, public, signature = self._state.db.execute(
            "SELECT key_id, public, signature FROM prekeys WHERE slot = ? ORDER BY key_id DESC LIMIT 1", (slot,)
        ).fetchone()
        return SignedPrekey(key_id=key_id, public_key=public, signature=signature)

    def _add(self, slot: str, *, signed: bool = False) -> None:
        counter = "next_signed_id" if slot == "signed" else "next_prekey_id"
        key_id = int(self._state.fact(counter))
        private = secrets.token_bytes(32)
        public = public_of(private)
        signature = sign(self.identity, public) if signed else None
        self._state.db.execute(
            "INSERT INTO prekeys (slot, key_id, private, public, signature, created_at) VALUES (?, ?, ?, ?, ?, ?)",
            (slot, key_id, private, public, signature, time.time()),
        )
        self._state.remember(**{counter: key_id + 1})
