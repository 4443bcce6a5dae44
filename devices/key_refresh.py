"""Having a device upload new one-time prekeys, because somebody may have copied or drained its pool."""

from accounts.transactions import short_transaction
from devices.models import Device, OneTimePrekey
from devices.signals import ask_for_prekeys


def force_key_refresh(device_id: int) -> int:
    """Forget the device's one-time prekeys and ask it for new ones: at once when it is connected, else when it connects. How many there were.

    Until it has uploaded, sessions with it begin with its last-resort keys. Nothing happens to a device that is not active.
    """
    with short_transaction():
        device = Device.objects.select_for_update(no_key=True).filter(pk=device_id, active=True).first()
        if device is None:
            return 0
        forgotten, _ = OneTimePrekey.objects.filter(device=device).delete()
        ask_for_prekeys(device_id, count=0, pq_count=0)
    return forgotten
