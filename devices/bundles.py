"""What others need to write to a device: its identity, and a prekey that nobody else gets."""

import functools
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from uuid import UUID

from django.db import connection

from accounts import lineage_guard
from accounts.limits import Limit, WithoutRedis, require, spend
from accounts.relationships import is_blocked_between
from accounts.transactions import short_transaction
from accounts.wire.refusals import NotFound, RateLimited
from devices import prekeys
from devices.acquaintances import is_acquainted
from devices.current import CurrentDevice
from devices.holdings import devices_seen_by
from devices.models import Device, OneTimePrekey, SignedPrekey
from devices.public_keys import Prekey
from devices.signals import ask_for_prekeys

PER_CALLER = Limit("BUNDLES_PER_10_MIN", 600, WithoutRedis.REFUSE)
# Of all devices of one person together: less in an hour than a target gives, so nobody uses that up alone, and yet one for each of six devices.
PER_USER = Limit("BUNDLES_PER_10_MIN", 600, WithoutRedis.REFUSE, percent=150)
PER_TARGET = Limit("BUNDLES_PER_TARGET_HOUR", 3600, WithoutRedis.REFUSE)

# Shared with other readers, not with a new installation of the device: identity and prekeys of a bundle belong together.
_HOLD = "SELECT id FROM devices_device WHERE id = ANY(%s) AND active ORDER BY id FOR SHARE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """Everything to begin a session with one device. `last_resort_prekey` is there when there is no one-time prekey."""

    device: Device
    signed_prekey: Prekey
    one_time_prekey: Prekey | None
    last_resort_prekey: Prekey | None
    pq_prekey: Prekey | None


def bundles_of_device(caller: CurrentDevice, user_id: UUID, device_id: int) -> Sequence[Bundle]:
    """The bundle of one device. Raises NotFound, also where one blocks the other, RateLimited or StorageUnavailable."""
    devices = [device for device in devices_seen_by(caller.user_id, user_id) if device.pk == device_id]
    return _hand_out(caller, devices)


def bundles_of_user(caller: CurrentDevice, user_id: UUID) -> Sequence[Bundle]:
    """Bundles of all devices of the user, save the caller itself. Raises NotFound, also where one blocks the other, or RateLimited for one of them: then nothing is taken; or StorageUnavailable."""
    devices = devices_seen_by(caller.user_id, user_id)
    if user_id == caller.user_id:
        others = [device for device in devices if device.pk != caller.device_id]
        return _hand_out(caller, others) if others else []
    return _hand_out(caller, devices)


def _hand_out(caller: CurrentDevice, devices: Sequence[Device]) -> Sequence[Bundle]:
    if not devices or is_blocked_between(caller.user_id, devices[0].user_id):
        raise NotFound
    used_up = _spend_limits(caller, devices)
    with short_transaction():
        return _take([device.pk for device in devices], without_one_time=used_up)


def _spend_limits(caller: CurrentDevice, devices: Sequence[Device]) -> set[int]:
    """All or none: a device over its limit costs the others nothing. Returns those that give no one-time prekey any more in this hour."""
    used_up = set[int]()
    may_go_on = functools.cache(lambda: is_acquainted(caller.user_id, devices[0].user_id))
    for ask in (require, spend):
        for device in devices:
            ask(PER_CALLER, str(caller.device_id), str(device.pk))
            try:
                ask(PER_USER, str(caller.user_id), str(device.pk))
                ask(PER_TARGET, str(device.pk))
            except RateLimited:
                # What strangers, or their own other devices, use up must not keep those who talk with it from a device.
                if not may_go_on():
                    raise
                used_up.add(device.pk)
    return used_up


def _take(device_ids: Sequence[int], *, without_one_time: Collection[int]) -> Sequence[Bundle]:
    with connection.cursor() as cursor:
        lineage_guard.require_known(cursor)
        cursor.execute(_HOLD, [list(device_ids)])
    devices = list(Device.objects.filter(pk__in=device_ids, active=True).order_by("pk"))
    if not devices:
        raise NotFound
    held = [device.pk for device in devices]
    signed = prekeys.signed_prekeys(held)
    taken = prekeys.take(device_id for device_id in held if device_id not in without_one_time)
    _ask_for_more(devices)
    return [_bundle(device, signed, taken) for device in devices]


def _ask_for_more(devices: Sequence[Device]) -> None:
    counts = prekeys.counts([device.pk for device in devices])
    for device in devices:
        left = counts[device.pk]
        if prekeys.is_low(device, left):
            ask_for_prekeys(device.pk, count=left.curve, pq_count=left.pq)


def _bundle(device: Device, signed: dict[tuple[int, str], Prekey], taken: dict[tuple[int, str], Prekey]) -> Bundle:
    one_time = taken.get((device.pk, OneTimePrekey.Kind.CURVE))
    last_resort = signed.get((device.pk, SignedPrekey.Kind.LAST_RESORT))
    return Bundle(
        device=device,
        signed_prekey=signed[device.pk, SignedPrekey.Kind.SIGNED],
        one_time_prekey=one_time,
        last_resort_prekey=None if one_time else last_resort,
        pq_prekey=taken.get((device.pk, OneTimePrekey.Kind.PQ))
        or signed.get((device.pk, SignedPrekey.Kind.PQ_LAST_RESORT)),
    )
