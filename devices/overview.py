"""What a person holds, for staff to look at: devices with their stock of prekeys and their sessions, in as many queries for one as for six."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db.models import Count, Max, QuerySet
from django.utils import timezone

from devices import prekeys
from devices.connected import connected_devices
from devices.models import Device, TokenPair
from devices.prekeys import PoolCount
from devices.public_keys import fingerprint


@dataclass(frozen=True, slots=True)
class Overview:
    """A device. `sessions`: pairs of tokens that may be used; `signed_in_until`: when the last of them ends; `is_connected`: None when unknown."""

    device: Device
    prekeys: PoolCount
    sessions: int
    signed_in_until: datetime | None
    is_connected: bool | None

    @property
    def fingerprint(self) -> str:
        """That of the identity key, which its owner sees too."""
        return fingerprint(bytes(self.device.identity_key))


def overviews(user_id: UUID, devices: Iterable[Device]) -> list[Overview]:
    """Of these devices of one person, in their order. Two queries."""
    devices = list(devices)
    ids = [device.pk for device in devices]
    stock, sessions = prekeys.counts(ids), _sessions(ids)
    live = connected_devices(user_id)
    return [
        Overview(
            device,
            stock[device.pk],
            *sessions.get(device.pk, (0, None)),
            is_connected=None if live is None else device.pk in live,
        )
        for device in devices
    ]


def usable_pairs(device_id: int) -> list[TokenPair]:
    """The device's pairs of tokens that may be used, newest first."""
    return list(_usable_pairs([device_id]).order_by("-created_at"))


def _usable_pairs(ids: list[int]) -> QuerySet[TokenPair]:
    usable = [TokenPair.State.OFFERED, TokenPair.State.CURRENT]
    return TokenPair.objects.filter(device_id__in=ids, state__in=usable, refresh_expires_at__gt=timezone.now())


def _sessions(ids: list[int]) -> dict[int, tuple[int, datetime | None]]:
    counted = _usable_pairs(ids).values_list("device_id").annotate(Count("pk"), Max("refresh_expires_at"))
    return {device_id: (count, until) for device_id, count, until in counted}
