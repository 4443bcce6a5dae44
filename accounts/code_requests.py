"""How often codes may be asked for: counted in Redis, everything about one request in one atomic call.

Five things are counted: the number, the number from where it is asked for (its place), the client's address, and the network that is in. A place
that the number's owner is known from (`known_places`) has its own delay and its own count of the day; what strangers do elsewhere does not keep
the owner from a code. A day begins with its first request: asking again while it lasts does not make it longer.
"""

import enum
import uuid
from dataclasses import dataclass

import redis
from django.conf import settings

from accounts import known_places
from accounts.addresses import counted_as, network_of
from accounts.derivation import keyed_hash
from accounts.phones import hash_phone
from accounts.wire.refusals import RateLimited

# Refuses: {0, seconds to wait, reason, how many of KEYS were looked at}. Or counts the request everywhere and keeps the session: {1, delay in force}.
# KEYS: session, address, network, then the hashes that have a delay and a day: of the place, of the number.
_REQUEST = """
local per_hour, per_network, per_day = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local now = tonumber(redis.call('TIME')[1])
local function field(key, name) return tonumber(redis.call('HGET', key, name) or 0) end
local function is_full(key, most) return most > 0 and tonumber(redis.call('GET', key) or 0) >= most end
local function add(key) if redis.call('INCR', key) == 1 then redis.call('EXPIRE', key, 3600) end end
if is_full(KEYS[2], per_hour) then return {0, redis.call('TTL', KEYS[2]), 'address', 2} end
if is_full(KEYS[3], per_network) then return {0, redis.call('TTL', KEYS[3]), 'network', 3} end
for i = 4, #KEYS do
  local next_at, day_ends = field(KEYS[i], 'next_at'), field(KEYS[i], 'day_ends')
  if next_at > now then return {0, next_at - now, 'too_soon', i} end
  if per_day > 0 and day_ends > now and field(KEYS[i], 'day_count') >= per_day then return {0, day_ends - now, 'number', i} end
end
local longest = 0
for i = 4, #KEYS do
  if field(KEYS[i], 'day_ends') <= now then redis.call('HSET', KEYS[i], 'day_ends', now + 86400, 'day_count', 0) end
  redis.call('HINCRBY', KEYS[i], 'day_count', 1)
  local asked = redis.call('HINCRBY', KEYS[i], 'asked', 1)
  local delay = tonumber(ARGV[7 + math.min(asked, #ARGV - 7)])
  redis.call('HSET', KEYS[i], 'next_at', now + delay)
  redis.call('EXPIRE', KEYS[i], 86400)
  longest = math.max(longest, delay)
end
if per_hour > 0 then add(KEYS[2]) end
if per_network > 0 then add(KEYS[3]) end
redis.call('HSET', KEYS[1], 'code', ARGV[4], 'phone', ARGV[5], 'place', ARGV[6], 'checks', 0)
redis.call('EXPIRE', KEYS[1], ARGV[7])
return {1, longest}
"""

# Takes a request back: its session and its delay; the number's count if ARGV[1] is 1, those of address and network if ARGV[2] is.
_TAKE_BACK = """
redis.call('DEL', KEYS[1])
for i = 4, #KEYS do
  if redis.call('EXISTS', KEYS[i]) == 1 then
    redis.call('HINCRBY', KEYS[i], 'asked', -1)
    redis.call('HSET', KEYS[i], 'next_at', 0)
    if ARGV[1] == '1' then redis.call('HINCRBY', KEYS[i], 'day_count', -1) end
  end
end
if ARGV[2] == '1' then
  for i = 2, 3 do if redis.call('EXISTS', KEYS[i]) == 1 then redis.call('DECR', KEYS[i]) end end
end
"""

_OF_NUMBER = 5


class Reason(enum.StrEnum):
    """Why a request is refused."""

    TOO_SOON = "too_soon"
    NUMBER = "number"
    ADDRESS = "address"
    NETWORK = "network"


SENTENCES = {
    Reason.TOO_SOON: "A code was sent a moment ago; ask for another one later.",
    Reason.NUMBER: "This number has been sent as many codes as it may get in a day.",
    Reason.ADDRESS: "Too many codes were asked for from this address.",
    Reason.NETWORK: "Too many codes were asked for from this network.",
}


class TooMany(RateLimited):
    """Too many codes were asked for."""

    def __init__(self, reason: Reason, seconds: int) -> None:
        super().__init__(SENTENCES[reason], retry_after=max(seconds, 1))
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Request:
    """Somebody asks for a code to a number."""

    session_id: uuid.UUID
    number: str
    address: str

    @property
    def number_hash(self) -> bytes:
        """Who is asked about."""
        return hash_phone(self.number)

    @property
    def place_hash(self) -> bytes:
        """Where it is asked from: the network, or what stands for one."""
        place = network_of(self.address) or counted_as(self.address)
        return keyed_hash("place", self.number_hash, place.encode())

    @property
    def network(self) -> str | None:
        """The network with a cap, if there is one."""
        return network_of(self.address)

    def keys(self) -> list[str]:
        """What is counted in, in the order the scripts know."""
        return [
            session_key(self.session_id),
            f"otp:address:{counted_as(self.address)}",
            f"otp:network:{self.network}",
            *reversed(delay_keys(self.number_hash, self.place_hash)),
        ]


@dataclass(frozen=True, slots=True)
class Counted:
    """A request that was let through, and where it was counted."""

    keys: list[str]
    delay: int


def count(store: redis.Redis, request: Request, code_hash: bytes, encrypted_phone: bytes, lifetime: int) -> Counted:
    """Count the request and keep its session for `lifetime` seconds. Raises TooMany, and counts nothing."""
    facts: list[bytes | int] = [
        *_caps(request),
        code_hash,
        encrypted_phone,
        request.place_hash,
        lifetime,
        *(settings.LIMITS["OTP_DELAYS"] or [0]),
    ]
    keys = request.keys()
    allowed, *answer = store.eval(_REQUEST, len(keys), *keys, *facts)
    if not allowed and answer[2] == _OF_NUMBER and known_places.is_known(request.number_hash, request.place_hash):
        keys = keys[: _OF_NUMBER - 1]
        allowed, *answer = store.eval(_REQUEST, len(keys), *keys, *facts)
    if not allowed:
        raise TooMany(Reason(answer[1].decode()), int(answer[0]))
    return Counted(keys, int(answer[0]))


def take_back(store: redis.Redis, counted: Counted, *, uncount_number: bool, uncount_address: bool) -> None:
    """The session is nobody's, and the next request need not wait; as if the number had not been asked for, as if the address had not asked."""
    store.eval(_TAKE_BACK, len(counted.keys), *counted.keys, int(uncount_number), int(uncount_address))


def _caps(request: Request) -> list[int]:
    [per_hour], [per_network] = settings.LIMITS["OTP_PER_IP_HOUR"], settings.LIMITS["OTP_PER_NETWORK_HOUR"]
    [per_day] = settings.LIMITS["OTP_PER_NUMBER_DAY"]
    return [per_hour, per_network if request.network else 0, per_day]


def session_key(session_id: uuid.UUID) -> str:
    """Where a session is."""
    return f"otp:session:{session_id}"


def delay_keys(number_hash: bytes, place_hash: bytes) -> list[str]:
    """Where the delays are: of the number, and of the number from this place."""
    number = f"otp:number:{number_hash.hex()}"
    return [number, f"{number}:{place_hash.hex()}"]
