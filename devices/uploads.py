"""The public keys of one request, checked as a whole before anything is stored."""

from collections.abc import Sequence
from dataclasses import dataclass

from devices.public_keys import Prekey, require_curve_key, require_kyber_key, require_signature


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """Keys a device offers. What is None or empty is left as it is."""

    signed_prekey: Prekey | None = None
    one_time_prekeys: Sequence[Prekey] = ()
    last_resort_prekey: Prekey | None = None
    pq_prekeys: Sequence[Prekey] = ()
    pq_last_resort_prekey: Prekey | None = None


def require_valid(upload: Upload, identity_key: bytes, prefix: str = "") -> None:
    """Raise InvalidSignature, naming the field, for the first key that is malformed, unsafe or not signed by the identity key."""
    _signed_curve(upload.signed_prekey, identity_key, f"{prefix}signed_prekey")
    for index, prekey in enumerate(upload.one_time_prekeys):
        require_curve_key(prekey.public_key, f"{prefix}one_time_prekeys.{index}.public_key")
    _signed_curve(upload.last_resort_prekey, identity_key, f"{prefix}last_resort_prekey")
    for index, prekey in enumerate(upload.pq_prekeys):
        _signed_kyber(prekey, identity_key, f"{prefix}pq_prekeys.{index}")
    _signed_kyber(upload.pq_last_resort_prekey, identity_key, f"{prefix}pq_last_resort_prekey")


def _signed_curve(prekey: Prekey | None, identity_key: bytes, field: str) -> None:
    if prekey is not None:
        require_curve_key(prekey.public_key, f"{field}.public_key")
        require_signature(identity_key, prekey, field)


def _signed_kyber(prekey: Prekey | None, identity_key: bytes, field: str) -> None:
    if prekey is not None:
        require_kyber_key(prekey.public_key, f"{field}.public_key")
        require_signature(identity_key, prekey, field)
