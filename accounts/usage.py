"""When an account was last used, to the hour and on PostgreSQL's clock: a registration lock ends some time after that."""

from datetime import datetime, timedelta
from uuid import UUID

from django.db import connection

# Never backwards, and never waiting: whoever has locked the person's row is no reason to keep a caller, and the next call notes it as well.
NOTE = """
UPDATE accounts_user SET last_used_at = clock_timestamp() WHERE id = (
    SELECT id FROM accounts_user WHERE id = %s AND (last_used_at IS NULL OR last_used_at < clock_timestamp() - interval '1 hour')
    FOR NO KEY UPDATE SKIP LOCKED
)
"""


def is_due(last_used_at: datetime | None, now: datetime) -> bool:
    """Whether a use at this moment is worth noting."""
    return last_used_at is None or last_used_at < now - timedelta(hours=1)


def note_use(user_id: UUID) -> None:
    """The account is in use now. Noted by the next use if somebody has locked the person's row."""
    with connection.cursor() as cursor:
        cursor.execute(NOTE, [user_id])


def renew_locked() -> None:
    """All accounts with a PIN count as used now: how long nobody has used them is not known, and no lock may end by mistake."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE accounts_user SET last_used_at = clock_timestamp() WHERE id IN (SELECT user_id FROM accounts_pin)"
        )
