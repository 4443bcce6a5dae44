"""Sockets are told which stores are away, and told again when all are well."""

import asyncio
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from chatproject.launcher.valkey import ValkeyServer
from conversations.entries import LogEntry
from messaging import runtime
from messaging.store.memory import MemoryStore
from messaging.store.protocol import StoreUnavailable
from tests.cast import Installation
from tests.messaging.conftest import Connect
from tests.sockets import DeviceSocket, message
from tests.waiting import until

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "messages"])


@pytest.fixture
def valkey(services: None, settings: Any, tmp_path: Path) -> Iterator[ValkeyServer]:
    """The Redis of this test's server, and of nobody else."""
    server = ValkeyServer(tmp_path / "valkey")
    server.start()
    settings.REDIS_URL = server.url
    yield server
    server._signal(signal.SIGCONT)
    server.stop()


class ShutStore(MemoryStore):
    """A store that can be shut: then it takes nothing and says nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.is_shut = False

    async def probe(self) -> None:
        self._refuse_if_shut()

    async def deposit(self, entries: Sequence[LogEntry]) -> None:
        self._refuse_if_shut()
        await super().deposit(entries)

    def _refuse_if_shut(self) -> None:
        if self.is_shut:
            raise StoreUnavailable


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> ShutStore:
    store = ShutStore()
    monkeypatch.setattr(runtime, "message_store", lambda: store)
    return store


async def told(socket: DeviceSocket) -> list[str]:
    stores: list[str] = (await socket.expect("degraded"))["stores"]
    return stores


@pytest.mark.parametrize(
    "fault", [ValkeyServer.kill, lambda server: server._signal(signal.SIGSTOP)], ids=["dies", "stands still"]
)
async def test_redis_goes_and_comes_back(
    valkey: ValkeyServer,
    connect: Connect,
    alice_phone: Installation,
    bob_phone: Installation,
    fault: Callable[[ValkeyServer], None],
) -> None:
    async with connect(alice_phone) as alice:
        await asyncio.to_thread(fault, valkey)
        assert await told(alice) == ["redis"]
        async with connect(bob_phone, ready=False) as bob:
            assert [(await bob.hear())["type"] for _ in range(2)] == ["ready", "degraded"]
            valkey._signal(signal.SIGCONT)
            await asyncio.to_thread(valkey.start)
            assert [await told(alice), await told(bob)] == [[], []]


async def test_while_all_is_well_nothing_is_told(
    valkey: ValkeyServer, connect: Connect, alice_phone: Installation
) -> None:
    async with connect(alice_phone) as alice:
        await alice.nothing("degraded", seconds=1)


async def test_the_message_store_goes_while_a_device_talks_and_comes_back(
    store: ShutStore, connect: Connect, alice_phone: Installation, bob_phone: Installation, alice_and_bob: UUID
) -> None:
    async with connect(alice_phone) as alice, connect(bob_phone, subprotocol="waypost.v1.msgpack") as bob:
        store.is_shut = True
        assert (await alice.ask(message(alice_and_bob, [bob_phone])))["type"] == "sent"
        assert [await told(alice), await told(bob)] == [["messages"], ["messages"]]
        await bob.envelopes(1)
        store.is_shut = False
        assert [await told(alice), await told(bob)] == [[], []]


async def test_what_has_expired_is_shown_to_nobody_while_the_store_is_down_either(
    store: ShutStore, connect: Connect, alice_phone: Installation, bob_phone: Installation, alice_and_bob: UUID
) -> None:
    async with connect(alice_phone) as alice:
        store.is_shut = True
        for seconds in (1, 600):
            assert (await alice.ask(message(alice_and_bob, [bob_phone], expires_in=seconds)))["type"] == "sent"
        await asyncio.sleep(1.1)
        async with connect(bob_phone) as bob:
            assert [envelope["seq"] for envelope in await bob.envelopes(1)] == [2]
            store.is_shut = False
            process = await runtime.running()
            await until(lambda: not process.relay.store_is_down)
            await process.relay.drain()
            assert (await alice.ask(message(alice_and_bob, [bob_phone])))["type"] == "sent"
            assert [envelope["seq"] for envelope in await bob.envelopes(1)] == [3], "a late deposit hints at it, too"


async def test_a_process_with_nothing_to_finish_learns_that_the_store_is_back_too(
    store: ShutStore, connect: Connect, alice_phone: Installation
) -> None:
    """Another process may take over everything: this one would go on leaving its messages to it."""
    async with connect(alice_phone):
        relay = (await runtime.running()).relay
        relay.store_is_down = True
        await until(lambda: not relay.store_is_down)
