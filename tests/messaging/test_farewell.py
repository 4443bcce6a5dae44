"""A process that stops sends its sockets away: answered, spread over time, each with its own advice."""

import asyncio
from collections import Counter

from messaging import frames
from messaging.sockets import LONGEST_ABSENCE_SECONDS, LONGEST_FAREWELL_SECONDS, OpenSockets


class Guest:
    """A socket that notes when it was sent away."""

    def __init__(self) -> None:
        self.left_at = 0.0
        self.absence_ms = -1
        self.told: list[frames.ServerFrame] = []

    def tell(self, frame: frames.ServerFrame) -> None:
        self.told.append(frame)

    async def leave(self, *, absence_ms: int) -> None:
        self.left_at, self.absence_ms = asyncio.get_running_loop().time(), absence_ms


async def test_sockets_leave_one_after_the_other_and_do_not_come_back_together() -> None:
    sockets, guests = OpenSockets(), [Guest() for _ in range(100)]
    for guest in guests:
        sockets.add(guest)
    began = asyncio.get_running_loop().time()
    await sockets.farewell()
    moments = Counter(round((guest.left_at - began) * 20) for guest in guests)
    assert 0.3 < max(guest.left_at for guest in guests) - began < LONGEST_FAREWELL_SECONDS
    assert max(moments.values()) < 50, "spread over half a second"
    assert all(0 <= guest.absence_ms <= 500 for guest in guests)
    assert len({guest.absence_ms for guest in guests}) > 20
    assert LONGEST_ABSENCE_SECONDS < 5


async def test_nobody_there_nobody_to_wait_for() -> None:
    await OpenSockets().farewell()


async def test_everybody_still_there_is_told() -> None:
    sockets, alice, bob = OpenSockets(), Guest(), Guest()
    sockets.add(alice)
    sockets.add(bob)
    sockets.discard(bob)
    sockets.tell(frames.QueueEmptyFrame())
    assert (len(alice.told), len(bob.told)) == (1, 0)
