"""Chores: how much at a time, and who does them."""

import asyncio
from typing import Any

import pytest
from asgiref.sync import sync_to_async

from accounts import chores, leases
from accounts.chores import Chore, Chunk
from accounts.leases import LeaseLost
from accounts.models import Lease
from accounts.wire.refusals import StorageUnavailable

needs_postgresql = pytest.mark.django_db(transaction=True)


async def free() -> None:
    """Nobody minds."""


class Shelf:
    """A hundred things, removed as they are asked for; some askings fail."""

    def __init__(self, *failing: int) -> None:
        self.left = set(range(100))
        self.asked: list[int] = []
        self._failing = set(failing)

    async def chunk(self, after: int | None, size: int) -> Chunk:
        self.asked.append(size)
        if len(self.asked) in self._failing:
            raise StorageUnavailable
        some = sorted(one for one in self.left if after is None or one > after)[:size]
        self.left -= set(some)
        return Chunk(len(some), some[-1] if len(some) == size else None)


@pytest.fixture
def no_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chores, "REST", 0)
    monkeypatch.setattr(chores, "SHORTEST_REST_SECONDS", 0)
    monkeypatch.setattr(chores, "SLOW_REST_SECONDS", 0)


@pytest.mark.usefixtures("no_rest")
async def test_a_chore_is_done_to_its_end_in_chunks_that_grow_while_they_are_quick() -> None:
    shelf = Shelf()
    assert await chores.do(Chore("things", shelf.chunk, 5, 20), free) == 100
    assert (shelf.left, shelf.asked[0], max(shelf.asked)) == (set(), 5, 20)


@pytest.mark.usefixtures("no_rest")
async def test_a_chunk_that_fails_is_done_again_smaller() -> None:
    shelf = Shelf(1, 3)
    assert await chores.do(Chore("things", shelf.chunk, 8, 20), free) == 100
    assert shelf.asked[:2] == [8, 4]


@pytest.mark.usefixtures("no_rest")
async def test_a_database_that_goes_on_refusing_ends_the_chore() -> None:
    with pytest.raises(StorageUnavailable):
        await chores.do(Chore("things", Shelf(*range(1, 20)).chunk, 8, 20), free)


@pytest.mark.parametrize(
    ("took", "size", "rest"),
    [(0.0, 200, 0.02), (0.02, 100, 0.08), (0.04, 50, 0.16), (0.1, 20, 0.4), (0.3, 25, 3.0), (60.0, 25, 3.0)],
)
def test_the_database_rests_four_times_as_long_as_it_works_and_longer_when_it_is_slow(
    took: float, size: int, rest: float
) -> None:
    assert chores.next_size(100, took, most=1000) == size
    assert chores.rest(took) == pytest.approx(rest)
    assert chores.next_size(1, 60.0, most=1000) == 1
    assert chores.next_size(100, took, most=7) <= 25


# --- leases ----------------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def quick(hot_road: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leases that last a moment."""
    monkeypatch.setattr(leases, "LASTS_SECONDS", 0.2)
    monkeypatch.setattr(leases, "RENEWED_AFTER_SECONDS", 0.0)


async def held(name: str, **how: Any) -> leases.Lease:
    lease = await leases.claim(name, **how)
    assert lease is not None
    return lease


@needs_postgresql
async def test_one_of_many_gets_the_lease(hot_road: None) -> None:
    claimed = await asyncio.gather(*(leases.claim("sweeping") for _ in range(5)))
    assert len([lease for lease in claimed if lease]) == 1
    assert await leases.claim("cooking") is not None


@needs_postgresql
async def test_who_was_stopped_for_too_long_has_lost_it_when_it_wakes_up(quick: None) -> None:
    stopped = await held("sweeping")
    await asyncio.sleep(0.25)
    other = await held("sweeping")
    await other.keep()
    with pytest.raises(LeaseLost):
        await stopped.keep()
    await stopped.end(finished=True)
    await other.keep()


@needs_postgresql
async def test_who_goes_on_in_time_keeps_it(quick: None) -> None:
    lease = await held("sweeping")
    for _ in range(4):
        await asyncio.sleep(0.1)
        await lease.keep()
    assert await leases.claim("sweeping") is None


@needs_postgresql
async def test_finished_work_is_not_due_before_its_time_and_unfinished_work_is(hot_road: None) -> None:
    await (await held("sweeping")).end(finished=False)
    await (await held("sweeping", every_seconds=3600)).end(finished=True)
    assert await leases.claim("sweeping", every_seconds=3600) is None
    assert await leases.claim("sweeping", every_seconds=0) is not None


@needs_postgresql
async def test_times_of_a_clock_that_was_wrong_keep_nobody_away(hot_road: None) -> None:
    await held("sweeping")
    await sync_to_async(Lease.objects.update)(until="2100-01-01T00:00Z", finished_at="2100-01-01T00:00Z")
    assert await leases.claim("sweeping", every_seconds=3600) is not None
