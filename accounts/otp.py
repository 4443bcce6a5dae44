"""One-time codes by SMS, from the first request to the registration token.

Sessions live in Redis and each step is one atomic call there, so nothing can be guessed twice at once and nothing is left half done.
Redis never holds a code, a token or a phone number: only keyed hashes of the first two and the encrypted form of the third. Without Redis
every call raises StorageUnavailable.

Nothing here asks whether a number has an account before its right code is there.
"""

import base64
import hashlib
import secrets
import uuid
from dataclasses import dataclass
from typing import Any

import redis
from django.conf import settings

from accounts import code_days, code_requests, countries, deliveries, known_places, valkey
from accounts.counts import count
from accounts.derivation import keyed_hash
from accounts.models import User
from accounts.phones import decrypt_phone, encrypt_phone, hash_phone
from accounts.pins import registration_lock
from accounts.sms import CodeMessage, SmsRefused, SmsUnavailable
from accounts.transactions import release_connection
from accounts.wire.refusals import InvalidOtp, InvalidRequest, InvalidToken, StorageUnavailable

CODE_SECONDS = 180
TOKEN_SECONDS = 600
CHECKS = 5

# Reserves a check before it compares; a right code gives its check back. {1, phone, place} or {0, checks left}. What is compared are keyed hashes,
# so how long it takes says nothing about the code.
_VERIFY = """
if redis.call('EXISTS', KEYS[1]) == 0 then return {0, 0} end
local most = tonumber(ARGV[2])
if tonumber(redis.call('HGET', KEYS[1], 'checks')) >= most then return {0, 0} end
local checks = redis.call('HINCRBY', KEYS[1], 'checks', 1)
if redis.call('HGET', KEYS[1], 'code') ~= ARGV[1] then return {0, most - checks} end
redis.call('HINCRBY', KEYS[1], 'checks', -1)
return {1, redis.call('HGET', KEYS[1], 'phone'), redis.call('HGET', KEYS[1], 'place')}
"""

# Remembers the first answer, makes its token good, and ends the number's delays. {whether it was the first, is_new, requires_pin}; {0} when the
# session has ended meanwhile.
_ACCEPT = """
if redis.call('EXISTS', KEYS[1]) == 0 then return {0} end
local is_first = redis.call('HSETNX', KEYS[1], 'is_new', ARGV[3])
redis.call('HSETNX', KEYS[1], 'requires_pin', ARGV[4])
redis.call('SET', KEYS[2], ARGV[1], 'NX', 'EX', ARGV[2])
for i = 3, #KEYS do redis.call('HDEL', KEYS[i], 'asked', 'next_at') end
return {is_first, redis.call('HGET', KEYS[1], 'is_new'), redis.call('HGET', KEYS[1], 'requires_pin')}
"""

# Binds the token to the first device that uses it. The phone, or nil for another device and for no token at all.
_REDEEM = """
local phone = redis.call('GET', KEYS[1])
if not phone then return false end
redis.call('SET', KEYS[2], ARGV[1], 'NX', 'EX', ARGV[2])
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return false end
return phone
"""


@dataclass(frozen=True, slots=True)
class Sent:
    """A code is on its way."""

    session_id: uuid.UUID
    retry_after_seconds: int


@dataclass(frozen=True, slots=True)
class Made:
    """What a registration token was redeemed for."""

    user_id: uuid.UUID
    device_id: int


@dataclass(frozen=True, slots=True)
class Verified:
    """The number is the caller's."""

    registration_token: str
    is_new_user: bool
    requires_pin: bool


def request_code(number: str, address: str) -> Sent:
    """Send a code to the number; the same happens for numbers with and without an account.

    Raises InvalidRequest (no codes go to such numbers), RateLimited (too soon after the last one, or too many) and StorageUnavailable (Redis, the
    gateway, or codes are switched off). What was refused here, or did not leave because the gateway fails, costs nothing.
    """
    country = _texted_country(number)
    request = code_requests.Request(uuid.uuid4(), number, address)
    code = f"{secrets.randbelow(10**6):06}"
    counted = _count(request, _code_hash(request.session_id, code))
    try:
        reserved = code_days.reserve(country, is_budgeted=request.network is not None)
    except Exception as failure:
        _note(failure)
        _take_back(counted, uncount_number=True, uncount_address=True)
        raise
    _deliver(CodeMessage(number, code), counted, reserved)
    return Sent(request.session_id, counted.delay)


def _texted_country(number: str) -> str:
    try:
        if not settings.CODES_ENABLED:
            raise code_days.SwitchedOff(retry_after=code_days.SWITCHED_OFF_SECONDS)
        return countries.require_texted(number)
    except (code_days.SwitchedOff, InvalidRequest) as refusal:
        _note(refusal)
        raise


def _count(request: code_requests.Request, code_hash: bytes) -> code_requests.Counted:
    try:
        with valkey.required() as store:
            return code_requests.count(store, request, code_hash, encrypt_phone(request.number), CODE_SECONDS)
    except code_requests.TooMany as refusal:
        _note(refusal)
        raise


def _deliver(message: CodeMessage, counted: code_requests.Counted, reserved: code_days.Reservation) -> None:
    # The gateway may take seconds, and connections are few.
    release_connection()
    try:
        deliveries.deliver(message)
    except SmsUnavailable as failure:
        # What may have left all the same may have cost something: it stays counted. A gateway that refused this message works, and strangers could
        # have it asked without end: it stays counted for who asked.
        is_late, is_refused = isinstance(failure, deliveries.SmsLate), isinstance(failure, SmsRefused)
        if is_late:
            count("codes_sent", reserved.country)
        else:
            code_days.give_back(reserved)
        _take_back(counted, uncount_number=not is_late, uncount_address=not (is_late or is_refused))
        raise StorageUnavailable("The code could not be sent; try again.") from failure
    count("codes_sent", reserved.country)


def _take_back(counted: code_requests.Counted, *, uncount_number: bool, uncount_address: bool) -> None:
    with valkey.required() as store:
        code_requests.take_back(store, counted, uncount_number=uncount_number, uncount_address=uncount_address)


REASONS: dict[type[Exception], str] = {
    code_days.SwitchedOff: "switched_off",
    code_days.BudgetUsedUp: "country",
    InvalidRequest: "not_texted",
}


def _note(failure: Exception) -> None:
    """Count the refusal, if it is one."""
    reason = failure.reason if isinstance(failure, code_requests.TooMany) else REASONS.get(type(failure))
    if reason is not None:
        count("codes_refused", reason)


def verify_code(session_id: uuid.UUID, code: str) -> Verified:
    """Exchange the right code for a registration token; the same again, for 180 s, gives the same answer.

    Raises InvalidOtp with the checks that are left: at most five are ever compared in one session, however many arrive at once.
    """
    with valkey.required() as store:
        right, *facts = store.eval(
            _VERIFY, 1, code_requests.session_key(session_id), _code_hash(session_id, code), CHECKS
        )
        if not right:
            count("codes_wrong")
            raise _wrong(int(facts[0]))
        return _remember_verified(store, session_id, *facts)


def _wrong(checks_left: int) -> InvalidOtp:
    sentence = None if checks_left else "The code is wrong or has expired, or was tried too often; ask for a new one."
    return InvalidOtp(sentence, attempts_remaining=checks_left)


def _remember_verified(store: redis.Redis, session_id: uuid.UUID, phone: bytes, place_hash: bytes) -> Verified:
    token, number = _registration_token(session_id), decrypt_phone(phone)
    number_hash = hash_phone(number)
    user_id = User.objects.values_list("pk", flat=True).filter(phone_hash=number_hash).first()
    requires_pin = user_id is not None and registration_lock(user_id) is not None
    known_places.remember(number_hash, place_hash)
    keys = [
        code_requests.session_key(session_id),
        _token_key(token),
        *code_requests.delay_keys(number_hash, place_hash),
    ]
    facts = (phone, TOKEN_SECONDS, int(user_id is None), int(requires_pin))
    is_first, *answer = store.eval(_ACCEPT, len(keys), *keys, *facts)
    if not answer:
        raise _wrong(0)
    if is_first:
        country = countries.country_of(number)
        code_days.note_verified(country)
        count("codes_verified", country)
    is_new, first_required = answer
    return Verified(token, is_new_user=is_new == b"1", requires_pin=first_required == b"1")


def redeem(registration_token: str, device_uuid: uuid.UUID) -> str:
    """The phone number this token proves. From the first call on the token is for this device alone; it may be used again for it.

    Raises InvalidToken when it is unknown, expired or another device's.
    """
    key = _token_key(registration_token)
    with valkey.required() as store:
        phone = store.eval(_REDEEM, 2, key, f"{key}:device", str(device_uuid), TOKEN_SECONDS)
    if phone is None:
        raise InvalidToken
    return decrypt_phone(phone)


def note_made(registration_token: str, made: Made) -> None:
    """From now on the token is good for nothing but this. To be called before it is committed, so that no token is forgotten: it may never be made."""
    with valkey.required() as store:
        store.set(_made_key(registration_token), f"{made.user_id} {made.device_id}", ex=TOKEN_SECONDS)


def made_by(registration_token: str) -> Made | None:
    """What was, or was about to be, made with the token."""
    with valkey.required() as store:
        noted: Any = store.get(_made_key(registration_token))
    if noted is None:
        return None
    user_id, device_id = noted.decode().split()
    return Made(uuid.UUID(user_id), int(device_id))


def vouch(number: str) -> str:
    """A registration token without a code, on the word of whoever runs the server: for a number that has no account, and that nobody's telephone has.

    Raises ValueError for the number of an account, which nobody's word opens, and StorageUnavailable.
    """
    if User.objects.filter(phone_hash=hash_phone(number)).exists():
        raise ValueError("the number has an account")
    token = secrets.token_urlsafe(32)
    with valkey.required() as store:
        store.set(_token_key(token), encrypt_phone(number), ex=TOKEN_SECONDS)
    return token


def _code_hash(session_id: uuid.UUID, code: str) -> bytes:
    return keyed_hash("one-time code", session_id.bytes, code.encode())


def _registration_token(session_id: uuid.UUID) -> str:
    """Derived, not stored: a repeated answer needs the same token, and Redis must not hold it."""
    return base64.urlsafe_b64encode(keyed_hash("registration token", session_id.bytes)).decode().rstrip("=")


def _token_key(registration_token: str) -> str:
    return f"otp:token:{hashlib.sha256(registration_token.encode()).hexdigest()}"


def _made_key(registration_token: str) -> str:
    return f"{_token_key(registration_token)}:made"
