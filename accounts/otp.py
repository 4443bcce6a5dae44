"""One-time codes by SMS, from the first request to the registration token.

Everything lives in Redis and each step is one atomic call there, so nothing can be guessed twice at once and nothing is left half done.
Redis never holds a code, a token or a phone number: only keyed hashes of the first two and the encrypted form of the third. Without Redis
every call raises StorageUnavailable.
"""

import base64
import hashlib
import secrets
import uuid
from dataclasses import dataclass

import redis
from django.conf import settings

from accounts import sms, valkey
from accounts.addresses import counted_as
from accounts.derivation import keyed_hash
from accounts.models import User
from accounts.phones import decrypt_phone, encrypt_phone, hash_phone
from accounts.pins import registration_lock
from accounts.wire.refusals import InvalidOtp, InvalidToken, RateLimited, StorageUnavailable

CODE_SECONDS = 180
TOKEN_SECONDS = 600
CHECKS = 5

# Refuses with the seconds to wait, or counts the request everywhere and keeps the session: {1, delay now in force}.
_REQUEST = """
local number, day, address, session = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local per_day, per_hour = tonumber(ARGV[1]), tonumber(ARGV[2])
local code, phone, lifetime = ARGV[3], ARGV[4], tonumber(ARGV[5])
local now = tonumber(redis.call('TIME')[1])
local next_at = tonumber(redis.call('HGET', number, 'next_at') or 0)
if next_at > now then return {0, next_at - now} end
if per_day > 0 and tonumber(redis.call('GET', day) or 0) >= per_day then return {0, redis.call('TTL', day)} end
if per_hour > 0 and tonumber(redis.call('GET', address) or 0) >= per_hour then return {0, redis.call('TTL', address)} end
local asked = redis.call('HINCRBY', number, 'asked', 1)
local delay = tonumber(ARGV[5 + math.min(asked, #ARGV - 5)])
redis.call('HSET', number, 'next_at', now + delay)
redis.call('EXPIRE', number, 86400)
if redis.call('INCR', day) == 1 then redis.call('EXPIRE', day, 86400) end
if redis.call('INCR', address) == 1 then redis.call('EXPIRE', address, 3600) end
redis.call('HSET', session, 'code', code, 'phone', phone, 'checks', 0)
redis.call('EXPIRE', session, lifetime)
return {1, delay}
"""

# Takes a request back whose message never left.
_TAKE_BACK = """
redis.call('DEL', KEYS[4])
for i = 2, 3 do if redis.call('EXISTS', KEYS[i]) == 1 then redis.call('DECR', KEYS[i]) end end
if redis.call('EXISTS', KEYS[1]) == 1 then
  redis.call('HINCRBY', KEYS[1], 'asked', -1)
  redis.call('HSET', KEYS[1], 'next_at', 0)
end
"""

# Reserves a check before it compares; a right code gives its check back. {1, phone} or {0, checks left}.
_VERIFY = """
if redis.call('EXISTS', KEYS[1]) == 0 then return {0, 0} end
local most = tonumber(ARGV[2])
if tonumber(redis.call('HGET', KEYS[1], 'checks')) >= most then return {0, 0} end
local checks = redis.call('HINCRBY', KEYS[1], 'checks', 1)
if redis.call('HGET', KEYS[1], 'code') ~= ARGV[1] then return {0, most - checks} end
redis.call('HINCRBY', KEYS[1], 'checks', -1)
return {1, redis.call('HGET', KEYS[1], 'phone')}
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
class Verified:
    """The number is the caller's."""

    registration_token: str
    is_new_user: bool
    requires_pin: bool


def request_code(number: str, address: str) -> Sent:
    """Send a code to the number; the same happens for numbers with and without an account.

    Raises RateLimited (too soon after the last one, or too many of this number or address) and StorageUnavailable (Redis or the gateway).
    """
    session_id, code = uuid.uuid4(), f"{secrets.randbelow(10**6):06}"
    keys = _request_keys(number, address, session_id)
    with valkey.required() as store:
        delay = _count_request(store, keys, number, _code_hash(session_id, code))
    try:
        sms.gateway().send(sms.CodeMessage(number, code))
    except sms.SmsUnavailable as failure:
        with valkey.required() as store:
            store.eval(_TAKE_BACK, len(keys), *keys)
        raise StorageUnavailable from failure
    return Sent(session_id, delay)


def _request_keys(number: str, address: str, session_id: uuid.UUID) -> list[str]:
    name = hash_phone(number).hex()
    return [f"otp:number:{name}", f"otp:day:{name}", f"otp:address:{counted_as(address)}", _session_key(session_id)]


def _count_request(store: redis.Redis, keys: list[str], number: str, code_hash: bytes) -> int:
    [per_day], [per_hour] = settings.LIMITS["OTP_PER_NUMBER_DAY"], settings.LIMITS["OTP_PER_IP_HOUR"]
    delays = settings.LIMITS["OTP_DELAYS"]
    phone = encrypt_phone(number)
    allowed, seconds = store.eval(
        _REQUEST, len(keys), *keys, per_day, per_hour, code_hash, phone, CODE_SECONDS, *delays
    )
    if not allowed:
        raise RateLimited(retry_after=max(int(seconds), 1))
    return int(seconds)


def verify_code(session_id: uuid.UUID, code: str) -> Verified:
    """Exchange the right code for a registration token; the same again, for 180 s, gives the same answer.

    Raises InvalidOtp with the checks that are left: at most five are ever compared in one session, however many arrive at once.
    """
    with valkey.required() as store:
        right, fact = store.eval(_VERIFY, 1, _session_key(session_id), _code_hash(session_id, code), CHECKS)
        if not right:
            raise InvalidOtp(attempts_remaining=int(fact))
        return _remember_verified(store, session_id, fact)


def _remember_verified(store: redis.Redis, session_id: uuid.UUID, phone: bytes) -> Verified:
    token = _registration_token(session_id)
    number_hash = hash_phone(decrypt_phone(phone))
    user_id = User.objects.values_list("pk", flat=True).filter(phone_hash=number_hash).first()
    requires_pin = user_id is not None and registration_lock(user_id) is not None
    with store.pipeline() as steps:
        steps.hsetnx(_session_key(session_id), "is_new", int(user_id is None))
        steps.hget(_session_key(session_id), "is_new")
        steps.hsetnx(_session_key(session_id), "requires_pin", int(requires_pin))
        steps.hget(_session_key(session_id), "requires_pin")
        steps.set(_token_key(token), phone, nx=True, ex=TOKEN_SECONDS)
        steps.delete(f"otp:number:{number_hash.hex()}")
        _, is_new, _, first_required, *_ = steps.execute()
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


def _session_key(session_id: uuid.UUID) -> str:
    return f"otp:session:{session_id}"


def _code_hash(session_id: uuid.UUID, code: str) -> bytes:
    return keyed_hash("one-time code", session_id.bytes, code.encode())


def _registration_token(session_id: uuid.UUID) -> str:
    """Derived, not stored: a repeated answer needs the same token, and Redis must not hold it."""
    return base64.urlsafe_b64encode(keyed_hash("registration token", session_id.bytes)).decode().rstrip("=")


def _token_key(registration_token: str) -> str:
    return f"otp:token:{hashlib.sha256(registration_token.encode()).hexdigest()}"
