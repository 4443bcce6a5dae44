"""Lanes, quiet hours and what waits: the parts of a push that need no network."""

from datetime import UTC, datetime
from uuid import uuid4

import pytest

from messaging.push import lanes
from messaging.push.choosing import Wake
from messaging.push.lanes import Lanes, pause_after
from messaging.push.quiet import is_quiet
from messaging.push.waiting import Waiting

HOURS = {"start": "22:00", "end": "07:00", "timezone": "Asia/Bangkok"}


def filled(name: str, count: int) -> Lanes:
    full = Lanes()
    for _ in range(count):
        full.begin(name)
    return full


def test_one_lane_does_not_keep_all_busy() -> None:
    busy = filled("mozilla", lanes.SENDS_PER_LANE)
    assert busy.not_before("mozilla", 5.0) > 5.0
    assert busy.not_before("google", 5.0) == 5.0


def test_strangers_share_a_part_and_leave_the_rest_to_those_who_take_something() -> None:
    crowd = Lanes()
    crowd.end(crowd.begin("google"))
    crowd.is_well("google")
    turns = [crowd.begin(f"stranger {number}") for number in range(lanes.SENDS_OF_STRANGERS)]
    assert crowd.not_before("one more", 5.0) > 5.0
    assert crowd.not_before("google", 5.0) == 5.0
    for turn in turns:
        crowd.is_well(turn.lane)
        crowd.end(turn)
    assert crowd.not_before("one more", 5.0) == 5.0
    assert crowd.free == lanes.SENDS


def test_whoever_fails_rests_longer_each_time_and_not_at_all_once_well() -> None:
    failing = filled("mozilla", 1)
    failing.has_failed("mozilla", 100.0, None)
    first = failing.not_before("mozilla", 100.0)
    failing.has_failed("mozilla", 100.0, None)
    failing.has_failed("mozilla", 100.0, None)
    assert 100.0 < first < failing.not_before("mozilla", 100.0)
    failing.has_failed("mozilla", 100.0, 200.0)
    assert failing.not_before("mozilla", 100.0) == 300.0
    failing.is_well("mozilla")
    assert failing.not_before("mozilla", 100.0) == 100.0


def test_pauses_have_a_bound() -> None:
    assert all(0 < pause_after(failures) <= lanes.LONGEST_REST_SECONDS for failures in (1, 2, 30, 10_000))


def test_lanes_that_strangers_have_made_up_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "MOST_LANES", 10)
    many = Lanes()
    for number in range(100):
        turn = many.begin(f"stranger {number}")
        many.is_well(turn.lane)
        many.end(turn)
    assert len(many._lanes) <= 10


def test_who_takes_once_and_then_hangs_is_a_stranger_again() -> None:
    crowd = Lanes()
    for number in range(lanes.SENDS_OF_STRANGERS + 1):
        turn = crowd.begin(f"host {number}")
        crowd.is_well(turn.lane)
        crowd.has_failed(turn.lane, 0.0, 1.0)
        crowd.end(turn)
    for number in range(lanes.SENDS_OF_STRANGERS):
        crowd.begin(f"host {number}")
    assert crowd.not_before(f"host {lanes.SENDS_OF_STRANGERS}", 5.0) > 5.0


@pytest.mark.parametrize(
    ("utc", "quiet"), [("14:59", False), ("15:00", True), ("20:00", True), ("23:59", True), ("00:00", False)]
)
def test_quiet_hours_go_past_midnight_where_somebody_is(utc: str, quiet: bool) -> None:  # noqa: FBT001
    now = datetime.fromisoformat(f"2025-11-21T{utc}:00").replace(tzinfo=UTC)
    assert is_quiet(HOURS, now) is quiet


@pytest.mark.parametrize(
    ("hours", "quiet"),
    [
        (None, False),
        ({"start": "12:00", "end": "13:00", "timezone": "UTC"}, True),
        ({"start": "13:00", "end": "14:00", "timezone": "UTC"}, False),
        ({"start": "12:30", "end": "12:30", "timezone": "UTC"}, False),
        # Daylight saving: 12:30 UTC is 07:30 there in winter.
        ({"start": "07:00", "end": "08:00", "timezone": "America/New_York"}, True),
    ],
)
def test_quiet_hours_of_a_day(hours: dict[str, str] | None, quiet: bool) -> None:  # noqa: FBT001
    assert is_quiet(hours, datetime(2025, 11, 21, 12, 30, tzinfo=UTC)) is quiet


def wake(device_id: int, **changes: object) -> Wake:
    return Wake(**({"user_id": uuid4(), "device_id": device_id} | changes))  # type: ignore[arg-type]


def test_the_oldest_goes_when_there_are_too_many() -> None:
    waiting = Waiting(2)
    assert [waiting.put(wake(number)) for number in (1, 2, 3, 2)] == [True, True, False, True]
    assert sorted(one.device_id for one in waiting.take(0.0, 10)) == [2, 3]


def test_one_wake_up_stands_for_all_of_its_device() -> None:
    first, second = uuid4(), uuid4()
    waiting = Waiting(10)
    waiting.put(wake(1, conversations={first}, not_before=50.0, needs_mail=True, failures=2))
    assert waiting.take(0.0, 10) == []
    waiting.put(wake(1, conversations={second}, is_call=True))
    [both] = waiting.take(0.0, 10)
    assert (both.conversations, both.is_call, both.needs_mail, both.failures) == ({first, second}, True, False, 2)
    assert len(waiting) == 0
