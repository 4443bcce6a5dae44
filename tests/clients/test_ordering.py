"""What a device shows, and when, whatever the order in which envelopes reach it."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from waypost_client.ordering import ASKED_ENOUGH, LONGEST_PAUSE, PATIENCE, Lane, Verdict

COMMITTED, NOT_FOR_YOU, UNAVAILABLE, EMPTY = (
    Verdict.COMMITTED,
    Verdict.NOT_FOR_YOU,
    Verdict.UNAVAILABLE,
    Verdict.EMPTY,
)


def test_the_first_envelope_with_start_is_the_base() -> None:
    lane = Lane()
    assert lane.arrive(7, 0, start=True) == [7]
    assert lane.arrive(8, 0) == [8]


def test_the_first_message_of_a_conversation_needs_no_start() -> None:
    assert Lane().arrive(1, 0) == [1]


def test_what_overtakes_is_held_back() -> None:
    lane = Lane(1)
    assert lane.arrive(3, 0) == []
    assert lane.arrive(2, 0) == []
    assert lane.arrive(1, 0) == [1, 2, 3]


def test_a_duplicate_still_advances() -> None:
    lane = Lane(1)
    lane.arrive(1, 0)
    assert lane.arrive(1, 0) == [1], "answered with itself; the inbox shows what it has not shown yet"
    assert lane.next_seq == 2
    assert lane.arrive(2, 0) == [2]


def test_an_own_send_fills_its_place() -> None:
    lane = Lane(1)
    assert lane.fill(2, 0) == []
    assert lane.arrive(3, 0) == []
    assert lane.arrive(1, 0) == [1, 2, 3]


def test_an_own_send_is_no_base() -> None:
    """A linked device may send before the envelope with its start has arrived."""
    lane = Lane()
    assert lane.fill(50, 0) == []
    assert lane.arrive(49, 0, start=True) == [49, 50]


def test_a_gap_is_asked_about_after_five_seconds() -> None:
    lane = Lane(1)
    lane.arrive(4, 10)
    assert lane.question(10 + PATIENCE - 0.1) is None
    assert lane.question(10 + PATIENCE) == (1, 3)
    assert lane.question(10 + PATIENCE) is None, "it is asked already"


def test_a_gap_may_be_asked_about_at_once() -> None:
    """When everything was sent that there is, waiting brings nothing."""
    lane = Lane(1)
    lane.arrive(4, 10)
    assert lane.question(10, at_once=True) == (1, 3)
    assert Lane(1).question(10, at_once=True) is None


def test_a_gap_that_moved_has_five_seconds_of_its_own() -> None:
    lane = Lane(1)
    lane.arrive(4, 0)
    lane.arrive(1, 4)
    assert lane.question(PATIENCE) is None
    assert lane.question(4 + PATIENCE) == (2, 3)


def test_a_closed_gap_is_not_asked_about() -> None:
    lane = Lane(1)
    lane.arrive(2, 0)
    lane.arrive(1, 1)
    assert lane.question(100) is None


def test_what_is_not_for_this_device_is_skipped_and_what_is_committed_awaited() -> None:
    lane = Lane(1)
    lane.arrive(4, 0)
    assert lane.question(PATIENCE) == (1, 3)
    assert lane.answer({1: NOT_FOR_YOU, 2: COMMITTED, 3: UNAVAILABLE}, PATIENCE) == []
    assert lane.next_seq == 2
    assert lane.arrive(2, 6) == [2, 4]


def test_a_committed_seq_is_asked_about_again_ever_more_slowly() -> None:
    lane = Lane(1)
    lane.arrive(2, 0)
    asked = []
    for second in range(200):
        if lane.question(float(second)):
            asked.append(second)
            lane.answer({1: COMMITTED}, float(second))
    pauses = [later - earlier for earlier, later in itertools.pairwise(asked)]
    assert pauses[:3] == [5, 10, 20]
    assert set(pauses[3:]) == {LONGEST_PAUSE}
    assert lane.asked_enough
    assert len(asked) > ASKED_ENOUGH


def test_start_does_not_move_a_base_that_is_there() -> None:
    """A member who was removed at 10 and came back at 20: what lies between is asked about at once."""
    lane = Lane(11)
    assert lane.arrive(20, 0, start=True) == []
    assert lane.question(0) == (11, 19)
    assert lane.answer(dict.fromkeys(range(11, 20), NOT_FOR_YOU), 0) == [20]


def test_a_seq_the_answer_leaves_out_stays_in_question() -> None:
    lane = Lane(1)
    lane.arrive(3, 0)
    lane.question(PATIENCE)
    assert lane.answer({1: NOT_FOR_YOU}, PATIENCE) == []
    assert lane.next_seq == 2
    assert lane.question(PATIENCE * 3) == (2, 2)


@pytest.mark.parametrize("verdict", [NOT_FOR_YOU, UNAVAILABLE])
def test_without_base_and_start_the_seq_before_decides(verdict: Verdict) -> None:
    lane = Lane()
    assert lane.arrive(9, 0) == []
    assert lane.question(0) == (8, 8)
    assert lane.answer({8: verdict}, 0) == [9]
    assert lane.next_seq == 10


def test_without_base_a_committed_seq_before_is_awaited_and_asked_below() -> None:
    lane = Lane()
    lane.arrive(9, 0)
    lane.question(0)
    assert lane.answer({8: COMMITTED}, 0) == []
    assert lane.arrive(8, 1) == []
    assert lane.question(1) == (7, 7), "the base may lie below: asked at once"
    assert lane.answer({7: NOT_FOR_YOU}, 1) == [8, 9]


def test_without_base_own_sends_are_stepped_over() -> None:
    lane = Lane(own=[8])
    lane.arrive(9, 0)
    assert lane.question(0) == (7, 7)
    assert lane.answer({7: NOT_FOR_YOU}, 0) == [8, 9]


def test_what_was_deleted_fills_its_place_and_is_no_base() -> None:
    """There is more below it that is the device's and has not come yet."""
    lane = Lane()
    lane.arrive(9, 0)
    assert lane.question(0) == (8, 8)
    assert lane.answer({8: EMPTY}, 0) == []
    assert lane.question(0) == (7, 7)
    assert lane.answer({7: COMMITTED}, 0) == []
    assert lane.arrive(7, 1, start=True) == [7, 8, 9]
    assert lane.answer({8: EMPTY}, 1) == []


def test_what_was_deleted_in_a_gap_is_not_waited_for() -> None:
    lane = Lane(5)
    lane.arrive(8, 0)
    assert lane.answer({5: COMMITTED, 6: EMPTY, 7: EMPTY}, 5) == []
    assert lane.arrive(5, 6) == [5, 6, 7, 8]


def test_a_start_above_something_that_arrived_is_no_base() -> None:
    lane = Lane()
    lane.arrive(5, 0)
    assert lane.arrive(7, 0, start=True) == []
    assert lane.question(0) == (4, 4)
    assert lane.answer({4: NOT_FOR_YOU}, 0) == [5]
    assert lane.question(PATIENCE) == (6, 6)


def test_a_gap_row_is_passed_but_what_came_inside_it_is_shown() -> None:
    lane = Lane(3)
    lane.arrive(6, 0)
    assert lane.cover(3, 9, 0) == [6]
    assert lane.next_seq == 10


def test_a_gap_row_is_a_base_where_there_is_none() -> None:
    lane = Lane()
    assert lane.cover(5, 20, 0) == []
    assert lane.arrive(21, 0) == [21]


def test_at_most_five_hundred_seqs_are_asked_about_at_once() -> None:
    lane = Lane(1)
    lane.arrive(2000, 0, start=True)
    assert lane.question(0) == (1, 500)
    lane.answer(dict.fromkeys(range(1, 501), NOT_FOR_YOU), 0)
    assert lane.question(0) == (501, 1000)


def test_held_back_seqs_survive_a_restart() -> None:
    lane = Lane(4, arrived=[6, 7], own=[8], now=100)
    assert lane.question(100 + PATIENCE) == (4, 5)
    assert lane.arrive(4, 101) == [4]
    assert lane.arrive(5, 101) == [5, 6, 7, 8]


@given(st.permutations(range(5, 25)), st.sets(st.integers(5, 24)), st.data())
def test_any_arrival_order_is_shown_in_the_one_order(arrivals: list[int], own: set[int], data: st.DataObject) -> None:
    """Whatever the order, whatever is repeated: each seq once, ascending, none left."""
    lane, shown, known = Lane(5), [], set()
    for seq in arrivals:
        for _ in range(data.draw(st.integers(1, 2))):
            released = lane.fill(seq, 0) if seq in own else lane.arrive(seq, 0)
            shown += [released_seq for released_seq in released if released_seq not in known]
            known |= set(released)
    assert shown == list(range(5, 25))
    assert lane.question(1000) is None
