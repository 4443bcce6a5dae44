"""Every write to Cassandra says its own time; one that does not is refused before it is sent.

Left to the driver or to a node, the time of a write would be the clock of some machine, and what was overwritten by what would depend on it.
"""

import re

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
