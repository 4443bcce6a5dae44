"""The public keys the server keeps for a device: signed ones, which stay, and the pool of one-time ones, each handed out once."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from django.db import connection
from django.db.models import Count, Q

from devices.models import Device, OneTimePrekey, SignedPrekey
from devices.public_keys import Prekey
from devices.uploads import Upload

POOL_SIZE = 200

_CURVE, _PQ = OneTimePrekey.Kind.CURVE, OneTimePrekey.Kind.PQ

# SKIP LOCKED: two takers at once take two different keys. MATERIALIZED: the choice is made once, whatever plan the deletion gets.
_TAKE = """
WITH picked AS MATERIALIZED (
    SELECT k.id
    FROM unnest(%s::bigint[]) AS device (id)
    CROSS JOIN (VALUES ('curve'), ('pq')) AS pool (kind)
    CROSS JOIN LATERAL (
        SELECT p.id FROM devices_one_time_prekey p
        WHERE p.device_id = device.id AND p.kind = pool.kind
        ORDER BY p.key_id LIMIT 1 FOR UPDATE SKIP LOCKED
    ) k
)
DELETE FROM devices_one_time_prekey p USING picked WHERE p.id = picked.id
RETURNING p.device_id, p.kind, p.key_id, p.public_key, p.signature
"""


@dataclass(frozen=True, slots=True)
class PoolCount:
    """How many one-time prekeys are left."""

    curve: int
    pq: int


def store(device: Device, upload: Upload) -> None:
    """Keep checked keys. The device's row is locked by the caller, so that of two uploads at once the second sees the first.

    Signed keys replace those of their kind. One-time keys numbered at or below the highest ever uploaded are skipped: what a repeated
    upload brings again may have been handed out already. Above 200 in a pool the oldest go.
    """
    for kind, prekey in (
        (SignedPrekey.Kind.SIGNED, upload.signed_prekey),
        (SignedPrekey.Kind.LAST_RESORT, upload.last_resort_prekey),
        (SignedPrekey.Kind.PQ_LAST_RESORT, upload.pq_last_resort_prekey),
    ):
        if prekey is not None:
            _replace_signed(device, kind, prekey)
    device.highest_prekey_id = _fill(device, _CURVE, upload.one_time_prekeys, above=device.highest_prekey_id)
    device.highest_pq_prekey_id = _fill(device, _PQ, upload.pq_prekeys, above=device.highest_pq_prekey_id)
    device.save(update_fields=["highest_prekey_id", "highest_pq_prekey_id"])


def _replace_signed(device: Device, kind: SignedPrekey.Kind, prekey: Prekey) -> None:
    facts = {"key_id": prekey.key_id, "public_key": prekey.public_key, "signature": prekey.signature or b""}
    SignedPrekey.objects.update_or_create(device=device, kind=kind, defaults=facts)


def _fill(device: Device, kind: OneTimePrekey.Kind, prekeys: Sequence[Prekey], *, above: int) -> int:
    """Add what is new; the highest key_id ever uploaded."""
    new = {prekey.key_id: prekey for prekey in prekeys if prekey.key_id > above}
    if not new:
        return above
    OneTimePrekey.objects.bulk_create(
        OneTimePrekey(
            device=device, kind=kind, key_id=item.key_id, public_key=item.public_key, signature=item.signature
        )
        for item in new.values()
    )
    _drop_oldest(device, kind)
    return max(new)


def _drop_oldest(device: Device, kind: OneTimePrekey.Kind) -> None:
    pool = OneTimePrekey.objects.filter(device=device, kind=kind)
    surplus = pool.order_by("-key_id").select_for_update(skip_locked=True)[POOL_SIZE:]
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


def count(device_id: int) -> PoolCount:
    """What is left in the device's pools."""
    found = OneTimePrekey.objects.filter(device_id=device_id).aggregate(
        curve=Count("pk", filter=Q(kind=_CURVE)), pq=Count("pk", filter=Q(kind=_PQ))
    )
    return PoolCount(found["curve"], found["pq"])


def forget(device: Device) -> None:
    """Drop all keys of the device; what its next installation uploads is numbered anew. The caller saves the device."""
    OneTimePrekey.objects.filter(device=device).delete()
    SignedPrekey.objects.filter(device=device).delete()
    device.highest_prekey_id = device.highest_pq_prekey_id = -1
