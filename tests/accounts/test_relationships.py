"""Friends, requests, blocks: what each of two people sees."""

import threading
import uuid
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from django.db import connection

from accounts import preferences, relationships, tombstones
from accounts.models import Preference, Relationship, User
from accounts.phones import hash_phone
from accounts.relationships import State
from accounts.wire.refusals import InvalidRequest, NotFound


def person(name: str) -> UUID:
    phone = f"+6681{uuid.uuid4().int % 10**7:07}"
    user = User(phone_hash=hash_phone(phone), phone_encrypted=b"", username=name)
    user.save()
    return user.pk


@pytest.fixture
def pair(db: None) -> tuple[UUID, UUID]:
    return person("alice"), person("bob")


@pytest.fixture
def announced() -> Iterator[list[dict[str, Any]]]:
    heard: list[dict[str, Any]] = []

    def hear(*, pair: tuple[UUID, UUID], blocked: bool, **_: Any) -> None:
        heard.append({"pair": pair, "blocked": blocked})

    relationships.block_changed.connect(hear, weak=False, dispatch_uid="test")
    yield heard
    relationships.block_changed.disconnect(dispatch_uid="test")


def states(one: UUID, other: UUID) -> tuple[State, State]:
    return relationships.access(one, other).state, relationships.access(other, one).state


def test_who_asks_is_answered_by_who_accepts(pair: tuple[UUID, UUID]) -> None:
    alice, bob = pair
    assert states(alice, bob) == (State.NONE, State.NONE)
    assert relationships.befriend(alice, bob).state == State.REQUESTED
    assert states(alice, bob) == (State.REQUESTED, State.INCOMING)
    assert relationships.befriend(alice, bob).state == State.REQUESTED
    assert relationships.befriend(bob, alice).state == State.FRIENDS
    assert states(alice, bob) == (State.FRIENDS, State.FRIENDS)
    assert relationships.access(alice, bob).updated_at == relationships.access(bob, alice).updated_at


@pytest.mark.parametrize("who", ["asker", "asked"])
def test_either_side_can_end_it_at_any_time(pair: tuple[UUID, UUID], who: str) -> None:
    alice, bob = pair
    ending = (alice, bob) if who == "asker" else (bob, alice)
    for accepted in (False, True):
        relationships.befriend(alice, bob)
        if accepted:
            relationships.befriend(bob, alice)
        relationships.end(*ending)
        assert states(alice, bob) == (State.NONE, State.NONE)
    relationships.end(*ending)
    assert not Relationship.objects.exists()


def test_a_block_ends_the_friendship_and_looks_like_being_left(pair: tuple[UUID, UUID]) -> None:
    alice, bob = pair
    relationships.befriend(alice, bob)
    relationships.befriend(bob, alice)
    assert relationships.block(alice, bob).state == State.BLOCKED
    assert states(alice, bob) == (State.BLOCKED, State.NONE)
    assert relationships.is_blocked_between(bob, alice)
    relationships.end(alice, bob)
    assert states(alice, bob) == (State.NONE, State.NONE)


def test_a_request_stays_requested_whatever_the_other_side_blocks(pair: tuple[UUID, UUID]) -> None:
    alice, bob = pair
    asked = relationships.befriend(bob, alice)
    relationships.block(alice, bob)
    assert relationships.access(bob, alice) == asked
    assert relationships.befriend(bob, alice) == asked
    relationships.end(alice, bob)
    assert states(alice, bob) == (State.INCOMING, State.REQUESTED)


def test_both_may_block_and_each_ends_their_own(pair: tuple[UUID, UUID]) -> None:
    alice, bob = pair
    relationships.block(alice, bob)
    relationships.block(bob, alice)
    assert states(alice, bob) == (State.BLOCKED, State.BLOCKED)
    relationships.end(alice, bob)
    assert states(alice, bob) == (State.NONE, State.BLOCKED)
    assert relationships.blocked_among(alice, [bob, uuid.uuid4()]) == {bob}
    assert relationships.befriend(bob, alice).state == State.REQUESTED
    assert not relationships.is_blocked_between(alice, bob)


def test_every_change_of_a_block_is_announced_before_it_is_committed(
    pair: tuple[UUID, UUID], announced: list[dict[str, Any]]
) -> None:
    alice, bob = pair
    relationships.befriend(alice, bob)
    relationships.block(alice, bob)
    relationships.block(alice, bob)
    relationships.block(bob, alice)
    relationships.end(alice, bob)
    relationships.befriend(bob, alice)
    low_high = tuple(sorted(pair))
    assert announced == [{"pair": low_high, "blocked": blocked} for blocked in (True, True, True, False)]


def test_oneself_and_nobody(pair: tuple[UUID, UUID]) -> None:
    alice, _ = pair
    for change in (relationships.befriend, relationships.block):
        with pytest.raises(InvalidRequest):
            change(alice, alice)
        with pytest.raises(NotFound):
            change(alice, uuid.uuid4())
    with pytest.raises(NotFound):
        relationships.access(alice, uuid.uuid4())


@pytest.mark.django_db(transaction=True)
def test_however_two_people_change_their_minds_at_once_they_agree() -> None:
    """Threads with connections of their own; no deadlock, no half of a friendship."""
    alice, bob = person("alice"), person("bob")
    failures: list[BaseException] = []

    def change_often(user: UUID, other: UUID, first: int) -> None:
        verbs = [relationships.befriend, relationships.block, relationships.end, relationships.befriend]
        try:
            for number in range(first, first + 8):
                verbs[number % 4](user, other)
        except BaseException as failure:  # noqa: BLE001  (shown by the test)
            failures.append(failure)
        finally:
            connection.close()

    sides = [(alice, bob, 0), (bob, alice, 1), (alice, bob, 2), (bob, alice, 3)]
    threads = [threading.Thread(target=change_often, args=side) for side in sides]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    allowed = {(State.NONE, State.NONE), (State.REQUESTED, State.INCOMING), (State.FRIENDS, State.FRIENDS)}
    blocked = {(State.BLOCKED, other) for other in (State.NONE, State.REQUESTED, State.BLOCKED)}
    seen = states(alice, bob)
    assert seen in allowed | blocked or tuple(reversed(seen)) in allowed | blocked


def test_nothing_is_left_of_a_person_who_is_gone(pair: tuple[UUID, UUID]) -> None:
    alice, bob = pair
    relationships.block(alice, bob)
    relationships.befriend(bob, alice)
    preferences.change(alice, {"theme": "dark"})
    User.objects.get(pk=alice).delete()
    assert not Relationship.objects.exists()
    assert not Preference.objects.exists()
    with pytest.raises(NotFound):
        relationships.access(bob, alice)


def test_a_deleted_account_is_nobody_before_it_is_erased_too(pair: tuple[UUID, UUID], services: None) -> None:
    alice, bob = pair
    tombstones.bury(User.objects.get(pk=bob), [])
    for change in (relationships.befriend, relationships.block, relationships.end, relationships.access):
        with pytest.raises(NotFound):
            change(alice, bob)
    assert not Relationship.objects.exists()
