"""PINs: what a person may be asked for beside the phone number, and how often somebody may be wrong about it.

All checks of an account share the same few tries in any 24 hours. A try is taken before the comparison, by one statement that commits by itself: of any
number of guesses at once no more are compared than tries are left, and a process that dies in between has used one up. PostgreSQL's clock counts.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import NamedTuple, NoReturn
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction

from accounts import pin_hashes, security_events
from accounts.counts import count
from accounts.limits import Limit, WithoutRedis, spend
from accounts.models import Pin, User
from accounts.security_events import Kind
from accounts.transactions import short_transaction
from accounts.wire.refusals import NotFound, RateLimited, Unauthorized

# Wrong guesses are counted in PostgreSQL; this keeps one account from having hashes made all the time.
HASHES = Limit("PIN_HASHES_PER_MIN", 60, WithoutRedis.COUNT_HERE)

_RECENT = "ARRAY(SELECT t FROM unnest(p.tries) AS t WHERE t > clock_timestamp() - interval '24 hours' ORDER BY t)"
_STATE = f"""
SELECT s.secret_hash, s.registration_lock, s.ends_at, s.ends_at <= clock_timestamp(), GREATEST(%(most)s - cardinality(s.recent), 0),
       CASE WHEN cardinality(s.recent) >= %(most)s THEN s.recent[cardinality(s.recent) - %(most)s + 1] + interval '24 hours' END, clock_timestamp()
FROM (
    SELECT p.*, {_RECENT} AS recent, COALESCE(u.last_used_at, p.set_at) + interval '7 days' AS ends_at
    FROM accounts_pin p JOIN accounts_user u ON u.id = p.user_id WHERE p.user_id = %(user_id)s
) s
"""  # noqa: S608  (constants)
_TAKE_TRY = f"""
UPDATE accounts_pin p SET tries = {_RECENT} || clock_timestamp()
WHERE user_id = %(user_id)s AND cardinality({_RECENT}) < %(most)s
RETURNING secret_hash, %(most)s - cardinality(tries)
"""  # noqa: S608  (constants)
_REMOVE = "DELETE FROM accounts_pin WHERE user_id = %(user_id)s AND secret_hash = %(current)s"
_FORGIVE = "UPDATE accounts_pin SET tries = '{}' WHERE user_id = %s AND secret_hash = %s"
_SET = """
INSERT INTO accounts_pin (user_id, secret_hash, registration_lock, tries, set_at)
VALUES (%(user_id)s, %(secret_hash)s, COALESCE(%(lock)s, false), '{}', clock_timestamp())
ON CONFLICT DO NOTHING
"""
_CHANGE = """
UPDATE accounts_pin SET secret_hash = %(secret_hash)s, registration_lock = COALESCE(%(lock)s, registration_lock), tries = '{}', set_at = clock_timestamp()
WHERE user_id = %(user_id)s AND secret_hash = %(current)s
"""


class PinState(NamedTuple):
    """An account's PIN at this moment. The lock ends 7 days after the account's last use, `lock_ends_at`; it `has_ended` even if it was never on."""

    secret_hash: str
    registration_lock: bool
    lock_ends_at: datetime
    has_ended: bool
    attempts_remaining: int
    locked_until: datetime | None
    now: datetime

    @property
    def is_locked(self) -> bool:
        """Whether a registration needs the PIN."""
        return self.registration_lock and not self.has_ended

    @property
    def retry_after(self) -> float | None:
        """Seconds until the next try, when none is left."""
        return None if self.locked_until is None else max((self.locked_until - self.now).total_seconds(), 1)


class WrongPin(Exception):
    """Not the PIN, with the attempts that remain; None: none was left to find out."""

    def __init__(self, attempts_remaining: int | None = None) -> None:
        super().__init__()
        self.attempts_remaining = attempts_remaining


def tries() -> int:
    """How often somebody may be wrong in 24 hours; at least once, whatever the setting."""
    return max(1, settings.LIMITS["PIN_TRIES_PER_DAY"][0])


def state(user_id: UUID) -> PinState | None:
    """The account's PIN; None: there is none."""
    with connection.cursor() as cursor:
        cursor.execute(_STATE, {"user_id": user_id, "most": tries()})
        row = cursor.fetchone()
    return PinState(*row) if row else None


def has_pin(user_id: UUID) -> bool:
    """Whether the account has a PIN."""
    return Pin.objects.filter(pk=user_id).exists()


def registration_lock(user_id: UUID) -> datetime | None:
    """Until when a registration needs the PIN, if nobody uses the account meanwhile; None when it does not, or not any more."""
    found = state(user_id)
    return found.lock_ends_at if found is not None and found.is_locked else None


def verify_pin(user_id: UUID, pin: str | None) -> None:
    """Return when this is the account's PIN. Raises NotFound when it has none; else as `check_pin`."""
    if check_pin(user_id, pin) is None:
        raise NotFound(sentence="No PIN is set.")


def set_pin(
    user_id: UUID,
    pin: str,
    *,
    current_pin: str | None,
    registration_lock: bool | None,
    require_right: Callable[[], object],
) -> None:
    """Afterwards this is the account's PIN, and the lock as said (None: as it was, first off). As `check_pin` for the current one.

    Where there is no current one, `require_right` raises unless the caller may choose the first, and is asked once more in the transaction that sets it.
    """
    current = check_pin(user_id, current_pin)
    if current is None:
        require_right()
    with pin_hashes.turn():
        secret_hash = pin_hashes.hash_pin(user_id, pin)
    facts = {"secret_hash": secret_hash, "lock": registration_lock, "current": current}
    if current is not None:
        _write(_CHANGE, user_id, facts, Kind.PIN_CHANGED)
        return
    with short_transaction():
        # Whoever changes the ranks of the person's devices locks this row too.
        User.objects.select_for_update(no_key=True).filter(pk=user_id).first()
        require_right()
        _write(_SET, user_id, facts, Kind.PIN_SET)


def remove_pin(user_id: UUID, current_pin: str | None) -> None:
    """Afterwards the account has no PIN and no lock. Raises NotFound when it had none; else as `check_pin`."""
    current = check_pin(user_id, current_pin)
    if current is None:
        raise NotFound(sentence="No PIN is set.")
    _write(_REMOVE, user_id, {"current": current}, Kind.PIN_REMOVED)


def check_pin(user_id: UUID, pin: str | None) -> str | None:
    """The stored form of the right PIN, by which `require_still` knows that nobody was faster; None: the account has no PIN.

    Raises Unauthorized with the attempts that remain (asking without a PIN costs none), RateLimited when none do. Not to be called in a transaction:
    a try that is rolled back would be one for free.
    """
    if pin is None:
        if has_pin(user_id):
            _refuse(user_id)
        return None
    try:
        return compare(user_id, pin)
    except WrongPin as wrong:
        _refuse(user_id, wrong.attempts_remaining)


def require_still(user_id: UUID, current: str | None) -> None:
    """Return when the account's PIN is still the one that `check_pin` has found right, or still none; nobody changes it before the transaction ends.

    Raises Unauthorized, RateLimited. To be called with the person's row locked, which who chooses a first PIN locks too.
    """
    found = Pin.objects.select_for_update().filter(pk=user_id).values_list("secret_hash", flat=True).first()
    if found != current:
        _refuse(user_id)


def compare(user_id: UUID, pin: str) -> str | None:
    """The stored form, when this is the PIN: all tries are there again. None when there is no PIN; the time it takes does not tell. Raises WrongPin."""
    found = state(user_id)
    if found is not None and not found.attempts_remaining:
        raise WrongPin
    spend(HASHES, str(user_id))
    with pin_hashes.turn():
        with transaction.atomic(durable=True), connection.cursor() as cursor:
            cursor.execute(_TAKE_TRY, {"user_id": user_id, "most": tries()})
            taken = cursor.fetchone()
        if taken is None and has_pin(user_id):
            raise WrongPin
        if taken is None:
            pin_hashes.work_for_nothing(pin)
            return None
        secret_hash, attempts_remaining = taken
        if not pin_hashes.matches(secret_hash, user_id, pin):
            _note_wrong(user_id, attempts_remaining)
            raise WrongPin(attempts_remaining)
    with connection.cursor() as cursor:
        cursor.execute(_FORGIVE, [user_id, secret_hash])
    return str(secret_hash)


def _note_wrong(user_id: UUID, attempts_remaining: int) -> None:
    count("pins_wrong")
    kind = Kind.PIN_WRONG if attempts_remaining else Kind.PIN_EXHAUSTED
    security_events.note(kind, user_id=user_id, facts={"attempts_remaining": attempts_remaining})


def _write(statement: str, user_id: UUID, facts: Mapping[str, str | bool | None], kind: Kind) -> None:
    """Change the PIN and note it. Refuses when somebody has changed it since it was compared."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement, {"user_id": user_id, **facts})
        done = bool(cursor.rowcount)
        if done:
            security_events.note(kind, user_id=user_id)
    if not done:
        _refuse(user_id)


def _refuse(user_id: UUID, attempts_remaining: int | None = None) -> NoReturn:
    """Unauthorized with these attempts, or with those that there are; RateLimited when there are none."""
    if attempts_remaining is None:
        found = state(user_id)
        if found is not None and found.retry_after is not None:
            raise RateLimited(sentence="Too many wrong PINs; try again later.", retry_after=found.retry_after)
        attempts_remaining = tries() if found is None else found.attempts_remaining
    raise Unauthorized(sentence="This is not the PIN of the account.", attempts_remaining=attempts_remaining)
