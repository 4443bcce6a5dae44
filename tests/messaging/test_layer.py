"""The channel layer on a Valkey of its own that is killed and comes back."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from chatproject.launcher.valkey import ValkeyServer
from messaging.layer import HintLayer, HintLoopLayer
from tests.waiting import until


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[ValkeyServer]:
    server = ValkeyServer(tmp_path / "valkey")
    server.start()
    yield server
    server.stop()


@pytest.fixture
async def two_processes(valkey: ValkeyServer) -> AsyncIterator[tuple[HintLoopLayer, HintLoopLayer]]:
    """Two layers that know nothing of each other but the same Valkey, as in two processes."""
    host = {"address": valkey.url, "socket_timeout": None, "socket_connect_timeout": 1}
    made = HintLayer(hosts=[host], prefix="test")._get_layer(), HintLayer(hosts=[host], prefix="test")._get_layer()
    yield made
    for layer in made:
        await layer.close()


class Ear:
    """Somebody who listens to a group."""

    def __init__(self, layer: HintLoopLayer, group: str) -> None:
        self.heard: list[bytes] = []
        self.confirmations = 0
        layer.listen(group, self.heard.append, self._confirm)

    def _confirm(self) -> None:
        self.confirmations += 1


async def test_a_payload_reaches_the_other_process_once_and_nobody_else(
    two_processes: tuple[HintLoopLayer, HintLoopLayer],
) -> None:
    here, there = two_processes
    near, far, deaf = Ear(here, "alice"), Ear(there, "alice"), Ear(there, "bob")
    await until(lambda: bool(near.confirmations and far.confirmations))
    here.publish("alice", b"look")
    await until(lambda: far.heard == [b"look"])
    await asyncio.sleep(0.1)
    assert (near.heard, far.heard, deaf.heard) == ([], [b"look"], [])


async def test_what_is_told_in_one_turn_arrives_in_order(two_processes: tuple[HintLoopLayer, HintLoopLayer]) -> None:
    here, there = two_processes
    far = Ear(there, "alice")
    await until(lambda: bool(far.confirmations))
    said = [b"%d" % number for number in range(500)]
    for payload in said:
        here.publish("alice", payload)
    await until(lambda: len(far.heard) == len(said))
    assert far.heard == said


async def test_whoever_begins_to_listen_while_redis_is_being_connected_hears_all_the_same(
    two_processes: tuple[HintLoopLayer, HintLoopLayer],
) -> None:
    here, there = two_processes
    Ear(there, "alice")
    await asyncio.sleep(0)
    assert there._subscriber._pubsub is None
    second = Ear(there, "bob")
    await until(lambda: there.up)
    async with asyncio.timeout(5):
        while not second.heard:
            here.publish("bob", b"look")
            await asyncio.sleep(0.05)


async def test_who_stops_listening_hears_nothing_and_leaves_no_subscription(
    two_processes: tuple[HintLoopLayer, HintLoopLayer],
) -> None:
    here, there = two_processes
    far = Ear(there, "alice")
    await until(lambda: bool(far.confirmations))
    there.unlisten("alice", far.heard.append)
    await until(lambda: not there._subscriber._changed)
    await asyncio.sleep(0.1)
    assert await there._publisher._redis.pubsub_numsub("test__group__alice") == [(b"test__group__alice", 0)]
    here.publish("alice", b"look")
    await asyncio.sleep(0.1)
    assert far.heard == []


async def test_without_redis_listening_and_telling_work_here_and_after_it_everybody_looks(
    valkey: ValkeyServer, two_processes: tuple[HintLoopLayer, HintLoopLayer]
) -> None:
    here, there = two_processes
    far = Ear(there, "alice")
    await until(lambda: bool(far.confirmations) and there.up)
    told = far.confirmations
    valkey.stop()
    await until(lambda: not there.up)
    await until(lambda: far.confirmations > told)
    near = Ear(here, "alice")
    here.publish("alice", b"while it is down")
    await until(lambda: here._publisher._has_dropped)
    before = far.confirmations
    valkey.start()
    await until(lambda: far.confirmations > before and bool(near.confirmations) and here.up)
    await until(lambda: not here._publisher._has_dropped)
    here.publish("alice", b"again")
    await until(lambda: b"again" in far.heard)
    assert b"while it is down" not in far.heard


async def test_channels_own_interface_still_works(two_processes: tuple[HintLoopLayer, HintLoopLayer]) -> None:
    here, _ = two_processes
    channel = await here.new_channel()
    assert channel.startswith("test")


async def test_what_could_not_be_published_is_made_up_for_by_a_look_for_everybody(
    valkey: ValkeyServer, two_processes: tuple[HintLoopLayer, HintLoopLayer]
) -> None:
    here, there = two_processes
    far = Ear(there, "alice")
    await until(lambda: bool(far.confirmations) and there.up)
    confirmed = far.confirmations
    # The publisher's connection alone fails: the other process notices nothing of it.
    here._publisher._has_dropped = True
    here.publish("alice", b"dropped")
    await until(lambda: far.confirmations > confirmed)
    assert far.heard == []

    def is_heard() -> bool:
        # What is published while the connection is made again may be dropped, too.
        here.publish("alice", b"after")
        return bool(far.heard)

    await until(is_heard)
    assert set(far.heard) == {b"after"}
