"""Until when somebody who has left a conversation waits for what was said before."""

import pytest
from waypost_client.partings import Partings

CONVERSATION = "0199a6c2-41b7-7c1e-9f0a-3d2e5b8c7a10"


@pytest.fixture
def partings() -> Partings:
    partings = Partings()
    partings.connected()
    return partings


def test_the_connection_on_which_one_learns_of_it_tells_nothing(partings: Partings) -> None:
    """It may have said `queue_empty` long before the last message was sent."""
    partings.caught_up()
    assert not partings.refused(CONVERSATION)
    assert not partings.refused(CONVERSATION)
    assert partings.only_a_new_connection_tells


def test_a_new_connection_has_everything_once_its_queue_is_empty(partings: Partings) -> None:
    partings.caught_up()
    partings.refused(CONVERSATION)
    partings.connected()
    assert not partings.only_a_new_connection_tells
    assert not partings.refused(CONVERSATION)
    partings.caught_up()
    assert partings.refused(CONVERSATION)


def test_a_connection_that_was_opened_before_tells_nothing_of_another_conversation(partings: Partings) -> None:
    partings.refused(CONVERSATION)
    partings.connected()
    partings.caught_up()
    assert not partings.refused("another")


def test_who_was_taken_back_has_a_clean_sheet(partings: Partings) -> None:
    partings.refused(CONVERSATION)
    partings.admitted(CONVERSATION)
    partings.connected()
    partings.caught_up()
    assert not partings.refused(CONVERSATION)
