"""PINs as they are stored: argon2id over a keyed hash, so that neither the database alone nor PIN_PEPPER alone helps anybody to guess.

A hash costs some 30 ms of a core and 19 MiB. The library lets other threads run meanwhile, and the synchronous road is on threads of its own: the event
loop does not wait. At most PIN_HASHES_AT_ONCE are made at a time in one process.
"""

import functools
import hashlib
import hmac
import threading
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from argon2 import PasswordHasher
from argon2.exceptions import VerifyMismatchError
from django.conf import settings

from accounts.transactions import release_connection
from accounts.wire.refusals import StorageUnavailable

# OWASP's least for argon2id with 19 MiB.
_HASHER = PasswordHasher(time_cost=2, memory_cost=19456, parallelism=1)
TURN_SECONDS = 1.5
_NOBODY = UUID(int=0)


@contextmanager
def turn() -> Iterator[None]:
    """The right to make a hash. Raises StorageUnavailable when so many others have it that none ends in time.

    Whoever waits keeps no connection to PostgreSQL from others.
    """
    turns = _turns(settings.PIN_HASHES_AT_ONCE)
    release_connection()
    if not turns.acquire(timeout=TURN_SECONDS):
        raise StorageUnavailable(retry_after=TURN_SECONDS)
    try:
        yield
    finally:
        turns.release()


def hash_pin(user_id: UUID, pin: str) -> str:
    """The form to store. Of this person alone: it fits nobody else's row. Needs a turn."""
    return _HASHER.hash(_keyed(user_id, pin))


def matches(secret_hash: str, user_id: UUID, pin: str) -> bool:
    """Whether this is the PIN that was stored. Needs a turn."""
    try:
        return _HASHER.verify(secret_hash, _keyed(user_id, pin))
    except VerifyMismatchError:
        return False


def work_for_nothing(pin: str) -> None:
    """Take as long as a comparison, where there is no PIN to compare with. Needs a turn."""
    matches(_nobodys_hash(), _NOBODY, pin)


# No PIN has as many characters, however they are composed; composing more takes time with the square of their number.
LONGEST_TYPED = 128


def _keyed(user_id: UUID, pin: str) -> bytes:
    """Under PIN_PEPPER. The same characters are the same PIN, however a keyboard composes them."""
    typed = unicodedata.normalize("NFC", pin[:LONGEST_TYPED]).encode()
    return hmac.digest(settings.PIN_PEPPER.encode(), user_id.bytes + typed, hashlib.sha256)


@functools.cache
def _nobodys_hash() -> str:
    return _HASHER.hash(b"")


@functools.cache
def _turns(most: int) -> threading.BoundedSemaphore:
    return threading.BoundedSemaphore(most)
