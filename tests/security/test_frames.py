"""The matrix of the socket: every frame a client may say, about what is its own, another's, nobody's, and what has ended."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import pytest

from messaging.frames import CLIENT_FRAMES
from tests.cast import JsonObject
from tests.messaging.conftest import Connect
from tests.security.test_matrix import COLUMNS, WITH_TOKEN, listed
from tests.security.world import Asker, Ids, World, message
from tests.sockets import DeviceSocket

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "messages"])

QUIET = "no answer"


@dataclass(frozen=True)
class Said:
    """A frame, what its own is answered with, and what everything else is: an error's code, or the frame's type; QUIET: nothing."""

    frame: Callable[[Ids], JsonObject]
    own: str
    hidden: str


def _send(ids: Ids) -> JsonObject:
    addressed = {"device_id": ids.device_id, "registration_id": ids.registration_id, "ciphertext": "eA=="}
    return {"conversation_id": ids.conversation_id, **message(), "messages": [addressed]}


def _call(ids: Ids) -> JsonObject:
    conversation = {"conversation_id": ids.conversation_id, "device_id": ids.device_id}
    return conversation | {"signal": "offer", "body": "eA=="}


SAID: dict[str, Said] = {
    "authenticate": Said(lambda _: {"access_token": "another"}, "CONFLICT", "CONFLICT"),
    "send": Said(_send, "MISMATCHED_DEVICES", "NOT_FOUND"),
    "ack": Said(lambda ids: {"message_ids": [ids.message_id]}, QUIET, QUIET),
    "read": Said(lambda ids: {"conversation_id": ids.conversation_id, "seq": 1}, QUIET, "NOT_FOUND"),
    "typing": Said(lambda ids: {"conversation_id": ids.conversation_id, "active": True}, QUIET, "NOT_FOUND"),
    # Nobody of the caller's group is connected.
    "call": Said(_call, "NOT_FOUND", "NOT_FOUND"),
    "presence": Said(lambda ids: {"user_ids": [ids.user_id]}, "presence", "presence"),
    "ping": Said(lambda _: {}, "pong", "pong"),
}


def test_every_frame_has_its_row() -> None:
    tags = {str(frame.__struct_config__.tag) for frame in CLIENT_FRAMES}
    assert sorted(tags - SAID.keys()) == [], "give these frames rows in tests/security/test_frames.py"
    assert sorted(SAID.keys() - tags) == [], "there are rows of frames that are no more"


async def test_a_frame_about_others_things_is_answered_as_one_about_nothing(world: World, connect: Connect) -> None:
    wrong: list[Any] = []
    for name in WITH_TOKEN:
        asker = world.askers[name]
        assert asker.device is not None
        async with connect(asker.device) as socket:
            await socket.expect("queue_empty")
            for tag in SAID:
                wrong += [(name, tag, *fault) async for fault in faults(socket, tag, asker)]
            heard = str(socket.unread)
        wrong += [(name, "heard", secret) for secret in world.private if secret in heard]
    assert not wrong, listed(wrong)
    await nothing_was_acknowledged(world, connect)


async def faults(socket: DeviceSocket, tag: str, asker: Asker) -> AsyncIterator[Any]:
    """What is not as the frame's row says."""
    said, hidden = SAID[tag], []
    for column in COLUMNS:
        expected = said.own if column == "own" else said.hidden
        answer = await answered(socket, {"type": tag} | said.frame(asker.ids[column]), expected)
        if answer.get("error_code", answer["type"]) != expected:
            yield column, answer
        if column != "own":
            hidden.append({key: value for key, value in answer.items() if key != "ref"})
    if any(answer != hidden[0] for answer in hidden):
        yield "can be told apart", hidden


async def answered(socket: DeviceSocket, frame: JsonObject, expected: str) -> JsonObject:
    """The answer; a quiet one is known by that of a ping, before which an error would have come."""
    if expected != QUIET:
        return await socket.ask(frame)
    await socket.say(frame | {"ref": "quiet"})
    await socket.ask({"type": "ping"})
    loud = [one for one in socket.unread if one.get("ref") == "quiet"]
    return loud[0] if loud else {"type": QUIET}


async def nothing_was_acknowledged(world: World, connect: Connect) -> None:
    """Carol's mailbox still has what Alice wrote, whatever others have acknowledged and read, and Alice is told of nothing."""
    theirs = world.askers["user"].ids["another's"]
    async with connect(world.cast.alice) as alice, connect(world.cast.carol) as carol:
        await carol.expect("envelope", message_id=theirs.message_id)
        await alice.expect("queue_empty")
        await alice.nothing("receipt")
