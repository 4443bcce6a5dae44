"""The list of devices a person holds, and every change to it.

A change locks the person's row and raises `device_epoch` in the same transaction: the log of conversations, which reads the epoch under the
same lock order (people before conversations), sees each list before or after a change, never in between.
"""

from collections.abc import Sequence
from uuid import UUID

from django.conf import settings
from django.db.models import Exists, F

from accounts.clocks import postgresql_now
from accounts.models import Relationship, User
from accounts.wire.refusals import DeviceLimit, Forbidden, InvalidToken, NotFound
from devices import prekeys, tokens
from devices.models import Device, Link
from devices.signals import Reason, announce

LAST_NUMBER = 127


def lock_holder(user_id: UUID) -> User:
    """The person's row, locked until the transaction ends. Raises InvalidToken when the account is gone: whoever asks has lost it meanwhile."""
    user = User.objects.select_for_update(no_key=True).filter(pk=user_id).first()
    if user is None:
        raise InvalidToken
    return user


def active_devices(user_id: UUID) -> Sequence[Device]:
    """The person's devices, oldest first."""
    return list(Device.objects.filter(user_id=user_id, active=True).order_by("pk"))


def devices_seen_by(caller_id: UUID, user_id: UUID) -> Sequence[Device]:
    """The person's devices as the caller may see them: none of somebody who blocks the caller. It takes as long as for nobody at all."""
    blocking = Relationship.objects.filter(user_id=user_id, other_id=caller_id, stance=Relationship.Stance.BLOCKING)
    return list(Device.objects.filter(~Exists(blocking), user_id=user_id, active=True).order_by("pk"))


def is_primary(device_id: int) -> bool:
    """Whether the device is its holder's primary now."""
    return Device.objects.filter(pk=device_id, active=True, is_primary=True).exists()


def require_primary(device_id: int) -> None:
    """Raise Forbidden unless this is the primary. The rank that counts is today's, not that of the moment the token was checked."""
    if not is_primary(device_id):
        raise Forbidden


def most_devices() -> int:
    """How many devices a person may have."""
    [limit] = settings.LIMITS["DEVICES_PER_USER"]
    return min(limit or LAST_NUMBER, LAST_NUMBER)


def require_room(devices: Sequence[Device]) -> None:
    """Raise DeviceLimit unless whoever holds these devices may have one more."""
    if len(devices) >= most_devices():
        raise DeviceLimit(current=len(devices), max=most_devices())


def close_links(user_id: UUID) -> None:
    """End links that wait to be claimed or approved: the device that showed their code is not the primary any more, or has another key by now."""
    waiting = Link.objects.filter(user_id=user_id, state__in=(Link.State.NEW, Link.State.CLAIMED))
    waiting.update(state=Link.State.EXPIRED, offer=None)


def close_link_of(device: Device) -> None:
    """The device has signed in by itself: whoever holds the secret of the link that once let it in gets no tokens any more."""
    Link.objects.filter(device_id=device.pk, state=Link.State.APPROVED).update(state=Link.State.EXPIRED, offer=None)


def access_own_device(user_id: UUID, device_id: int) -> Device:
    """The device, if the person holds it. Raises NotFound: also for somebody else's."""
    device = Device.objects.filter(user_id=user_id, pk=device_id, active=True).first()
    if device is None:
        raise NotFound
    return device


def note_change(device: Device, reason: Reason) -> None:
    """Raise the epoch, and announce the change at commit. The holder's row is locked by the caller."""
    User.objects.filter(pk=device.user_id).update(device_epoch=F("device_epoch") + 1)
    announce(device.user_id, device.pk, reason)


def unlink(device: Device) -> None:
    """End the device for good: its tokens and keys go, its id is never used again. The holder's row is locked by the caller."""
    prekeys.forget(device)
    device.active = device.is_primary = False
    device.unlinked_at = postgresql_now()
    device.save(update_fields=["active", "is_primary", "unlinked_at", *prekeys.POOL_FIELDS])
    tokens.end(device)
    note_change(device, Reason.UNLINKED)


def next_number(user_id: UUID) -> int:
    """The number of the person's next device: they rise, and begin anew after 127, past those in use.

    The caller has made sure that the person holds fewer than LAST_NUMBER devices.
    """
    numbers = Device.objects.filter(user_id=user_id).order_by("-pk").values_list("device_number", flat=True)
    in_use = set(numbers.filter(active=True))
    last = numbers.first() or 0
    candidates = ((last + step) % LAST_NUMBER + 1 for step in range(LAST_NUMBER))
    return next(number for number in candidates if number not in in_use)
