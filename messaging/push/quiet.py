"""Quiet hours: from one time of the day to another, on the clock of where somebody is."""

from datetime import datetime, time
from typing import Any
from zoneinfo import ZoneInfo


def is_quiet(hours: dict[str, Any] | None, now: datetime) -> bool:
    """Whether this aware moment is within {start, end, timezone}. Past midnight where the end is before the start; the end is outside."""
    if hours is None:
        return False
    clock = now.astimezone(ZoneInfo(hours["timezone"])).time()
    start, end = time.fromisoformat(hours["start"]), time.fromisoformat(hours["end"])
    return start <= clock < end if start <= end else clock >= start or clock < end
