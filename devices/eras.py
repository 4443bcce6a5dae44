"""Eras, for what must never be given twice: one-time prekeys and ids of devices.

PostgreSQL may have lost its last commits when its era changes: by a promotion, by a restore to a point in time, by the operator's word after any other
restore (`accounts.positions`). Nothing tells from inside whether it has. So whatever it would give from what it remembers of an earlier era, it may
have given already. The era is read in the statement that gives, of the server that gives: nobody has to notice first.
"""

from django.db import connection

from accounts.positions import ERA

# More devices than were registered in what may have been lost: nobody knows how many there were.
SKIPPED_IDS = 1_000_000

_PRESENT = f"SELECT {ERA}"
_SKIP = f"""
WITH entered AS (UPDATE devices_era SET entered = n.era FROM (SELECT {ERA} AS era) n WHERE entered <> n.era RETURNING 1)
SELECT setval(pg_get_serial_sequence('devices_device', 'id'), (SELECT last_value FROM devices_device_id_seq) + %s) FROM entered
"""  # noqa: S608  (constants)


def present() -> int:
    """The era of this moment, and of all that the running transaction writes."""
    with connection.cursor() as cursor:
        cursor.execute(_PRESENT)
        return int(cursor.fetchone()[0])


def skip_device_ids() -> None:
    """Afterwards no new device gets an id that one registered in an earlier era may have had. Changes nothing a second time in an era."""
    with connection.cursor() as cursor:
        cursor.execute(_SKIP, [SKIPPED_IDS])
