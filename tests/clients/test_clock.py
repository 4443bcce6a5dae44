"""Ids are made on the server's clock, and waiting has its measure."""

import time
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from waypost_client.backoff import LONGEST, SHORTEST, pause, pause_after_close
from waypost_client.clock import ServerClock, uuid7

from tests.clients.people import Phone


def test_an_id_is_a_uuid7_of_its_millisecond() -> None:
    made = uuid7(1_763_720_102_123)
    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    assert made.int >> 80 == 1_763_720_102_123


@pytest.mark.parametrize("skew", [timedelta(hours=1), timedelta(hours=-1)])
def test_ids_follow_the_server_when_the_own_clock_is_wrong(alice: Phone, skew: timedelta) -> None:
    server_time = datetime.now(UTC) + skew
    ServerClock(alice.state).set(server_time)
    alice = alice.restarted()
    made = uuid.UUID(ServerClock(alice.state).new_id())
    assert abs((made.int >> 80) / 1000 - server_time.timestamp()) < 5, "the correction is remembered"
    alice.state.close()


def test_what_is_no_time_leaves_the_clock_alone(alice: Phone) -> None:
    clock = ServerClock(alice.state)
    clock.set_text("tomorrow")
    assert abs(clock.seconds() - time.time()) < 1


def test_pauses_grow_from_half_a_second_to_twenty() -> None:
    for attempt in range(12):
        whole = min(SHORTEST * 2**attempt, LONGEST)
        assert all(whole / 2 <= pause(attempt) <= whole for _ in range(50))
    assert pause(0, at_least=33) == 33


def test_a_restarting_server_is_tried_at_once_but_not_by_all_in_the_same_moment() -> None:
    pauses = {pause_after_close(1012, 0) for _ in range(50)}
    assert max(pauses) <= SHORTEST
    assert len(pauses) > 1
    assert pause_after_close(1012, 5) > LONGEST / 4, "a server that closes again and again is given time"
    assert pause_after_close(4429, 0) >= 5
