"""What a restore of PostgreSQL does to devices, and how it is made harmless."""

from django.db import connection

from devices.models import OneTimePrekey

# More devices than were registered between the backup and the restore: ids are never used again, and nobody knows how many there were.
SKIPPED_IDS = 1_000_000

_SKIP = "SELECT setval(seq, (SELECT last_value FROM devices_device_id_seq) + %s) FROM pg_get_serial_sequence('devices_device', 'id') AS seq"


def forget_one_time_prekeys() -> int:
    """Empty the pools: what was handed out after the backup is in them again. How many keys there were. Devices upload new ones."""
    deleted, _ = OneTimePrekey.objects.all().delete()
    return deleted


def skip_device_ids() -> None:
    """Afterwards no new device gets an id that one registered after the backup had."""
    with connection.cursor() as cursor:
        cursor.execute(_SKIP, [SKIPPED_IDS])
