"""The proxy does to a connection what it is told, also to one that is open already, and lets it go on afterwards."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from tests.faults.nemesis.proxy import BLACK_HOLE, Link, Streams, Weather, proxies


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(1024):
            writer.write(data)
    writer.close()


@asynccontextmanager
async def echo() -> AsyncIterator[tuple[Link, Streams]]:
    """A server that says what it hears, a proxy before it, and a client's connection through that."""
    server = await asyncio.start_server(_echo, "127.0.0.1", 0)
    with proxies() as made:
        link = await asyncio.to_thread(made.link, "echo", server.sockets[0].getsockname()[:2])
        reader, writer = await asyncio.open_connection(link.host, link.port)
        assert await _said(reader, writer, b"hello") == b"hello"
        try:
            yield link, (reader, writer)
        finally:
            writer.close()
            server.close()
            await asyncio.to_thread(made.close)


async def _said(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, data: bytes) -> bytes:
    writer.write(data)
    return await asyncio.wait_for(reader.readexactly(len(data)), 5)


async def test_latency_is_added_in_each_direction() -> None:
    async with echo() as (link, streams):
        await asyncio.to_thread(link.set, Weather(latency=0.15))
        began = time.monotonic()
        assert await _said(*streams, b"slow") == b"slow"
        assert time.monotonic() - began >= 0.3


async def test_a_black_hole_swallows_nothing_for_good() -> None:
    async with echo() as (link, (reader, writer)):
        await asyncio.to_thread(link.set, BLACK_HOLE)
        writer.write(b"into the dark")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.3)
        await asyncio.to_thread(link.clear)
        assert await asyncio.wait_for(reader.readexactly(13), 5) == b"into the dark"


async def test_one_direction_may_be_deaf_alone() -> None:
    async with echo() as (link, (reader, writer)):
        await asyncio.to_thread(link.set, Weather(to_client=False))
        writer.write(b"heard there")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.3)


async def test_a_cut_is_a_reset_and_new_connections_are_served() -> None:
    async with echo() as (link, (reader, _)):
        assert await asyncio.to_thread(link.cut) == 1
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(reader.read(1), 5)
        again = await asyncio.open_connection(link.host, link.port)
        assert await _said(*again, b"again") == b"again"
        again[1].close()


async def test_a_half_closed_connection_still_takes_what_the_client_says() -> None:
    async with echo() as (link, (reader, writer)):
        assert await asyncio.to_thread(link.half_close) == 1
        assert await asyncio.wait_for(reader.read(1), 5) == b""
        writer.write(b"nobody answers")
        await writer.drain()


async def test_pieces_and_a_narrow_line_change_no_byte() -> None:
    async with echo() as (link, streams):
        await asyncio.to_thread(link.set, Weather(piece=1, bandwidth=40_000))
        data = bytes(range(256)) * 16
        began = time.monotonic()
        assert await _said(*streams, data) == data
        assert time.monotonic() - began >= 0.1


async def test_a_server_that_is_away_resets_its_clients() -> None:
    server = await asyncio.start_server(_echo, "127.0.0.1", 0)
    place = server.sockets[0].getsockname()[:2]
    server.close()
    await server.wait_closed()
    with proxies() as made:
        link = await asyncio.to_thread(made.link, "nobody", place)
        reader, writer = await asyncio.open_connection(link.host, link.port)
        with suppress(ConnectionError):
            assert await asyncio.wait_for(reader.read(1), 5) == b""
        writer.close()
