"""The public keys the server keeps for a device: signed ones, which stay, and the pool of one-time ones, each handed out once.

A pool lives as long as its era (`devices.eras`). With the next one it is void: some of it may have been handed out in what PostgreSQL has lost. The
first upload after that only tells how high the device's key ids have come, because it may repeat one that was lost too; from the second on they count.
"""

import hashlib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from django.db import connection

from accounts.positions import ERA
from devices import eras, key_ids
from devices.models import Device, OneTimePrekey, SignedPrekey
from devices.public_keys import Prekey
from devices.uploads import Upload

POOL_SIZE = 200

# A device with fewer one-time prekeys than this is asked for more.
LOW_POOL = 20

# Of each signed prekey so many predecessors are known again.
FORMER_KEPT = 32

# What `store` and `forget` change of a device.
POOL_FIELDS = ("highest_prekey_id", "prekeys_era", "highest_pq_prekey_id", "pq_prekeys_era")

_CURVE, _PQ = OneTimePrekey.Kind.CURVE, OneTimePrekey.Kind.PQ

# Per device and kind, with the pool's era.
_POOLS = "(SELECT id, 'curve' AS kind, prekeys_era AS era FROM devices_device UNION ALL SELECT id, 'pq', pq_prekeys_era FROM devices_device)"

# SKIP LOCKED: two takers at once take two different keys. MATERIALIZED: the choice is made once, whatever plan the deletion gets.
_TAKE = f"""
WITH picked AS MATERIALIZED (
    SELECT k.id
    FROM {_POOLS} AS pool
    CROSS JOIN LATERAL (
        SELECT p.id FROM devices_one_time_prekey p
        WHERE p.device_id = pool.id AND p.kind = pool.kind
        ORDER BY p.key_id LIMIT 1 FOR UPDATE SKIP LOCKED
    ) k
    WHERE pool.id = ANY(%s) AND pool.era = {ERA}
)
DELETE FROM devices_one_time_prekey p USING picked WHERE p.id = picked.id
RETURNING p.device_id, p.kind, p.key_id, p.public_key, p.signature
"""  # noqa: S608  (constants)
_COUNT = f"""
SELECT pool.id, count(*) FILTER (WHERE p.kind = 'curve'), count(*) FILTER (WHERE p.kind = 'pq')
FROM {_POOLS} AS pool JOIN devices_one_time_prekey p ON p.device_id = pool.id AND p.kind = pool.kind
WHERE pool.id = ANY(%s) AND pool.era = {ERA} GROUP BY pool.id
"""  # noqa: S608  (constants)


@dataclass(frozen=True, slots=True)
class PoolCount:
    """How many one-time prekeys are left."""

    curve: int
    pq: int


@dataclass(frozen=True, slots=True)
class Told:
    """How high the key ids of a pool had come in an era. In era 0 the device was new."""

    highest: int
    era: int


def store(device: Device, upload: Upload) -> bool:
    """Keep checked keys. The device's row is locked by the caller, so that of two uploads at once the second sees the first.

    Signed keys replace those of their kind, save by one they had replaced before: a request that comes late or once more puts nothing back.
    One-time keys numbered at or below the highest ever uploaded (see `key_ids`) are skipped: what a repeated upload brings again may have been
    handed out already. Above 200 in a pool the oldest go. Returns whether one-time keys were left out because they are the first of an era.
    """
    for kind, prekey in (
        (SignedPrekey.Kind.SIGNED, upload.signed_prekey),
        (SignedPrekey.Kind.LAST_RESORT, upload.last_resort_prekey),
        (SignedPrekey.Kind.PQ_LAST_RESORT, upload.pq_last_resort_prekey),
    ):
        if prekey is not None:
            _replace_signed(device, kind, prekey)
    curve = Told(device.highest_prekey_id, device.prekeys_era)
    pq = Told(device.highest_pq_prekey_id, device.pq_prekeys_era)
    era = eras.present()
    _keep(
        device,
        _fill(device, _CURVE, upload.one_time_prekeys, curve, era),
        _fill(device, _PQ, upload.pq_prekeys, pq, era),
    )
    return _is_first(curve, upload.one_time_prekeys, era) or _is_first(pq, upload.pq_prekeys, era)


def _keep(device: Device, curve: Told, pq: Told) -> None:
    device.highest_prekey_id, device.prekeys_era = curve.highest, curve.era
    device.highest_pq_prekey_id, device.pq_prekeys_era = pq.highest, pq.era
    device.save(update_fields=POOL_FIELDS)


def _replace_signed(device: Device, kind: SignedPrekey.Kind, prekey: Prekey) -> None:
    row = SignedPrekey.objects.filter(device=device, kind=kind).first() or SignedPrekey(device=device, kind=kind)
    former = [bytes(digest) for digest in row.former]
    if _digest(prekey.public_key) in former:
        return
    if row.pk is not None and bytes(row.public_key) != prekey.public_key:
        row.former = [_digest(bytes(row.public_key)), *former][:FORMER_KEPT]
    row.key_id, row.public_key, row.signature = prekey.key_id, prekey.public_key, prekey.signature or b""
    row.save()


def _digest(public_key: bytes) -> bytes:
    return hashlib.sha256(public_key).digest()


def _is_first(told: Told, prekeys: Sequence[Prekey], era: int) -> bool:
    """Whether this upload is the first of its kind in an era that is not the device's first."""
    return bool(prekeys) and told.era not in {0, era}


def _fill(device: Device, kind: OneTimePrekey.Kind, prekeys: Sequence[Prekey], told: Told, era: int) -> Told:
    """Add what is new."""
    if not prekeys:
        return Told(told.highest, told.era or era)
    highest = key_ids.newest([prekey.key_id for prekey in prekeys], told.highest)
    if _is_first(told, prekeys, era):
        OneTimePrekey.objects.filter(device=device, kind=kind).delete()
    else:
        new = (prekey for prekey in prekeys if not key_ids.is_behind(prekey.key_id, told.highest))
        _add(device, kind, {prekey.key_id: prekey for prekey in new})
    return Told(highest, era)


def _add(device: Device, kind: OneTimePrekey.Kind, new: dict[int, Prekey]) -> None:
    rows = [
        OneTimePrekey(
            device=device, kind=kind, key_id=item.key_id, public_key=item.public_key, signature=item.signature
        )
        for item in new.values()
    ]
    # Whoever went all the way round may meet a number of their own that nobody has taken yet.
    OneTimePrekey.objects.bulk_create(rows, ignore_conflicts=True)
    _drop_oldest(device, kind)


def _drop_oldest(device: Device, kind: OneTimePrekey.Kind) -> None:
    pool = OneTimePrekey.objects.filter(device=device, kind=kind)
    surplus = pool.order_by("-pk").select_for_update(skip_locked=True)[POOL_SIZE:]
    pool.filter(pk__in=[row.pk for row in surplus]).delete()


def take(device_ids: Iterable[int]) -> dict[tuple[int, str], Prekey]:
    """Take one one-time prekey of each kind out of each device's pool, by (device, kind). Nobody gets them again, once this commits."""
    with connection.cursor() as cursor:
        cursor.execute(_TAKE, [list(device_ids)])
        rows = cursor.fetchall()
    return {(row[0], row[1]): Prekey(row[2], bytes(row[3]), None if row[4] is None else bytes(row[4])) for row in rows}


def signed_prekeys(device_ids: Iterable[int]) -> dict[tuple[int, str], Prekey]:
    """The keys that stay, by (device, kind)."""
    rows = SignedPrekey.objects.filter(device_id__in=list(device_ids))
    return {(row.device_id, row.kind): Prekey(row.key_id, bytes(row.public_key), bytes(row.signature)) for row in rows}


def counts(device_ids: Collection[int]) -> dict[int, PoolCount]:
    """What may still be handed out of each device's pools."""
    with connection.cursor() as cursor:
        cursor.execute(_COUNT, [list(device_ids)])
        found = {device_id: PoolCount(curve, pq) for device_id, curve, pq in cursor.fetchall()}
    return {device_id: found.get(device_id, PoolCount(0, 0)) for device_id in device_ids}


def count(device_id: int) -> PoolCount:
    """What may still be handed out of the device's pools."""
    return counts([device_id])[device_id]


def is_low(device: Device, left: PoolCount) -> bool:
    """Whether the device is to be asked for more. Who has no post-quantum prekeys is not asked for them."""
    return left.curve < LOW_POOL or (left.pq < LOW_POOL and device.highest_pq_prekey_id >= 0)


def forget(device: Device) -> None:
    """Drop all keys of the device; what its next installation uploads is numbered anew. The caller saves the device."""
    OneTimePrekey.objects.filter(device=device).delete()
    SignedPrekey.objects.filter(device=device).delete()
    device.highest_prekey_id = device.highest_pq_prekey_id = -1
    device.prekeys_era = device.pq_prekeys_era = 0


def forget_former(device: Device) -> None:
    """What the device says next is its state, also where it goes back: it signs in once more, perhaps from a backup of its own."""
    SignedPrekey.objects.filter(device=device).update(former=[])
