"""When an account was last used, to the hour and on PostgreSQL's clock: a registration lock ends some time after that."""

from datetime import datetime, timedelta
from uuid import UUID

from django.db import connection

# Never backwards: what a restored or replaced server believes must not make a used account look unused.
NOTE = """
UPDATE accounts_user SET last_used_at = clock_timestamp()
WHERE id = %s AND (last_used_at IS NULL OR last_used_at < clock_timestamp() - interval '1 hour')
"""


def is_due(last_used_at: datetime | None, now: datetime) -> bool:
    """Whether a use at this moment is worth noting."""
    return last_used_at is None or last_used_at < now - timedelta(hours=1)


def note_use(user_id: UUID) -> None:
    """The account is in use now."""
    with connection.cursor() as cursor:
        cursor.execute(NOTE, [user_id])
