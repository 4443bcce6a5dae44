"""The server's key for web push (VAPID, RFC 8292): a point of P-256, written as browsers want it, in base64url without padding."""

import base64
import re
from collections.abc import Sequence

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from django.core.exceptions import ImproperlyConfigured

KEY_BYTES = 32
_WRITTEN = re.compile(r"[A-Za-z0-9_-]{43}")


def new_private_key() -> str:
    """A key for VAPID_PRIVATE_KEY."""
    number = ec.generate_private_key(ec.SECP256R1()).private_numbers().private_value
    return _write(number.to_bytes(KEY_BYTES, "big"))


def public_key(private_key: str) -> str:
    """What browsers are given as `applicationServerKey`. Raises ImproperlyConfigured for what is no key."""
    try:
        if not _WRITTEN.fullmatch(private_key):
            raise ValueError
        number = int.from_bytes(base64.urlsafe_b64decode(private_key + "="), "big")
        point = ec.derive_private_key(number, ec.SECP256R1()).public_key()
    except ValueError as failure:
        raise ImproperlyConfigured("VAPID_PRIVATE_KEY must be a key that `manage.py vapid_key` has made.") from failure
    return _write(point.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint))


def host_of(allowed_hosts: Sequence[str]) -> str:
    """The first name of this server, for telling push services who it is."""
    return next((host.lstrip(".") for host in allowed_hosts if host != "*"), "localhost")


def _write(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
