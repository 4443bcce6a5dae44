"""A device and the public keys the server has of it."""

import hashlib
import hmac
from collections.abc import Sequence

from accounts.limits import Limit, WithoutRedis, spend
from accounts.security_events import Kind, note
from accounts.transactions import short_transaction
from accounts.wire.refusals import InvalidRequest, InvalidToken
from devices import key_ids, prekeys
from devices.current import CurrentDevice
from devices.models import Device, SignedPrekey
from devices.prekeys import PoolCount
from devices.public_keys import Prekey
from devices.signals import ask_for_prekeys
from devices.uploads import Upload, require_valid

# Clients count one by one; a batch that was made and never uploaded is no leap yet.
LEAP = 256
LEAPS = Limit("PREKEY_LEAPS_PER_DAY", 86_400, WithoutRedis.COUNT_HERE)


def upload(caller: CurrentDevice, keys: Upload) -> PoolCount:
    """Keep the caller's keys. Raises, and keeps none, InvalidRequest for a key id nobody comes to by counting, InvalidSignature when a key is not
    valid, RateLimited for whoever leaps again and again.

    The first one-time prekeys of an era are not kept (see `prekeys`): then the device is asked for more at once.
    """
    with short_transaction():
        device = _lock(caller)
        _require_near(device, keys)
        require_valid(keys, bytes(device.identity_key))
        _count_leap(device, keys)
        is_left_out = prekeys.store(device, keys)
        left = prekeys.count(device.pk)
        if is_left_out:
            note(Kind.PREKEYS_DISCARDED, user_id=device.user_id, device_id=device.pk)
            ask_for_prekeys(device.pk, count=left.curve, pq_count=left.pq)
        return left


def _pools(device: Device, keys: Upload) -> tuple[tuple[str, Sequence[int], int], ...]:
    """Of each kind of one-time prekeys: the field, its key ids, and the highest so far."""
    curve, pq = ([prekey.key_id for prekey in pool] for pool in (keys.one_time_prekeys, keys.pq_prekeys))
    return ("one_time_prekeys", curve, device.highest_prekey_id), ("pq_prekeys", pq, device.highest_pq_prekey_id)


def _require_near(device: Device, keys: Upload) -> None:
    """With one number far above, somebody who had the device's token for a moment would have all that it counts to later skipped."""
    for field, ids, highest in _pools(device, keys):
        for index, key_id in enumerate(ids):
            if key_ids.is_far(key_id, highest):
                raise InvalidRequest("Key ids rise one by one.", field=f"{field}.{index}.key_id")


def _count_leap(device: Device, keys: Upload) -> None:
    if any(key_ids.rise(ids, highest) > LEAP for _, ids, highest in _pools(device, keys)):
        spend(LEAPS, str(device.pk))


def is_same(caller: CurrentDevice, digest: bytes) -> bool:
    """Whether the server's keys of the caller are those the digest was made of: SHA-256 of its identity key and the keys that stay."""
    device = Device.objects.get(pk=caller.device_id)
    signed = prekeys.signed_prekeys([caller.device_id])
    kinds = (SignedPrekey.Kind.SIGNED, SignedPrekey.Kind.LAST_RESORT, SignedPrekey.Kind.PQ_LAST_RESORT)
    parts = [_numbered(signed[device.pk, kind]) for kind in kinds if (device.pk, kind) in signed]
    return hmac.compare_digest(hashlib.sha256(bytes(device.identity_key) + b"".join(parts)).digest(), digest)


def _numbered(prekey: Prekey) -> bytes:
    return prekey.key_id.to_bytes(4, "big") + prekey.public_key


def _lock(caller: CurrentDevice) -> Device:
    """The caller's row, locked. It may have been unlinked since its token was checked."""
    device = Device.objects.select_for_update(no_key=True).filter(pk=caller.device_id, active=True).first()
    if device is None:
        raise InvalidToken
    return device
