"""Security events: what happened to a person's account, devices and keys, and what staff looked at and did. Rows are added and never changed.

The table itself refuses UPDATE, and DELETE of what is younger than LEAST_DAYS; who owns the table could still take that away, which is on record
elsewhere. An event names people and devices by id alone, so it may outlive them.
"""

import enum
import ipaddress
from collections.abc import Mapping
from types import MappingProxyType
from uuid import UUID

from django.conf import settings

from accounts import statements
from accounts.chores import Chore, Chunk
from accounts.models import SecurityEvent

# The guard of the table says the same (migration 0004).
LEAST_DAYS = 30

Fact = str | int | bool | None
NO_FACTS: Mapping[str, Fact] = MappingProxyType({})


class Kind(enum.StrEnum):
    """What happened."""

    REGISTERED = "registered"
    REINSTALLED = "reinstalled"
    LOGGED_OUT = "logged_out"
    TOKEN_REUSE = "token_reuse"  # noqa: S105  (a kind, not a secret)
    PIN_SET = "pin_set"
    PIN_CHANGED = "pin_changed"
    PIN_REMOVED = "pin_removed"
    PIN_WRONG = "pin_wrong"
    PIN_EXHAUSTED = "pin_exhausted"
    REGISTRATION_LOCKED = "registration_locked"
    REGISTRATION_LOCK_ENDED = "registration_lock_ended"
    DEVICE_LINKED = "device_linked"
    LINK_REJECTED = "link_rejected"
    DEVICE_UNLINKED = "device_unlinked"
    IDENTITY_KEY_CHANGED = "identity_key_changed"
    PREKEYS_DISCARDED = "prekeys_discarded"
    ACCOUNT_DELETED = "account_deleted"
    BLOCKED = "blocked"
    UNBLOCKED = "unblocked"
    DEVICE_REVOKED = "device_revoked"
    KEY_REFRESH_FORCED = "key_refresh_forced"
    NUMBER_REVEALED = "number_revealed"
    SECOND_FACTOR_RESET = "second_factor_reset"
    CODES_SWITCHED_OFF = "codes_switched_off"
    CODES_SWITCHED_ON = "codes_switched_on"
    STAFF_APPOINTED = "staff_appointed"
    STAFF_DISMISSED = "staff_dismissed"
    STAFF_LOGIN = "staff_login"
    STAFF_LOGIN_REFUSED = "staff_login_refused"
    STAFF_LOGOUT = "staff_logout"
    STAFF_ENROLLED = "staff_enrolled"
    STAFF_VIEWED = "staff_viewed"
    STAFF_SEARCHED = "staff_searched"
    STAFF_CHANGED = "staff_changed"
    STAFF_REFUSED = "staff_refused"


def words(kind: str) -> str:
    """A kind as people read it."""
    return kind.replace("_", " ").replace("pin", "PIN")


def note(
    kind: Kind,
    *,
    user_id: UUID | None,
    actor_id: UUID | None = None,
    device_id: int | None = None,
    address: str = "",
    facts: Mapping[str, Fact] = NO_FACTS,
) -> None:
    """Put an event on record, as part of the caller's transaction: what did not happen is not on record.

    `user_id` is who it happened to, `actor_id` who did it when that was somebody else, `device_id` the device concerned. Of `address` only the
    neighbourhood is kept. `facts` are small and harmless: no secret, no key, no phone number, no text that a person wrote.
    """
    SecurityEvent.objects.create(
        kind=kind,
        user_id=user_id,
        actor_id=actor_id,
        device_id=device_id,
        network=neighbourhood(address),
        facts=dict(facts),
    )


def neighbourhood(address: str) -> str:
    """The /24 of an IPv4 address, the /48 of an IPv6 one: enough to tell "elsewhere", too little to tell who. Nothing for what is no address."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return ""
    return str(ipaddress.ip_network((parsed, 24 if parsed.version == 4 else 48), strict=False))


# Ids rise with time, nearly: the oldest rows come first, and behind a chunk that had to stay nothing is due.
_CHUNK = """
WITH first AS MATERIALIZED (SELECT id FROM accounts_security_event ORDER BY id LIMIT %s), gone AS (
    DELETE FROM accounts_security_event e USING first f
    WHERE e.id = f.id AND e.at < clock_timestamp() - make_interval(days => %s) RETURNING e.id
)
SELECT count(*), max(id) FROM gone
"""


async def _chunk(after: int | None, size: int) -> Chunk:
    del after
    if not settings.SECURITY_EVENT_DAYS:
        return Chunk(0, None)
    days = max(settings.SECURITY_EVENT_DAYS, LEAST_DAYS)
    [[removed, last]] = await statements.rows(_CHUNK, [size, days])
    return Chunk(removed, last if removed == size else None)


EVENTS = Chore("security events", _chunk, size=200, most=2000)
