"""The holder of devices renames, unlinks and signs out; staff blocks."""

from uuid import UUID

from accounts import pins, tombstones, usage
from accounts.models import User
from accounts.security_events import Kind, note
from accounts.transactions import short_transaction
from accounts.wire.refusals import Conflict, Forbidden
from devices import holdings, tokens
from devices.current import CurrentDevice
from devices.models import Device
from devices.signals import Reason


def rename(caller: CurrentDevice, device_id: int, name: str) -> Device:
    """The device under its new name. A device renames itself, the primary any. Raises NotFound or Forbidden."""
    with short_transaction():
        holdings.lock_holder(caller.user_id)
        device = holdings.access_own_device(caller.user_id, device_id)
        _require_say(caller, device)
        device.name = name
        device.save(update_fields=["name"])
    return device


def unlink(caller: CurrentDevice, device_id: int, pin: str | None) -> None:
    """End a device for good: itself, or any by the primary with the account's PIN.

    Raises NotFound, Forbidden, Conflict for the primary and the last one, or what `pins.check_pin` raises.
    """
    _require_unlinkable(caller, device_id)
    is_for_others = device_id != caller.device_id
    current = pins.check_pin(caller.user_id, pin) if is_for_others else None
    with short_transaction():
        holdings.lock_holder(caller.user_id)
        device = _require_unlinkable(caller, device_id)
        if is_for_others:
            pins.require_still(caller.user_id, current)
        holdings.unlink(device)
        by = {"by_device_id": str(caller.device_id)}
        note(Kind.DEVICE_UNLINKED, user_id=caller.user_id, device_id=device_id, facts=by)


def log_out(caller: CurrentDevice) -> None:
    """End the device's tokens. It stays listed and may sign in again."""
    with short_transaction():
        tokens.revoke(Device.objects.select_for_update(no_key=True).get(pk=caller.device_id), Reason.LOGGED_OUT)
        note(Kind.LOGGED_OUT, user_id=caller.user_id, device_id=caller.device_id)


def revoke_device(device_id: int) -> None:
    """Unlink any device, also the primary or the last one: for staff. One that is unlinked already stays so."""
    with short_transaction():
        user_id = Device.objects.values_list("user_id", flat=True).get(pk=device_id)
        holdings.lock_holder(user_id)
        device = Device.objects.filter(pk=device_id, active=True).first()
        if device is not None:
            holdings.unlink(device)


def block_user(user_id: UUID) -> None:
    """The person may not sign in, and all their tokens end: for staff."""
    with short_transaction():
        holdings.lock_holder(user_id)
        User.objects.filter(pk=user_id).update(is_active=False)
        for device in holdings.active_devices(user_id):
            tokens.revoke(device, Reason.BLOCKED)


def unblock_user(user_id: UUID) -> None:
    """The person may sign in again. While they could not, nobody used the account: their registration lock has not come nearer to its end."""
    with short_transaction():
        tombstones.lock_living(user_id)
        User.objects.filter(pk=user_id).update(is_active=True)
        usage.note_use(user_id)


def _require_unlinkable(caller: CurrentDevice, device_id: int) -> Device:
    device = holdings.access_own_device(caller.user_id, device_id)
    _require_say(caller, device)
    if device.is_primary:
        raise Conflict(sentence="The primary device cannot be unlinked.")
    if len(holdings.active_devices(caller.user_id)) == 1:
        raise Conflict(sentence="The last device cannot be unlinked.")
    return device


def _require_say(caller: CurrentDevice, device: Device) -> None:
    """The rank that counts is today's, not that of the moment the token was checked."""
    if device.pk != caller.device_id and not holdings.is_primary(caller.device_id):
        raise Forbidden
