"""Nonsense on a socket: documented errors, never silence, and the neighbour notices nothing."""

import json
import logging
from typing import Any
from uuid import UUID

import pytest

from tests.cast import Installation
from tests.messaging.conftest import Connect
from tests.sockets import message

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "messages"])

UUID_TEXT = "0199a6c2-41b7-7c1e-9f0a-3d2e5b8c7a10"
GOOD_SEND: dict[str, Any] = {
    "type": "send",
    "conversation_id": UUID_TEXT,
    "client_message_id": UUID_TEXT,
    "kind": "message",
    "messages": [{"device_id": "1", "registration_id": 1, "ciphertext": "eA=="}],
}


def changed(**fields: Any) -> dict[str, Any]:
    return GOOD_SEND | fields


def addressed(**fields: Any) -> dict[str, Any]:
    return changed(messages=[GOOD_SEND["messages"][0] | fields])


# Each of these is a frame, and gets an error with this field (None: no field is named).
WRONG_FIELDS: list[tuple[dict[str, Any], str | None]] = [
    ({"type": "send"}, None),
    (changed(conversation_id=None), "conversation_id"),
    (changed(conversation_id=5), "conversation_id"),
    (changed(conversation_id=UUID_TEXT.upper()), "conversation_id"),
    (changed(conversation_id=UUID_TEXT.replace("-", "")), "conversation_id"),
    (changed(conversation_id=f"{UUID_TEXT}\n"), "conversation_id"),
    (changed(conversation_id={"$ne": ""}), "conversation_id"),
    (changed(conversation_id=[UUID_TEXT]), "conversation_id"),
    (changed(client_message_id="x"), "client_message_id"),
    (changed(client_message_id=""), "client_message_id"),
    (changed(client_message_id=True), "client_message_id"),
    (changed(kind="MESSAGE"), "kind"),
    (changed(kind=None), "kind"),
    (changed(kind=["message"]), "kind"),
    (changed(messages=None), "messages"),
    (changed(messages={}), "messages"),
    (changed(messages="all"), "messages"),
    (changed(messages=[None]), "messages.0"),
    (changed(messages=[5]), "messages.0"),
    (changed(messages=[{}]), "messages.0"),
    (changed(messages=[GOOD_SEND["messages"][0]] * 1537), "messages"),
    (addressed(device_id=1), "messages.0.device_id"),
    (addressed(device_id="0"), "messages.0.device_id"),
    (addressed(device_id="01"), "messages.0.device_id"),
    (addressed(device_id="-1"), "messages.0.device_id"),
    (addressed(device_id="1.0"), "messages.0.device_id"),
    (addressed(device_id="9223372036854775808"), "messages"),
    (addressed(device_id="99999999999999999999"), "messages.0.device_id"),
    (addressed(device_id="\u0661"), "messages.0.device_id"),
    (addressed(registration_id=0), "messages.0.registration_id"),
    (addressed(registration_id=16384), "messages.0.registration_id"),
    (addressed(registration_id="5"), "messages.0.registration_id"),
    (addressed(registration_id=1.5), "messages.0.registration_id"),
    (addressed(registration_id=True), "messages.0.registration_id"),
    (addressed(ciphertext="not base64"), "messages.0.ciphertext"),
    (addressed(ciphertext="eA"), "messages.0.ciphertext"),
    (addressed(ciphertext="_-8="), "messages.0.ciphertext"),
    (addressed(ciphertext=5), "messages.0.ciphertext"),
    (addressed(ciphertext=None), "messages"),
    (changed(shared=5), "shared"),
    (changed(reply_to=1), "reply_to"),
    (changed(deletes="x"), "deletes"),
    (changed(expires_in="60"), "expires_in"),
    (changed(expires_in=-1), "expires_in"),
    (changed(expires_in=2**63), "expires_in"),
    (changed(urgent="yes"), "urgent"),
    (changed(urgent=1), "urgent"),
    (changed(ref=5), "ref"),
    (changed(ref="r" * 65), "ref"),
    (changed(ref="nul \0"), "ref"),
    ({"type": "ack"}, None),
    ({"type": "ack", "message_ids": []}, "message_ids"),
    ({"type": "ack", "message_ids": "1"}, "message_ids"),
    ({"type": "ack", "message_ids": [1]}, "message_ids.0"),
    ({"type": "ack", "message_ids": ["1"] * 501}, "message_ids"),
    ({"type": "ack", "message_ids": ["9223372036854775808"]}, "message_ids"),
    ({"type": "read", "conversation_id": UUID_TEXT}, None),
    ({"type": "read", "conversation_id": UUID_TEXT, "seq": 0}, "seq"),
    ({"type": "read", "conversation_id": UUID_TEXT, "seq": "1"}, "seq"),
    ({"type": "read", "conversation_id": UUID_TEXT, "seq": 2**63}, "seq"),
    ({"type": "authenticate"}, None),
    ({"type": "envelope"}, "type"),
    ({"type": "__class__"}, "type"),
    ({"type": ""}, "type"),
]

# None of these is a frame.
NO_FRAMES = [
    "",
    " ",
    "nonsense",
    "null",
    "5",
    '"send"',
    "[]",
    "{}",
    '{"type": null}',
    '{"type": 5}',
    '{"type": ["ping"]}',
    '{"type": {"$gt": ""}}',
    '{"type": "ping"',
    '{"type": "ping"} trailing',
    "{'type': 'ping'}",
    '{"type": "ping", "x": NaN}',
    '{"type": "ping", "x": "\\ud800"}',
    "\ufeff" + '{"type": "ping"}',
    "[" * 100_000,
    '{"type": "ping", "x": ' + "[" * 60_000 + "]" * 60_000 + "}",
    '{"a":' * 30_000,
]


async def test_wrong_fields_get_the_documented_error_and_the_neighbour_goes_on(
    unlimited: None,
    connect: Connect,
    alice_and_bob: UUID,
    alice_phone: Installation,
    bob_phone: Installation,
    mallory: Installation,
) -> None:
    async with connect(mallory) as attacker, connect(alice_phone) as alice, connect(bob_phone) as bob:
        for number, (frame, field) in enumerate(WRONG_FIELDS):
            await attacker.say(frame)
            answer = await attacker.expect("error")
            assert (answer["error_code"], answer["retryable"], answer.get("field")) == (
                "INVALID_REQUEST",
                False,
                field,
            ), frame
            assert answer["error"]
            if number % 8 == 0:
                assert (await alice.ask(message(alice_and_bob, [bob_phone])))["type"] == "sent"
        assert (await attacker.ask({"type": "ping"}))["type"] == "pong"
        sent = len(range(0, len(WRONG_FIELDS), 8))
        assert [envelope["seq"] for envelope in await bob.envelopes(sent)] == list(range(1, sent + 1))


@pytest.mark.parametrize("nonsense", [NO_FRAMES[start : start + 3] for start in range(0, len(NO_FRAMES), 3)], ids=str)
async def test_three_times_no_frame_ends_the_socket(
    connect: Connect, nonsense: list[str], mallory: Installation
) -> None:
    async with connect(mallory) as attacker:
        for data in nonsense:
            await attacker.say_raw(data)
        assert await attacker.closed() == 4400
        errors = [frame for frame in attacker.unread if frame["type"] == "error"]
        assert [error["error_code"] for error in errors] == ["INVALID_REQUEST"] * 2


@pytest.mark.parametrize(
    "data",
    [b"", b"\xc1", b"\x81", b"\x90", b"\xdf\xff\xff\xff\xff", b"\xdd\x7f\xff\xff\xff" + b"x" * 50, b"\x80", b"\xc0"],
)
async def test_broken_messagepack_is_no_frame(connect: Connect, data: bytes, mallory: Installation) -> None:
    async with connect(mallory, subprotocol="waypost.v1.msgpack") as attacker:
        for _ in range(3):
            await attacker.say_raw(data)
        assert await attacker.closed() == 4400


async def test_text_that_is_no_utf8_ends_the_socket_without_a_line_in_the_log(
    connect: Connect, mallory: Installation, caplog: pytest.LogCaptureFixture
) -> None:
    async with connect(mallory) as attacker:
        await attacker.connection.send(b"\xff\xfe", text=True)
        assert await attacker.closed() == 1007
    assert [record for record in caplog.records if record.levelno > logging.INFO] == []


async def test_unknown_fields_are_ignored_and_null_is_left_out(
    connect: Connect, alice_and_bob: UUID, alice_phone: Installation, bob_phone: Installation
) -> None:
    frame = message(
        alice_and_bob, [bob_phone], shared=None, reply_to=None, urgent=None, surprise={"deep": [1]}, ref=None
    )
    async with connect(alice_phone) as alice:
        await alice.say_raw(json.dumps(frame))
        assert (await alice.expect("sent"))["seq"] == 1


async def test_too_many_frames_at_once_end_the_socket(
    server: str, connect: Connect, settings: Any, mallory: Installation
) -> None:
    settings.LIMITS = settings.LIMITS | {"FRAMES_BURST": [50], "FRAMES_PER_SECOND": [1]}
    async with connect(mallory) as attacker:
        for _ in range(60):
            await attacker.say({"type": "ping"})
        assert await attacker.closed() == 4429
