"""Times of what is written to Cassandra: every write says its own, and one that does not is refused before it is sent; and how long rows live.

Left to the driver or to a node, the time of a write would be the clock of some machine, and what was overwritten by what would depend on it.
"""

import re

from messaging.store.protocol import RETENTION_MS

SHORTEST_TTL = 60
# Twenty years; both servers refuse more.
LONGEST_TTL = 20 * 365 * 24 * 3600
# Before its formats were widened Cassandra could write no moment after 2038-01-19T03:14:06Z, and it goes by the clock of its own nodes.
LAST_EXPIRY_S = 2**31 - 2 - 24 * 3600
ACK_LIVES_LONGER = 24 * 3600

_WRITE = re.compile(
    r"\b(?:INSERT\s+INTO|UPDATE\s+\S+|DELETE\s.*?\bFROM|DELETE\s+FROM|BEGIN\s+(?:\w+\s+)?BATCH)\b",
    re.IGNORECASE | re.DOTALL,
)
_TIMED = re.compile(r"\bUSING\s+(?:TTL\s+\S+\s+AND\s+)?TIMESTAMP\b", re.IGNORECASE)
_STRINGS = re.compile(r"'(?:[^']|'')*'|--[^\n]*|//[^\n]*|/\*.*?\*/", re.DOTALL)


class UntimedWrite(ValueError):
    """A statement that writes and leaves its time to somebody's clock."""


def timed(statement: str) -> str:
    """The statement itself. Raises `UntimedWrite` where it writes rows without USING TIMESTAMP; reading and changing the schema pass."""
    said = _STRINGS.sub(" ", statement)
    if len(_WRITE.findall(said)) > len(_TIMED.findall(said)):
        message = f"This statement does not say its time: {' '.join(statement.split()[:4])} ..."
        raise UntimedWrite(message)
    return statement


def seconds_until(end_ms: int, now_us: int, more: int = 0) -> int:
    """A TTL. Zero would mean for ever, and less is refused, like one that is longer than the server can write.

    Content that was to expire later than that expires then. When that moment is so near that mailboxes would be cut short, the servers in use
    have learnt to write later ones, or refuse.
    """
    now_s = now_us // 1_000_000
    writable = LAST_EXPIRY_S - now_s
    longest = min(writable, LONGEST_TTL) if writable > RETENTION_MS // 1000 + ACK_LIVES_LONGER else LONGEST_TTL
    return max(SHORTEST_TTL, min(end_ms // 1000 - now_s + more, longest))


def rising_time(place: int) -> int:
    """The write time of a cursor at this position, or of a beat of this rank: rises with it, so that the furthest wins.

    Both have the era above their 48 bits of transaction id or beat. As it stands the seventh era would lie in the future, where ScyllaDB
    accepts no writes; with 42 bits for the rest, which last for four million million transactions, it is the four-hundredth.
    """
    era, rest = place >> 48, place & (1 << 48) - 1
    return (era << 42) + rest
