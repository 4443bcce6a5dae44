"""The load generator's own websocket: frames that arrive in any pieces are the frames that were sent."""

from collections.abc import Generator

import pytest
from websockets.frames import Frame, Opcode

from benchmarks.websocket import BINARY, PING, FragmentReceived, frame, parse


def from_server(opcode: Opcode, payload: bytes) -> bytes:
    return Frame(opcode, payload).serialize(mask=False)


@pytest.mark.parametrize("size", [0, 125, 126, 65_535, 65_536])
def test_a_frame_of_any_size_is_read_whole(size: int) -> None:
    data = from_server(Opcode.BINARY, b"x" * size)

    assert parse(data) == ([(BINARY, b"x" * size)], len(data))


def test_half_a_frame_is_left_until_the_rest_comes() -> None:
    whole, next_one = from_server(Opcode.BINARY, b"one"), from_server(Opcode.PING, b"y" * 125)
    for cut in range(len(next_one)):
        assert parse(whole + next_one[:cut]) == ([(BINARY, b"one")], len(whole))

    assert parse(whole + next_one) == ([(BINARY, b"one"), (PING, b"y" * 125)], len(whole) + len(next_one))


def test_a_fragment_is_a_fault_of_the_server() -> None:
    with pytest.raises(FragmentReceived):
        parse(Frame(Opcode.BINARY, b"part", fin=False).serialize(mask=False))


@pytest.mark.parametrize("size", [0, 125, 126, 65_535, 65_536])
def test_a_server_reads_the_frames_that_are_sent(size: int) -> None:
    data = frame(BINARY, b"x" * size)
    read = whole(Frame.parse(Reading(data).exactly, mask=True))

    assert (read.opcode, read.data) == (Opcode.BINARY, b"x" * size)


def whole(reading: Generator[None, None, Frame]) -> Frame:
    """What a generator of the websockets library returns in the end."""
    while True:
        try:
            next(reading)
        except StopIteration as end:
            read: Frame = end.value
            return read


class Reading:
    """Hands out bytes as the websockets library asks for them."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def exactly(self, count: int) -> Generator[None, None, bytes]:
        taken, self._data = self._data[:count], self._data[count:]
        yield
        return taken
