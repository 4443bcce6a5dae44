"""The device socket: two people, three devices, real stores."""

import asyncio
import base64
import logging
import time
from typing import Any
from uuid import UUID, uuid4

import pytest
import websockets
from asgiref.sync import sync_to_async

from accounts.ids import uuid7
from accounts.models import SecurityEvent
from devices.models import Device
from messaging import consumers, mailboxes, window
from tests.cast import Installation, b64
from tests.messaging.conftest import Connect
from tests.sockets import connected, message, text_of

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "messages"])


async def test_a_message_reaches_every_other_device_once_and_the_sender_hears_of_it(
    connect: Connect,
    alice_and_bob: UUID,
    alice_phone: Installation,
    alice_laptop: Installation,
    bob_phone: Installation,
) -> None:
    async with connect(alice_phone) as alice, connect(alice_laptop) as laptop, connect(bob_phone) as bob:
        sent = await alice.ask(message(alice_and_bob, [bob_phone, alice_laptop], b"hello"))
        assert (sent["type"], sent["seq"], sent["duplicate"]) == ("sent", 1, False)
        for device in (bob, laptop):
            envelope = await device.expect("envelope")
            assert (envelope["message_id"], envelope["seq"], envelope["start"]) == (sent["message_id"], 1, True)
            assert (envelope["sender_user_id"], envelope["sender_device_id"]) == (
                alice_phone.user_id,
                alice_phone.device_id,
            )
            assert text_of(envelope) == b"hello"
            await device.ack(envelope)
        receipt = await alice.expect("receipt")
        assert (receipt["device_id"], receipt["seq"]) == (bob_phone.device_id, 1)
        assert receipt["delivered_at"]
        await alice.nothing("receipt")
        await alice.nothing("envelope")


async def test_what_was_sent_meanwhile_is_there_at_the_next_connect_and_once_acknowledged_never_again(
    connect: Connect, alice_and_bob: UUID, alice_phone: Installation, bob_phone: Installation
) -> None:
    async with connect(alice_phone) as alice:
        for number in range(20):
            await alice.ask(message(alice_and_bob, [bob_phone], b"number %d" % number))
    async with connect(bob_phone) as bob:
        found = [await bob.expect("envelope") for _ in range(20)]
        assert [envelope["seq"] for envelope in found] == list(range(1, 21))
        await bob.expect("queue_empty")
    async with connect(bob_phone) as bob:
        again = await bob.envelopes(20)
        assert [envelope["message_id"] for envelope in again] == [envelope["message_id"] for envelope in found]
        await asyncio.sleep(0.3)
    async with connect(bob_phone) as bob:
        await bob.expect("queue_empty")
        assert bob.unread == []


async def test_both_encodings_say_the_same(
    connect: Connect, alice_and_bob: UUID, alice_phone: Installation, bob_phone: Installation
) -> None:
    async with connect(alice_phone, subprotocol="waypost.v1.msgpack") as alice, connect(bob_phone) as bob:
        frame = message(alice_and_bob, [bob_phone])
        frame["messages"][0]["ciphertext"] = b"raw bytes"
        assert (await alice.ask(frame))["type"] == "sent"
        assert text_of(await bob.expect("envelope")) == b"raw bytes"
        await bob.ask(message(alice_and_bob, [alice_phone], b"back"))
        envelope = await alice.expect("envelope")
        assert envelope["ciphertext"] == b"back"


async def test_a_socket_without_subprotocol_speaks_json(connect: Connect, alice_phone: Installation) -> None:
    async with connect(alice_phone, subprotocol=None) as alice:
        assert (await alice.ask({"type": "ping"}))["type"] == "pong"


async def test_the_first_frame_may_authenticate(server: str, alice_phone: Installation) -> None:
    async with connected(server, alice_phone, authenticate=False, ready=False) as socket:
        answer = await socket.ask({"type": "authenticate", "access_token": alice_phone.access_token})
        assert (answer["type"], answer["device_id"]) == ("ready", alice_phone.device_id)
        assert answer["window"] == {"envelopes": 256, "bytes": 1048576}
        again = await socket.ask({"type": "authenticate", "access_token": alice_phone.access_token})
        assert again["error_code"] == "CONFLICT"


@pytest.mark.parametrize("first", ['{"type":"ping"}', "nonsense", '{"type":"authenticate"}', "[]"])
async def test_any_other_first_frame_ends_the_socket(server: str, alice_phone: Installation, first: str) -> None:
    async with connected(server, alice_phone, authenticate=False, ready=False) as socket:
        await socket.say_raw(first)
        assert await socket.closed() == 4401


async def test_a_bad_token_is_named_and_ends_the_socket(server: str, alice_phone: Installation) -> None:
    async with connected(server, alice_phone, authenticate=False, ready=False) as socket:
        answer = await socket.ask({"type": "authenticate", "access_token": alice_phone.refresh_token})
        assert (answer["type"], answer["error_code"], answer["retryable"]) == ("error", "INVALID_TOKEN", False)
        assert await socket.closed() == 4401


async def test_who_says_nothing_is_closed(
    server: str, alice_phone: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumers, "AUTHENTICATE_SECONDS", 0.2)
    async with connected(server, alice_phone, authenticate=False, ready=False) as socket:
        assert await socket.closed() == 4401


@pytest.mark.parametrize(
    ("query", "headers", "subprotocol", "status"),
    [
        ("?token=x", {}, None, 400),
        ("?access_token=", {}, None, 400),
        ("", {}, "chat.v7", 400),
        ("", {"Authorization": "Bearer nonsense"}, None, 401),
        ("", {"Authorization": "Basic eA=="}, None, 401),
        ("", {"Origin": "https://evil.example"}, None, 403),
        ("", {"Origin": "null"}, None, 403),
    ],
)
async def test_a_bad_handshake_is_refused_with_its_status_and_no_event_for_the_log(
    server: str,
    query: str,
    headers: dict[str, str],
    subprotocol: str | None,
    status: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with pytest.raises(websockets.InvalidStatus) as refused:
        await websockets.connect(
            f"{server}/ws{query}",
            additional_headers=headers,
            subprotocols=[websockets.Subprotocol(subprotocol)] if subprotocol else None,
        )
    assert refused.value.response.status_code == status
    assert [record for record in caplog.records if record.levelno > logging.INFO] == []


async def test_an_origin_on_the_list_may_connect(connect: Connect, alice_phone: Installation, settings: Any) -> None:
    settings.ALLOWED_ORIGINS = ["https://chat.example"]
    async with connect(alice_phone, headers={"Origin": "https://chat.example"}) as alice:
        assert (await alice.ask({"type": "ping"}))["type"] == "pong"


async def test_too_many_handshakes_of_one_address(server: str, settings: Any) -> None:
    settings.LIMITS = settings.LIMITS | {"HANDSHAKES_PER_MIN": [3]}
    statuses = []
    for _ in range(5):
        try:
            async with await websockets.connect(f"{server}/ws", local_addr=("127.9.8.7", 0)):
                statuses.append(101)
        except websockets.InvalidStatus as refused:
            statuses.append(refused.response.status_code)
    assert statuses == [101, 101, 101, 429, 429]


async def test_the_third_bad_frame_ends_the_socket_wrong_fields_do_not(
    connect: Connect, alice_phone: Installation
) -> None:
    async with connect(alice_phone) as alice:
        for _ in range(5):
            assert (await alice.ask({"type": "send"}))["error_code"] == "INVALID_REQUEST"
            assert (await alice.ask({"type": "never heard of"}))["error_code"] == "INVALID_REQUEST"
        for bad in ("[]", '{"no": "type"}', "{"):
            await alice.say_raw(bad)
        assert await alice.closed() == 4400


async def test_the_wrong_kind_of_frame_ends_the_socket(connect: Connect, alice_phone: Installation) -> None:
    async with connect(alice_phone) as alice:
        await alice.say_raw(b"binary on a text protocol")
        assert await alice.closed() == 1003


async def test_a_frame_above_256_kib_ends_the_socket(connect: Connect, alice_phone: Installation) -> None:
    async with connect(alice_phone) as alice:
        await alice.say_raw('{"type":"ping","x":"' + "a" * 262_144 + '"}')
        assert await alice.closed() == 1009


async def test_the_newest_socket_of_a_device_wins(connect: Connect, alice_phone: Installation) -> None:
    async with connect(alice_phone) as first, connect(alice_phone) as second:
        assert await first.closed() == 4409
        assert (await second.ask({"type": "ping"}))["type"] == "pong"


async def test_an_unlinked_devices_socket_is_closed_and_gets_nothing_more(
    connect: Connect,
    alice_and_bob: UUID,
    alice_phone: Installation,
    alice_laptop: Installation,
    bob_phone: Installation,
) -> None:
    async with connect(bob_phone) as bob, connect(alice_laptop) as laptop, connect(alice_phone) as phone:
        unlinked = await sync_to_async(alice_laptop.http.delete)(f"devices/{alice_phone.device_id}")
        assert unlinked.status == 204
        assert await phone.closed() == 4401
        changed = await bob.expect("devices_changed")
        assert (changed["user_id"], changed["reason"]) == (alice_phone.user_id, "unlinked")
        sent = await bob.ask(message(alice_and_bob, [alice_laptop]))
        assert sent["type"] == "sent"
        assert (await laptop.expect("envelope"))["seq"] == sent["seq"]


async def test_the_window_is_256_envelopes_and_acks_open_it(
    unlimited: None, connect: Connect, alice_and_bob: UUID, alice_phone: Installation, bob_phone: Installation
) -> None:
    async with connect(alice_phone) as alice:
        for number in range(400):
            await alice.say(message(alice_and_bob, [bob_phone]) | {"ref": str(number)})
        for _ in range(400):
            await alice.expect("sent")
    async with connect(bob_phone) as bob:
        first = [await bob.expect("envelope") for _ in range(256)]
        await bob.nothing("envelope")
        await bob.ack(*first)
        rest = await bob.envelopes(144)
        await bob.expect("queue_empty")
        assert [envelope["seq"] for envelope in first + rest] == list(range(1, 401))


async def test_a_device_that_does_not_acknowledge_is_told_twice_and_then_closed(
    connect: Connect,
    alice_and_bob: UUID,
    alice_phone: Installation,
    bob_phone: Installation,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(window, "UNANSWERED_SECONDS", 0.2)
    monkeypatch.setattr(mailboxes, "SWEEP_SECONDS", 0.2)
    async with connect(alice_phone) as alice:
        await alice.ask(message(alice_and_bob, [bob_phone]))
    async with connect(bob_phone) as bob:
        first, second = await bob.expect("envelope"), await bob.expect("envelope")
        assert first["message_id"] == second["message_id"]
        assert await bob.closed() == 4408


async def test_reading_tells_each_sender_and_the_readers_other_devices_once(
    connect: Connect, alice_and_bob: UUID, alice_phone: Installation, bob_phone: Installation
) -> None:
    tablet = await sync_to_async(bob_phone.beside("Bob's tablet").register)()
    async with connect(alice_phone) as alice, connect(bob_phone) as bob, connect(tablet) as other:
        for _ in range(3):
            last = await alice.ask(message(alice_and_bob, [bob_phone, tablet]))
        await bob.say({"type": "read", "conversation_id": str(alice_and_bob), "seq": 3})
        for told in (alice, other):
            receipt = await told.expect("receipt")
            assert (receipt["seq"], receipt["message_id"], receipt["user_id"]) == (
                3,
                last["message_id"],
                bob_phone.user_id,
            )
            assert receipt["read_at"]
        for seq in (2, 3):
            await bob.say({"type": "read", "conversation_id": str(alice_and_bob), "seq": seq})
        await alice.nothing("receipt")
        await bob.nothing("receipt")
        above = await bob.ask({"type": "read", "conversation_id": str(alice_and_bob), "seq": 4})
        assert above["error_code"] == "INVALID_REQUEST"
        unknown = await bob.ask({"type": "read", "conversation_id": str(uuid4()), "seq": 1})
        assert unknown["error_code"] == "NOT_FOUND"


async def test_a_resend_gets_the_first_answer_and_reaches_nobody_again(
    connect: Connect, alice_and_bob: UUID, alice_phone: Installation, bob_phone: Installation
) -> None:
    async with connect(alice_phone) as alice, connect(bob_phone) as bob:
        frame = message(alice_and_bob, [bob_phone])
        first = await alice.ask(frame)
        await bob.envelopes(1)
        second = await alice.ask(frame | {"messages": []})
        assert (second["seq"], second["message_id"], second["duplicate"]) == (first["seq"], first["message_id"], True)
        await bob.nothing("envelope")


@pytest.mark.parametrize(
    ("changes", "code", "facts"),
    [
        ({"messages": []}, "MISMATCHED_DEVICES", {"extra"}),
        ({"client_message_id": str(uuid4())}, "INVALID_REQUEST", {"field", "server_time"}),
        (
            {"client_message_id": str(uuid7(time.time_ns() // 10**6 + 3_600_000))},
            "INVALID_REQUEST",
            {"field", "server_time"},
        ),
        ({"client_message_id": str(uuid7(time.time_ns() // 10**6 - 15 * 86_400_000))}, "STALE_KEY", set()),
        ({"conversation_id": str(uuid4())}, "NOT_FOUND", set()),
        ({"kind": "system"}, "INVALID_REQUEST", {"field"}),
        ({"deletes": "12"}, "INVALID_REQUEST", {"field"}),
        ({"expires_in": 0}, "INVALID_REQUEST", {"field"}),
        ({"reply_to": "9223372036854775808"}, "INVALID_REQUEST", {"field"}),
    ],
)
async def test_a_refused_send_names_its_reason_and_stores_nothing(
    connect: Connect,
    alice_and_bob: UUID,
    alice_phone: Installation,
    bob_phone: Installation,
    changes: dict[str, Any],
    code: str,
    facts: set[str],
) -> None:
    async with connect(alice_phone) as alice, connect(bob_phone) as bob:
        good = message(alice_and_bob, [bob_phone])
        answer = await alice.ask(good | changes)
        assert (answer["type"], answer["error_code"], answer["retryable"]) == ("error", code, False)
        assert facts <= answer.keys()
        assert (await alice.ask(good))["seq"] == 1
        assert (await bob.expect("envelope"))["seq"] == 1


async def test_a_ciphertext_above_64_kib_is_too_large(
    connect: Connect, alice_and_bob: UUID, alice_phone: Installation, bob_phone: Installation
) -> None:
    async with connect(alice_phone) as alice:
        answer = await alice.ask(message(alice_and_bob, [bob_phone], b"x" * 65_537))
        assert (answer["error_code"], answer["limit"], answer["max"]) == ("TOO_LARGE", "ciphertext", 65_536)
        assert (await alice.ask(message(alice_and_bob, [bob_phone], b"x" * 65_536)))["type"] == "sent"


async def test_who_sends_too_fast_is_told_when_to_go_on(
    connect: Connect, alice_and_bob: UUID, alice_phone: Installation, bob_phone: Installation
) -> None:
    async with connect(alice_phone) as alice:
        answers = [await alice.ask(message(alice_and_bob, [bob_phone])) for _ in range(70)]
        refused = [answer for answer in answers if answer["type"] == "error"]
        assert refused[0]["error_code"] == "RATE_LIMITED"
        assert 0 < refused[0]["retry_after_ms"] <= 1000
        assert {(answer["error_code"], answer["retryable"]) for answer in refused[1:]} <= {
            ("RETRY_IN_ORDER", True),
            ("RATE_LIMITED", True),
        }


async def test_expired_and_shared_fields_travel(
    connect: Connect, alice_and_bob: UUID, alice_phone: Installation, bob_phone: Installation
) -> None:
    async with connect(alice_phone) as alice, connect(bob_phone) as bob:
        shared: dict[str, Any] = {
            "messages": [{"device_id": bob_phone.device_id, "registration_id": bob_phone.registration_id}],
            "shared": b64(b"all"),
        }
        first = await alice.ask(message(alice_and_bob, [], **shared))
        await alice.ask(message(alice_and_bob, [bob_phone], expires_in=60, urgent=False, reply_to=first["message_id"]))
        one, two = await bob.envelopes(2)
        assert base64.b64decode(one["shared"]) == b"all"
        assert "ciphertext" not in one
        assert (two["urgent"], two["reply_to"]) == (False, first["message_id"])
        assert two["expires_at"] > two["sent_at"]


async def test_a_device_whose_prekeys_run_low_is_asked_for_more(
    connect: Connect, alice_phone: Installation, bob_phone: Installation
) -> None:
    async with connect(bob_phone) as bob, connect(alice_phone) as alice:
        fetched = await sync_to_async(alice_phone.http.get)(f"keys/{bob_phone.user_id}/*")
        assert fetched.status == 200
        assert (await bob.expect("prekeys_low"))["count"] == 9
        await alice.nothing("prekeys_low")


async def test_a_device_whose_prekeys_are_of_an_earlier_era_is_asked_for_others(
    connect: Connect, alice_phone: Installation, bob_phone: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a promotion, while it is connected and when it comes back; whoever has uploaded since is left alone."""
    monkeypatch.setattr(consumers, "CHECK_SECONDS", 0.1)
    async with connect(bob_phone) as bob, connect(alice_phone) as alice:
        await Device.objects.filter(pk=bob_phone.device_id).aupdate(prekeys_era=10_000)
        asked = await bob.expect("prekeys_low")
        assert (asked["count"], asked["pq_count"]) == (0, 0)
        await alice.nothing("prekeys_low")
    monkeypatch.setattr(consumers, "CHECK_SECONDS", 30)
    async with connect(bob_phone) as bob:
        await bob.expect("prekeys_low", count=0)
        await sync_to_async(bob_phone.http.put)("keys", {"one_time_prekeys": [bob_phone.keys.prekey()]})
        await bob.expect("prekeys_low", count=0)
    async with connect(bob_phone) as bob:
        await bob.expect("queue_empty")
        await bob.nothing("prekeys_low")


async def test_a_new_identity_key_is_told_to_all_who_share_a_conversation_and_to_nobody_else(
    connect: Connect, alice_and_bob: UUID, alice_phone: Installation, bob_phone: Installation, mallory: Installation
) -> None:
    async with connect(bob_phone) as bob, connect(mallory) as stranger:
        again = await sync_to_async(alice_phone.reinstalled().register)()
        changed = await bob.expect("devices_changed")
        assert (changed["user_id"], changed["device_id"]) == (alice_phone.user_id, alice_phone.device_id)
        assert changed["reason"] == "reinstalled"
        path = f"keys/{alice_phone.user_id}/identities"
        [identity] = (await sync_to_async(bob_phone.http.get)(path)).body["devices"]
        assert identity["identity_key"] == b64(again.keys.identity_key)
        assert identity["device_id"] == alice_phone.device_id
        await stranger.nothing("devices_changed")
    assert (
        await SecurityEvent.objects.filter(kind="identity_key_changed", device_id=alice_phone.device_id).acount() == 1
    )
