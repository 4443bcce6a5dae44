"""Scalar types: what is one, and what only looks like one."""

import time
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError
from pydantic_core import PydanticCustomError

from accounts.wire import scalars

ACCEPTED: list[tuple[Any, Any, Any]] = [
    (scalars.Dec, "1", 1),
    (scalars.Dec, "9223372036854775807", 2**63 - 1),
    (scalars.Base64, "", b""),
    (scalars.Base64, "AAECAw==", bytes(range(4))),
    (scalars.Base64Of32, "A" * 43 + "=", bytes(32)),
    (scalars.Time, "2025-11-21T10:15:02.123Z", datetime(2025, 11, 21, 10, 15, 2, 123000, UTC)),
    (scalars.Time, "2025-11-21T10:15:02Z", datetime(2025, 11, 21, 10, 15, 2, 0, UTC)),
]
REFUSED: list[tuple[Any, Any]] = [
    *(
        (scalars.Dec, value)
        for value in (1, "0", "-1", "01", "1.0", "", "\u0661", "9223372036854775808", "1" * 5000, None, True)
    ),
    *(
        (scalars.Uuid, value)
        for value in ("", "x", 5, "{0199a6c2-41b7-7c1e-9f0a-3d2e5b8c7a10}", "0199A6C2-41B7-7C1E-9F0A-3D2E5B8C7A10")
    ),
    *((scalars.Base64, value) for value in ("A", "AA", "AAA", "AA==\n", "AB==", "-_==", "AA=A", "\u00e9AA=", 5)),
    *((scalars.Base64Of32, value) for value in ("", "A" * 40)),
    *(
        (scalars.Time, value)
        for value in ("2025-11-21", "2025-11-21T10:15:02", "2025-11-21T10:15:02+00:00", "2025-02-30T10:15:02Z", 5, "")
    ),
]


@pytest.mark.parametrize(("kind", "text", "value"), ACCEPTED)
def test_well_formed(kind: Any, text: str, value: object) -> None:
    assert TypeAdapter(kind).validate_python(text) == value


@pytest.mark.parametrize(("kind", "value"), REFUSED)
def test_ill_formed(kind: Any, value: object) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(kind).validate_python(value)


def test_times_are_written_in_utc_with_milliseconds() -> None:
    bangkok = datetime(2025, 11, 21, 17, 15, 2, 123999, timezone(timedelta(hours=7)))
    assert scalars.write_time(bangkok) == "2025-11-21T10:15:02.123Z"
    assert scalars.write_day(date(2025, 11, 21)) == "2025-11-21T00:00:00.000Z"


@pytest.mark.parametrize("most", [100, 500])
def test_what_is_far_too_long_is_not_composed(most: int) -> None:
    """Two kinds of marks in turn, thousands of them, take a minute to bring into order, and nobody else is served meanwhile."""
    for shown in (scalars.shown_text, scalars.shown_lines):
        began = time.process_time()
        with pytest.raises(PydanticCustomError):
            shown("a" + "\u0316\u0315" * 30_000)
        assert time.process_time() - began < 1
        assert shown("e\u0301" * most) == "\u00e9" * most
