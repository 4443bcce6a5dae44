"""A device signs in with a proven phone number."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from django.db import connection

from accounts import otp, registration_lock, usage
from accounts.counts import count
from accounts.models import Tombstone, User
from accounts.otp import Made
from accounts.positions import OLDEST_OPEN
from accounts.registering import find_user, lock_or_create_user
from accounts.registration_lock import Passage
from accounts.security_events import Kind, note
from accounts.transactions import short_transaction
from accounts.wire.refusals import DeviceLimit, InvalidToken, RegistrationLocked
from accounts.wire.scalars import write_day
from devices import eras, holdings, prekeys, tokens
from devices.models import Device
from devices.public_keys import require_curve_key
from devices.signals import Reason, announce, warn_of_registration
from devices.uploads import Upload, require_valid


@dataclass(frozen=True, slots=True, kw_only=True)
class NewDevice:
    """What a client says about the installation it runs in."""

    device_uuid: UUID
    name: str
    platform: str
    registration_id: int
    identity_key: bytes
    keys: Upload


@dataclass(frozen=True, slots=True)
class Registration:
    """A device that is signed in."""

    device: Device
    tokens: tokens.Tokens


def register(
    registration_token: str, new: NewDevice, *, pin: str | None = None, unlink_device_id: int | None = None
) -> Registration:
    """Sign the installation in as a device of the person whose number the token proves.

    The same installation again keeps its id and gets new tokens, so a lost answer can be asked for again. A new installation becomes the
    primary device. Raises, in this order: InvalidToken, InvalidSignature, Forbidden for a blocked person, RegistrationLocked before there is
    any token or device, DeviceLimit (unless `unlink_device_id` makes room).
    """
    number = otp.redeem(registration_token, new.device_uuid)
    _require_not_gone(registration_token)
    require_curve_key(new.identity_key, "device.identity_key")
    require_valid(new.keys, new.identity_key, "device.")
    passage = _pass_lock(number, pin)
    with short_transaction():
        user = lock_or_create_user(number)
        _require_not_gone(registration_token)
        registration_lock.enter(user.pk, passage)
        usage.note_use(user.pk)
        known = (
            Device.objects.select_for_update(no_key=True)
            .filter(user=user, device_uuid=new.device_uuid, active=True)
            .first()
        )
        device = _again(known, new) if known else _first_time(user, new, unlink_device_id)
        registration = Registration(device, tokens.begin(device))
        otp.note_made(registration_token, Made(user.pk, device.pk))
    return registration


def _require_not_gone(registration_token: str) -> None:
    """Raise InvalidToken when the device this token was redeemed for was unlinked: it would come back by itself, or found the account anew."""
    made = otp.made_by(registration_token)
    if made is None:
        return
    is_active = Device.objects.filter(pk=made.device_id).values_list("active", flat=True).first()
    # Without a row it went with its account, or the transaction that was to make it has failed.
    if is_active is False or (is_active is None and Tombstone.objects.filter(pk=made.user_id).exists()):
        raise InvalidToken


def _pass_lock(number: str, pin: str | None) -> Passage:
    """Raises RegistrationLocked, of which the person's devices hear."""
    user = find_user(number)
    if user is None:
        return Passage()
    try:
        return registration_lock.pass_lock(user.pk, pin)
    except RegistrationLocked:
        count("registrations_stopped")
        if registration_lock.may_warn(user.pk):
            warn_of_registration(user.pk)
        raise


def _again(device: Device, new: NewDevice) -> Device:
    """With a new identity key the client was installed again: its mailbox is empty and its former keys are gone."""
    is_reinstalled = bytes(device.identity_key) != new.identity_key
    holdings.close_link_of(device)
    if is_reinstalled:
        if device.is_primary:
            holdings.close_links(device.user_id)
        prekeys.forget(device)
        # Rises with every installation: the log knows by it that what it told the former one has to be told again.
        device.mailbox_from = max(_oldest_open_position(), device.mailbox_from + 1)
        device.mailbox_full, device.pending_rows, device.pending_bytes = False, 0, 0
    prekeys.forget_former(device)
    is_changed = is_reinstalled or device.registration_id != new.registration_id
    describe(device, new)
    device.linked_by = None
    device.is_primary = device.is_primary or not _has_primary(device.user_id)
    device.save()
    prekeys.store(device, new.keys)
    reason = Reason.REINSTALLED if is_reinstalled else Reason.REGISTERED
    note(Kind(reason.value), user_id=device.user_id, device_id=device.pk)
    if is_reinstalled:
        note(Kind.IDENTITY_KEY_CHANGED, user_id=device.user_id, device_id=device.pk)
    (holdings.note_change if is_changed else _announce)(device, reason)
    return device


def _first_time(user: User, new: NewDevice, unlink_device_id: int | None) -> Device:
    _make_room(holdings.active_devices(user.pk), unlink_device_id)
    holdings.close_links(user.pk)
    Device.objects.filter(user=user, active=True, is_primary=True).update(is_primary=False)
    device = Device(
        user=user, device_uuid=new.device_uuid, device_number=holdings.next_number(user.pk), is_primary=True
    )
    describe(device, new)
    eras.skip_device_ids()
    device.save()
    prekeys.store(device, new.keys)
    note(Kind.REGISTERED, user_id=user.pk, device_id=device.pk)
    holdings.note_change(device, Reason.REGISTERED)
    return device


def _make_room(devices: Sequence[Device], unlink_device_id: int | None) -> None:
    """Unlink the named device if the person has as many as they may have. Raises DeviceLimit when that is none of them."""
    most = holdings.most_devices()
    if len(devices) < most:
        return
    named = next((device for device in devices if device.pk == unlink_device_id), None)
    if named is None or len(devices) > most:
        raise DeviceLimit(current=len(devices), max=most, devices=[_to_choose_from(device) for device in devices])
    holdings.unlink(named)


def _to_choose_from(device: Device) -> dict[str, str | None]:
    last_seen = write_day(device.last_seen) if device.last_seen else None
    return {"device_id": str(device.pk), "name": device.name, "platform": device.platform, "last_seen_at": last_seen}


def describe(device: Device, new: NewDevice) -> None:
    """The device is what the installation says about itself."""
    device.name = new.name
    device.platform = new.platform
    device.registration_id = new.registration_id
    device.identity_key = new.identity_key


def _announce(device: Device, reason: Reason) -> None:
    announce(device.user_id, device.pk, reason)


def _has_primary(user_id: UUID) -> bool:
    return Device.objects.filter(user_id=user_id, active=True, is_primary=True).exists()


def _oldest_open_position() -> int:
    """Not this transaction's own position: a send that is still open may have a lower one and already be addressed to the new installation."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {OLDEST_OPEN}")
        return int(cursor.fetchone()[0])
