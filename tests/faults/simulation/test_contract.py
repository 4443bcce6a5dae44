"""The simulated PostgreSQL keeps the contract that the real one keeps."""

import logging
from collections.abc import Iterator
from uuid import UUID

import pytest
from asgiref.sync import sync_to_async

from conversations.models import Conversation
from conversations.models import Member as Stay
from devices.unlinking import revoke_device
from tests.cast import Installation
from tests.conversations_of import PRESENT_ERA
from tests.faults.simulation import people
from tests.faults.simulation.contract import SCENES, Member, Party, Scene
from tests.faults.simulation.world import World

PATIENCE_SECONDS = 30.0


def named(scene: Scene) -> str:
    return getattr(scene, "__name__", "").replace("_", " ")


# --- the real one ----------------------------------------------------------------------------------------------------------------


def member(device: Installation) -> Member:
    return Member(UUID(device.user_id), int(device.device_id), device.device_number, device.registration_id)


class Real:
    """Registration over HTTP, unlinking as staff does it."""

    def __init__(self, devices: list[Installation]) -> None:
        self._devices = {int(device.device_id): device for device in devices}

    async def link(self, one: Member) -> Member:
        return member(await sync_to_async(self._devices[one.device_id].beside().register)())

    async def unlink(self, one: Member) -> None:
        await sync_to_async(revoke_device)(one.device_id)

    async def keep_apart(self, conversation_id: UUID) -> None:
        await Conversation.objects.filter(pk=conversation_id).aupdate(blocked=True)


@pytest.fixture
def party(alice_phone: Installation, bob_phone: Installation, mallory: Installation) -> Party:
    conversation = Conversation.objects.create(kind="group", last_position=PRESENT_ERA)
    for device, role in ((alice_phone, "owner"), (bob_phone, "member")):
        Stay.objects.create(conversation=conversation, user_id=device.user_id, joined_seq=1, role=role)
    backend = Real([alice_phone, bob_phone, mallory])
    return Party(backend, conversation.pk, member(alice_phone), member(bob_phone), member(mallory))


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("hot_road")
@pytest.mark.parametrize("scene", SCENES, ids=named)
async def test_postgresql_keeps_it(scene: Scene, party: Party, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)
    await scene(party)


# --- the simulated one -----------------------------------------------------------------------------------------------------------


class Simulated:
    """Rows of the synchronous road, written as its transactions leave them."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def link(self, one: Member) -> Member:
        return simulated_member(self._world, self._world.register(one.user_id, "another"))

    async def unlink(self, one: Member) -> None:
        self._world.server.tables.devices[one.device_id].active = False

    async def keep_apart(self, conversation_id: UUID) -> None:
        self._world.server.tables.conversations[conversation_id].blocked = True


def simulated_member(world: World, device: people.Device) -> Member:
    row = world.server.tables.devices[device.device_id]
    return Member(device.user_id, device.device_id, device.number, row.registration_id)


@pytest.fixture
def world() -> Iterator[World]:
    world = World(1)
    with world.installed():
        yield world
        world.end()


@pytest.mark.parametrize("scene", SCENES, ids=named)
def test_the_simulated_postgresql_keeps_it(scene: Scene, world: World) -> None:
    persons = [world.person() for _ in range(3)]
    alice, bob, carol = (simulated_member(world, world.register(user_id, "a phone")) for user_id in persons)
    party = Party(Simulated(world), world.found("group", persons[:2]), alice, bob, carol)
    process = world.scheduler.loop("a process")
    task = process.create_task(scene(party))
    assert world.scheduler.run(task.done, deadline=world.scheduler.now + PATIENCE_SECONDS), "it never ended"
    task.result()
