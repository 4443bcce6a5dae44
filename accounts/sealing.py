"""Entries of the cache as they lie in Valkey: whoever can write there cannot make up an entry, move it to another place, or keep it alive.

Valkey does not have the key (HINT_KEY). What does not verify, or is past its time, counts as not there.
"""

import functools
import hmac
import time
from dataclasses import dataclass
from typing import Any

import msgpack
from django.conf import settings

from accounts.derivation import key_from

MAC_BYTES = 16


@dataclass(frozen=True, slots=True)
class Found:
    """What an entry holds; a value may be None."""

    value: Any


def place_of(name: str, key: str) -> str:
    """Where the entry lies. Neither the key nor a guess at it can be read off the place; in a cluster all of a place is on one node."""
    return f"cache:{name}:{{{_mac('place', name, key.encode()).hex()}}}"


def seal(place: str, value: Any, seconds: float) -> bytes:
    """The entry of a value for so long. Raises TypeError for what msgpack would give back as something else (a tuple, a UUID, a time)."""
    body: bytes = msgpack.packb([time.time() + seconds, value], strict_types=True)
    return _mac("entry", place, body) + body


def unseal(place: str, entry: bytes) -> Found | None:
    """What was sealed for this place; None when that was not here, or is over."""
    mac, body = entry[:MAC_BYTES], entry[MAC_BYTES:]
    if not hmac.compare_digest(mac, _mac("entry", place, body)):
        return None
    until, value = msgpack.unpackb(body)
    return Found(value) if time.time() < until else None


def _mac(purpose: str, place: str, body: bytes) -> bytes:
    message = f"{purpose}\0{place}\0".encode() + body
    return hmac.digest(_key(settings.HINT_KEY), message, "sha256")[:MAC_BYTES]


@functools.cache
def _key(secret: str) -> bytes:
    return key_from(secret, "cache")
