"""A provider's advice when to come back: RFC 9110, section 10.2.3."""

import math
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

# Whatever a provider says, it is asked again after this time.
LONGEST_SECONDS = 600.0


def read_retry_after(text: str | None) -> float | None:
    """Seconds from now, between 0 and LONGEST_SECONDS; None where there is no advice, or none that can be read."""
    if text is None:
        return None
    try:
        seconds = float(text) if text.strip().isdecimal() else _until(text)
    except (ValueError, TypeError, OverflowError):
        return None
    return min(max(seconds, 0.0), LONGEST_SECONDS) if math.isfinite(seconds) else None


def _until(date: str) -> float:
    then = parsedate_to_datetime(date)
    return ((then if then.tzinfo else then.replace(tzinfo=UTC)) - datetime.now(UTC)).total_seconds()
