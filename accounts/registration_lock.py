"""The registration lock: whoever proves a phone number, by a stolen card or a careless gateway, still has to know the account's PIN.

It is asked before there is a token or a device. A lock ends 7 days after the account's last use, so that an owner who has forgotten the PIN comes back
in; the PIN itself ends then too, with the first registration that does not know it, because its owner could never change it.
"""

from dataclasses import dataclass
from uuid import UUID

from django.db import connection, transaction

from accounts import pins
from accounts.models import Pin
from accounts.pins import PinState
from accounts.security_events import Kind, note
from accounts.wire.refusals import RegistrationLocked
from accounts.wire.scalars import write_time

# Every try is told to the account's devices, an attempt without a PIN as often as this: it costs no try, and must not flood them.
_MAY_WARN = """
UPDATE accounts_pin SET warned_at = clock_timestamp()
WHERE user_id = %(user_id)s
  AND (warned_at IS NULL OR warned_at < clock_timestamp() - interval '10 seconds' OR warned_at < (SELECT max(t) FROM unnest(tries) t))
"""


@dataclass(frozen=True, slots=True)
class Passage:
    """How a registration came past the lock: by the PIN that is stored like this; None: it knew none, and needed none."""

    secret_hash: str | None = None


def pass_lock(user_id: UUID, pin: str | None) -> Passage:
    """Return when the registration may go on. Raises RegistrationLocked: without a PIN (which costs no try), for a wrong one, with no tries left.

    Not to be called in a transaction, as a try that is rolled back would be one for free.
    """
    found = pins.state(user_id)
    if found is not None and not (found.is_locked or found.has_ended):
        return Passage()
    try:
        passage = Passage(None if pin is None else pins.compare(user_id, pin))
    except pins.WrongPin:
        passage = Passage()
    require(user_id, passage)
    return passage


def require(user_id: UUID, passage: Passage) -> None:
    """Raise RegistrationLocked if there is a lock by now that the registration has not passed."""
    found = pins.state(user_id)
    if found is not None and found.is_locked and found.secret_hash != passage.secret_hash:
        raise _locked(found)


def enter(user_id: UUID, passage: Passage) -> None:
    """As `require`; and end a PIN that the registration came past because nobody has used the account for so long. Part of its transaction."""
    require(user_id, passage)
    found = pins.state(user_id)
    if found is not None and found.has_ended and found.secret_hash != passage.secret_hash:
        Pin.objects.filter(pk=user_id).delete()
        note(Kind.REGISTRATION_LOCK_ENDED, user_id=user_id, facts={"lock": found.registration_lock})


def may_warn(user_id: UUID) -> bool:
    """Whether the account's devices should hear of the attempt that was just stopped; then it is on record too."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_MAY_WARN, {"user_id": user_id})
        may = bool(cursor.rowcount)
        if may:
            note(Kind.REGISTRATION_LOCKED, user_id=user_id)
    return may


def _locked(found: PinState) -> RegistrationLocked:
    return RegistrationLocked(
        retry_after=found.retry_after,
        attempts_remaining=found.attempts_remaining,
        lock_expires_at=write_time(found.lock_ends_at),
    )
