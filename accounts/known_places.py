"""Places a number's owner is known from: where a code was asked for that was then typed in rightly.

A stranger who asks for codes to somebody else's number uses up what the number may have, and its owner would get none. From a place that is known
for the number its requests are counted apart. The few newest places count, so that a number gets a bounded number of messages whoever owns it.
"""

from django.db import connection

from accounts.chores import by_blocks
from accounts.models import KnownPlace

MOST = 4
KEPT_DAYS = 180

_REMEMBER = """
INSERT INTO accounts_known_place AS k (number_hash, place_hash, seen_at) VALUES (%(number)s, %(place)s, clock_timestamp())
ON CONFLICT (number_hash, place_hash) DO UPDATE SET seen_at = excluded.seen_at
"""

_FORGET_OLDER = """
DELETE FROM accounts_known_place WHERE number_hash = %(number)s AND place_hash IN (
    SELECT place_hash FROM accounts_known_place WHERE number_hash = %(number)s ORDER BY seen_at DESC, place_hash OFFSET %(most)s)
"""


def is_known(number_hash: bytes, place_hash: bytes) -> bool:
    """Whether a right code was asked for from there."""
    return KnownPlace.objects.filter(number_hash=number_hash, place_hash=place_hash).exists()


def remember(number_hash: bytes, place_hash: bytes) -> None:
    """The number's owner is there. Its oldest place is forgotten when there are more than MOST."""
    facts: dict[str, bytes | int] = {"number": number_hash, "place": place_hash, "most": MOST}
    with connection.cursor() as cursor:
        cursor.execute(_REMEMBER, facts)
        cursor.execute(_FORGET_OLDER, facts)


def forget(number_hash: bytes) -> None:
    """The number has no owner any more."""
    KnownPlace.objects.filter(number_hash=number_hash).delete()


PRUNING = by_blocks(
    "known places", "accounts_known_place", f"r.seen_at < clock_timestamp() - interval '{KEPT_DAYS} days'"
)
