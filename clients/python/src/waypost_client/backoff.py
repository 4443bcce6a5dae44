"""How long to wait before trying again."""

import random
import re

SHORTEST = 0.5
LONGEST = 20.0
RESTARTING = 1012
TOO_FAST = 4429
ADVICE = re.compile(r"retry_after_ms=(\d{1,5})")


def pause(attempt: int, *, at_least: float | None = None) -> float:
    """Half a second, doubling up to twenty, of which a random half is taken off; never less than what was asked for."""
    whole = min(SHORTEST * 2.0**attempt, LONGEST)
    chosen = whole * random.uniform(0.5, 1)  # noqa: S311 - spreads load, guards nothing
    return chosen if at_least is None else max(chosen, at_least)


def pause_after_close(code: int | None, attempt: int, reason: str = "") -> float:
    """A restarting server is tried again when it said, else at once, though not by everybody in the same moment; a scolding one later."""
    if code == RESTARTING and attempt == 0:
        advised = ADVICE.fullmatch(reason)
        return int(advised[1]) / 1000 if advised else random.uniform(0, SHORTEST)  # noqa: S311 - as above
    return pause(attempt, at_least=5.0 if code == TOO_FAST else None)
