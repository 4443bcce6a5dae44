"""Clients made of libsignal: the server takes their keys, and two of them talk through it with the bundles it hands out."""

import base64
import os
from collections.abc import Iterator
from uuid import UUID

import pytest
import xeddsa
from asgiref.sync import sync_to_async

from devices import xed25519
from tests.cast import Installation, JsonObject, Keys, b64
from tests.conversations_of import direct
from tests.messaging.conftest import Connect
from tests.messaging.libsignal import Libsignal, Refused, Speaker, running_libsignal
from tests.sockets import DeviceSocket, message, text_of

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "messages"])

SIGN_BIT = 0x80
PREKEY_MESSAGE, SIGNAL_MESSAGE = 3, 2


@pytest.fixture(scope="module")
def libsignal() -> Iterator[Libsignal]:
    if "LIBSIGNAL_NODE" not in os.environ:
        if os.environ.get("CI", "").lower() not in {"", "0", "false"}:
            pytest.fail("libsignal is not here, and in CI its tests must run: start them by the launcher")
        pytest.skip("libsignal is not here: start the tests by the launcher")
    with running_libsignal() as running:
        yield running


def sign_of(keys: JsonObject) -> int:
    return base64.b64decode(keys["signed_prekey"]["signature"])[63] & SIGN_BIT


def tampered(signed: JsonObject, field: str, position: int, bit: int = 1) -> JsonObject:
    changed = bytearray(base64.b64decode(signed[field]))
    changed[position] ^= bit
    return signed | {field: b64(bytes(changed))}


def test_signatures_of_libsignal_hold_for_both_signs_and_tampered_ones_do_not(libsignal: Libsignal) -> None:
    signs = set[int]()
    for number in range(24):
        prekey = bytes([5, number]) * 16 + b"\x00"
        signed = libsignal.ask("sign", message=b64(prekey))
        u, signature = base64.b64decode(signed["public_key"])[1:], base64.b64decode(signed["signature"])
        signs.add(signature[63] & SIGN_BIT)
        assert xed25519.verify(u, prekey, signature)
        assert not xed25519.verify(u, prekey, signature[:63] + bytes([signature[63] ^ SIGN_BIT]))
        assert not xed25519.verify(u, prekey + b"\x00", signature)
    assert signs == {0, SIGN_BIT}


def test_libsignal_accepts_what_the_reference_client_signs(libsignal: Libsignal) -> None:
    for _ in range(8):
        keys = Keys()
        facts = {"public_key": b64(keys.identity_key), "message": b64(b"a prekey")}
        signature = keys.sign(b"a prekey")
        assert libsignal.ask("verify", **facts, signature=b64(signature))
        changed = signature[:10] + bytes([signature[10] ^ 1]) + signature[11:]
        assert not libsignal.ask("verify", **facts, signature=b64(changed))
    assert xeddsa.priv_to_curve25519_pub(keys.private) == keys.identity_key[1:]


@pytest.mark.usefixtures("services")
@pytest.mark.parametrize("sign", [0, SIGN_BIT])
def test_a_device_of_libsignal_signs_in_whatever_the_sign_of_its_key(libsignal: Libsignal, sign: int) -> None:
    device = Installation(name=f"libsignal's phone with sign {sign}")
    keys = libsignal.ask("create", name=device.name, registration_id=1)
    while sign_of(keys) != sign:
        keys = libsignal.ask("create", name=device.name, registration_id=1)
    device.register(**keys | {"registration_id": 1})
    assert device.http.get("keys/count").body == {"count": 2, "pq_count": 2}
    fresh = libsignal.ask("rotate", name=device.name, key_id=9)
    for field, position, bit in (("signature", 0, 1), ("signature", 63, SIGN_BIT), ("public_key", 5, 1)):
        refused = device.http.put("keys/signed", {"signed_prekey": tampered(fresh, field, position, bit)})
        assert (refused.status, refused.code) == (422, "INVALID_SIGNATURE"), (field, position)
    for kind in ("last_resort_prekey", "pq_last_resort_prekey"):
        refused = device.http.put("keys", {kind: tampered(keys[kind], "signature", 40)})
        assert (refused.code, refused.body["field"]) == ("INVALID_SIGNATURE", f"{kind}.signature")
    refused = device.http.put(
        "keys", {"pq_prekeys": [keys["pq_prekeys"][0], tampered(keys["pq_prekeys"][1], "public_key", 900)]}
    )
    assert refused.body["field"] == "pq_prekeys.1.signature"
    assert device.http.put("keys/signed", {"signed_prekey": fresh}).status == 204


class Line:
    """One of two who talk: what libsignal seals leaves by the socket, and what comes by it libsignal opens."""

    def __init__(self, speaker: Speaker, socket: DeviceSocket, conversation: UUID) -> None:
        self.speaker, self._socket, self._conversation = speaker, socket, conversation

    async def say(self, other: "Line", text: str) -> int:
        """Which kind of libsignal's messages it was."""
        sealed = base64.b64decode(self.speaker.seal(other.speaker, text))
        answer = await self._socket.ask(message(self._conversation, [other.speaker.device], sealed))
        assert answer["type"] == "sent", answer
        return sealed[0]

    async def hears(self, other: "Line", count: int = 1) -> list[str]:
        """What was said, in its order: two hints may cross on their way, and clients hold back what comes too early."""
        envelopes = sorted(await self._socket.envelopes(count), key=lambda envelope: int(envelope["seq"]))
        assert {envelope["sender_device_number"] for envelope in envelopes} == {other.speaker.device.device_number}
        return [self.speaker.open(other.speaker, b64(text_of(envelope))).decode() for envelope in envelopes]


async def talk(one: Line, other: Line) -> None:
    """Both have begun a session by a bundle, neither has heard from the other: all of it is opened, and they agree on one session."""
    assert [await one.say(other, "hello"), await one.say(other, "are you there?")] == [PREKEY_MESSAGE] * 2
    assert await other.say(one, "I was just writing to you") == PREKEY_MESSAGE
    assert await other.hears(one, 2) == ["hello", "are you there?"]
    assert await one.hears(other) == ["I was just writing to you"]
    kinds = list[int]()
    for number in range(3):
        for speaker, listener in ((one, other), (other, one)):
            kinds.append(await speaker.say(listener, f"message {number}"))
            assert await listener.hears(speaker) == [f"message {number}"]
    assert kinds[-2:] == [SIGNAL_MESSAGE] * 2


@pytest.fixture
def alice(libsignal: Libsignal, transactional_db: None, services: None) -> Speaker:
    return Speaker.register(libsignal, "Alice's phone")


@pytest.fixture
def bob(libsignal: Libsignal, transactional_db: None, services: None) -> Speaker:
    return Speaker.register(libsignal, "Bob's phone")


@pytest.mark.parametrize("handed_out", ["one-time prekeys", "last resorts"])
async def test_two_clients_of_libsignal_talk_through_the_server(
    connect: Connect, alice: Speaker, bob: Speaker, handed_out: str
) -> None:
    if handed_out == "last resorts":
        for speaker, other in ((alice, bob), (bob, alice)):
            for _ in range(2):
                await sync_to_async(speaker.fetch)(other)
    bundles = {
        speaker.device.name: await sync_to_async(speaker.begin)(other)
        for speaker, other in ((alice, bob), (bob, alice))
    }
    for name, owner in (("Alice's phone", bob), ("Bob's phone", alice)):
        bundle = bundles[name]
        if handed_out == "last resorts":
            assert bundle["last_resort_prekey"] == owner.keys["last_resort_prekey"]
            assert bundle["pq_prekey"] == owner.keys["pq_last_resort_prekey"]
        else:
            assert bundle["one_time_prekey"] == owner.keys["one_time_prekeys"][0]
            assert bundle["pq_prekey"] == owner.keys["pq_prekeys"][0]
    conversation = await sync_to_async(direct)(alice.device, bob.device)
    async with connect(alice.device) as alice_socket, connect(bob.device) as bob_socket:
        await talk(Line(alice, alice_socket, conversation), Line(bob, bob_socket, conversation))


async def test_what_was_sealed_for_a_former_signed_prekey_still_opens(
    connect: Connect, libsignal: Libsignal, alice: Speaker, bob: Speaker
) -> None:
    """Alice has a bundle, Bob rotates, then she writes: the server does not mind, and Bob has kept the private side."""
    await sync_to_async(alice.begin)(bob)
    fresh = libsignal.ask("rotate", name=bob.device.name, key_id=2)
    assert (await sync_to_async(bob.device.http.put)("keys/signed", {"signed_prekey": fresh})).status == 204
    assert (await sync_to_async(alice.fetch)(bob))["signed_prekey"] == fresh
    conversation = await sync_to_async(direct)(alice.device, bob.device)
    async with connect(alice.device) as alice_socket, connect(bob.device) as bob_socket:
        first, second = Line(alice, alice_socket, conversation), Line(bob, bob_socket, conversation)
        await first.say(second, "to the key of last week")
        assert await second.hears(first) == ["to the key of last week"]


def test_a_one_time_prekey_opens_one_session_and_no_second(alice: Speaker, bob: Speaker, libsignal: Libsignal) -> None:
    """Why none may be handed out twice: whoever came second could not be read."""
    mallory = Speaker.register(libsignal, "Mallory's phone")
    bundle = alice.begin(bob)
    libsignal.ask("begin", name="Mallory's phone", own=mallory.address, user_id=bob.device.user_id, bundle=bundle)
    assert bob.open(alice, alice.seal(bob, "first")) == b"first"
    with pytest.raises(Refused, match="no private key"):
        bob.open(mallory, mallory.seal(bob, "second"))
