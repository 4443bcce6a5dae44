"""Deleting one's account: the commit after which nobody can use it."""

from django.db import transaction

from accounts import pins, tombstones
from accounts.models import Tombstone, User
from accounts.security_events import Kind, note
from accounts.tombstones import DeadMailbox
from accounts.transactions import short_transaction
from accounts.wire.refusals import Forbidden, InvalidToken
from devices import holdings
from devices.current import CurrentDevice
from devices.models import Device
from devices.signals import account_deleted


def delete_account(caller: CurrentDevice, pin: str | None) -> Tombstone:
    """End the caller's account for good: its devices, tokens and keys, and who it was. Everything else is erased soon after.

    Raises Forbidden for staff, whose rank somebody else takes away first, and what `pins.check_pin` raises.
    """
    _require_no_rank(User.objects.get(pk=caller.user_id))
    current = pins.check_pin(caller.user_id, pin)
    with short_transaction():
        user = holdings.lock_holder(caller.user_id)
        _require_no_rank(user)
        if not Device.objects.filter(pk=caller.device_id, active=True).exists():
            raise InvalidToken
        pins.require_still(user.pk, current)
        holdings.close_links(user.pk)
        for device in holdings.active_devices(user.pk):
            holdings.unlink(device)
        # Unlinking has raised the epoch; what is saved below is not to take that back.
        user.refresh_from_db()
        tombstone = tombstones.bury(user, _mailboxes(user))
        note(Kind.ACCOUNT_DELETED, user_id=user.pk, device_id=caller.device_id)
        transaction.on_commit(lambda: account_deleted.send_robust(sender=Tombstone, user_id=caller.user_id))
    return tombstone


def _require_no_rank(user: User) -> None:
    """What staff did is on record under their account, and stays there."""
    if user.is_staff or user.is_superuser:
        raise Forbidden("Staff cannot delete their account: have the rank taken away first.")


def _mailboxes(user: User) -> list[DeadMailbox]:
    unpurged = Device.objects.filter(user=user, purged_at=None)
    return [
        DeadMailbox(device.pk, _ms(device.created_at.timestamp()), _ms(device.unlinked_at.timestamp()))
        for device in unpurged
        if device.unlinked_at is not None
    ]


def _ms(seconds: float) -> int:
    return int(seconds * 1000)
