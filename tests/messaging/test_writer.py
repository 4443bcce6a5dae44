"""The writing half of a socket, with a client that does not read."""

import asyncio

import pytest

from messaging import writer as writer_module
from messaging.writer import MOST_PASSING, MOST_PASSING_BYTES, MOST_QUEUED, MOST_QUEUED_BYTES, SocketWriter


class DeafClient:
    """Takes nothing until it is told to go on."""

    def __init__(self) -> None:
        self.goes_on = asyncio.Event()
        self.got: list[bytes] = []
        self.closed_with: int | None = None
        self.reason = ""
        self.is_cut = False

    def cut(self) -> None:
        self.is_cut = True

    async def send(self, frame: bytes) -> None:
        await self.goes_on.wait()
        self.got.append(frame)

    async def close(self, code: int, reason: str) -> None:
        self.closed_with = code
        self.reason = reason


async def test_what_a_deaf_client_leaves_unread_is_bounded_in_bytes_and_then_it_is_closed() -> None:
    client = DeafClient()
    writer = SocketWriter(client.send, client.close, client.cut)
    task = asyncio.create_task(writer.run())
    frame = b"x" * 100_000
    for _ in range(1000):
        writer.put(frame)
        await asyncio.sleep(0)
        assert writer._queued_bytes <= MOST_QUEUED_BYTES + len(frame)
    assert writer.is_closing
    client.goes_on.set()
    await task
    assert client.closed_with == 4408
    assert len(client.got) < 10, "what was queued is dropped: the device reads it when it comes back"


async def test_what_is_queued_before_a_close_is_written_and_nothing_after_it() -> None:
    client = DeafClient()
    client.goes_on.set()
    writer = SocketWriter(client.send, client.close, client.cut)
    writer.put(b"before")
    writer.close(1012, "retry_after_ms=20")
    writer.put(b"after")
    writer.close(4401)
    await writer.run()
    assert (client.got, client.closed_with, client.reason) == ([b"before"], 1012, "retry_after_ms=20")


async def test_who_does_not_take_the_closing_frame_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "LINGER_SECONDS", 0.1)
    client, polite = DeafClient(), DeafClient()
    polite.goes_on.set()
    for one in (client, polite):
        writer = SocketWriter(one.send, one.close, one.cut)
        writer.put(b"never read")
        task = asyncio.create_task(writer.run())
        await asyncio.sleep(0)
        writer.close(4401)
        await asyncio.sleep(0.2)
        task.cancel()
    assert (client.is_cut, polite.is_cut, polite.closed_with) == (True, False, 4401)


@pytest.mark.parametrize(("size", "most"), [(40_000, MOST_PASSING_BYTES // 40_000), (10, MOST_PASSING)])
async def test_what_is_worth_nothing_later_fills_a_part_and_leaves_the_rest(size: int, most: int) -> None:
    client = DeafClient()
    writer = SocketWriter(client.send, client.close, client.cut)
    for _ in range(5000):
        writer.put_passing(b"x" * size)
    writer.put(b"an envelope")
    assert not writer.is_closing
    task = asyncio.create_task(writer.run())
    client.goes_on.set()
    while b"an envelope" not in client.got:  # noqa: ASYNC110  (nobody says so)
        await asyncio.sleep(0)
    assert len(client.got) == most + 1
    writer.put_passing(b"again")
    writer.close(1000)
    await task
    assert client.got[-1] == b"again", "there is room when it was written"


async def test_what_may_be_missed_closes_nobody_and_leaves_room_for_what_may_not() -> None:
    client = DeafClient()
    writer = SocketWriter(client.send, client.close, client.cut)
    task = asyncio.create_task(writer.run())
    for _ in range(10 * MOST_QUEUED):
        writer.put_if_room(b"receipt")
    assert not writer.is_closing
    for _ in range(MOST_QUEUED // 2 - 1):
        writer.put(b"envelope")
    assert not writer.is_closing
    client.goes_on.set()
    writer.close(1000)
    await task
    assert (client.got.count(b"receipt"), client.got.count(b"envelope")) == (MOST_QUEUED // 2, MOST_QUEUED // 2 - 1)
