"""What a restore of PostgreSQL does to devices, and how it is made harmless."""

from devices.models import OneTimePrekey


def forget_one_time_prekeys() -> int:
    """Empty the pools: what was handed out after the backup is in them again. How many keys there were. Devices upload new ones."""
    deleted, _ = OneTimePrekey.objects.all().delete()
    return deleted
