"""A device and the public keys the server has of it."""

import hashlib
import hmac

from accounts.limits import Limit, WithoutRedis, spend
from accounts.security_events import Kind, note
from accounts.transactions import short_transaction
from accounts.wire.refusals import InvalidToken
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
    """Keep the caller's keys. Raises, and keeps none, InvalidSignature when a key is not valid, RateLimited for whoever leaps again and again.

    The first one-time prekeys of an era are not kept (see `prekeys`): then the device is asked for more at once.
    """
    with short_transaction():
        device = _lock(caller)
        require_valid(keys, bytes(device.identity_key))
        _count_leap(device, keys)
        is_left_out = prekeys.store(device, keys)
        left = prekeys.count(device.pk)
        if is_left_out:
            note(Kind.PREKEYS_DISCARDED, user_id=device.user_id, device_id=device.pk)
            ask_for_prekeys(device.pk, count=left.curve, pq_count=left.pq)
        return left


def _count_leap(device: Device, keys: Upload) -> None:
    pools = (keys.one_time_prekeys, device.highest_prekey_id), (keys.pq_prekeys, device.highest_pq_prekey_id)
    if any(key_ids.rise([prekey.key_id for prekey in pool], highest) > LEAP for pool, highest in pools):
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
