"""Bob's phone sleeps; somebody writes to him. A real server, a real push service, real subscriptions."""

import asyncio
import json
from datetime import timedelta
from typing import Any
from uuid import UUID

import jwt
import pytest
from asgiref.sync import sync_to_async
from cryptography.hazmat.primitives.asymmetric import ec
from django.db import OperationalError
from django.utils import timezone
from redis import asyncio as aioredis

from accounts import preferences
from chatproject import vapid
from conversations.models import Member
from devices.models import Device, PushToken
from messaging import hints, runtime
from messaging.counts import counts
from messaging.push import choosing, guarded_http, lanes, pusher
from messaging.push.pusher import Pusher
from tests.cast import Installation
from tests.messaging.conftest import Connect
from tests.push_service import Pushed, PushService, Subscription
from tests.sockets import message
from tests.waiting import until

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "messages"])


def time_passes(pushing: Pusher) -> None:
    """Whatever waits has waited long enough."""
    for wake in (*pushing._watched._wakes.values(), *pushing._waiting._wakes.values()):
        wake.not_before = 0.0


async def subscribe(device: Installation, service: PushService, name: str = "phone") -> Subscription:
    subscription = Subscription()
    answer = await sync_to_async(device.http.put)("devices/me/push-token", subscription.at(service.endpoint(name)))
    assert answer.status == 204, answer
    return subscription


@pytest.fixture
async def subscribed(service: PushService, bob_phone: Installation) -> Subscription:
    return await subscribe(bob_phone, service)


async def test_a_sleeping_phone_is_woken_and_told_nothing(
    service: PushService,
    subscribed: Subscription,
    connect: Connect,
    alice_phone: Installation,
    bob_phone: Installation,
    alice_and_bob: UUID,
    settings: Any,
) -> None:
    async with connect(alice_phone) as alice:
        sent = await alice.ask(message(alice_and_bob, [bob_phone], text=b"meet me at noon"))
        await until(lambda: bool(service.pushed))
    [pushed] = service.pushed
    assert json.loads(subscribed.read(pushed)) == {"wake": True}
    assert pushed.line == "POST /push/phone HTTP/1.1"
    assert {name: pushed.headers[name] for name in ("content-encoding", "topic", "urgency", "ttl")} == {
        "content-encoding": "aes128gcm",
        "topic": "wake",
        "urgency": "high",
        "ttl": "604800",
    }
    everything = repr(pushed)
    ids = (alice_phone.user_id, bob_phone.user_id, str(alice_and_bob), sent["message_id"], alice_phone.name)
    assert [told for told in ids if told in everything] == []
    assert claims_of(pushed, settings.VAPID_PRIVATE_KEY, service) == "mailto:operator@example.org"
    await until(lambda: counts.pushes == {"sent": 1})


def claims_of(pushed: Pushed, private_key: str, service: PushService) -> str:
    """Who signs, after the signature and the audience were checked with the key that browsers are given."""
    scheme, _, fields = pushed.headers["authorization"].partition(" ")
    assert scheme == "vapid"
    found = dict(field.strip().split("=", 1) for field in fields.split(","))
    assert found["k"] == vapid.public_key(private_key)
    point = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), jwt.utils.base64url_decode(found["k"]))
    claims = jwt.decode(found["t"], point, algorithms=["ES256"], audience=f"https://localhost:{service.port}")
    return str(claims["sub"])


async def test_a_burst_wakes_once_and_what_comes_later_once_more_if_it_was_not_fetched(
    service: PushService,
    subscribed: Subscription,
    connect: Connect,
    alice_phone: Installation,
    bob_phone: Installation,
    alice_and_bob: UUID,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pusher, "APART_SECONDS", 600.0)
    pushing = (await runtime.running()).pusher
    async with connect(alice_phone) as alice:
        for _ in range(5):
            await alice.ask(message(alice_and_bob, [bob_phone]))
        await until(lambda: len(service.pushed) == 1)
        for _ in range(5):
            await alice.ask(message(alice_and_bob, [bob_phone]))
        now = asyncio.get_running_loop().time()
        await until(lambda: any(wake.not_before > now + 60 for wake in pushing._waiting._wakes.values()))
        assert counts.pushes == {"sent": 1}
        await PushToken.objects.aupdate(woken_at=None)
        time_passes(pushing)
        await until(lambda: counts.pushes == {"sent": 2})
    assert len({len(pushed.body) for pushed in service.pushed}) == 1


async def test_whoever_has_a_socket_is_not_woken_nor_are_the_senders_own_devices(
    service: PushService,
    subscribed: Subscription,
    connect: Connect,
    alice_phone: Installation,
    alice_laptop: Installation,
    bob_phone: Installation,
    alice_and_bob: UUID,
    settings: Any,
) -> None:
    """Nor after Redis was emptied: who is connected is nothing it has to remember."""
    await subscribe(alice_laptop, service, "laptop")
    async with connect(alice_phone) as alice, connect(bob_phone) as bob:
        await forget_everything(settings.REDIS_URL)
        await alice.ask(message(alice_and_bob, [bob_phone, alice_laptop]))
        await bob.envelopes(1)
        pushing = (await runtime.running()).pusher
        await until(lambda: len(pushing._watched) == 1)
        time_passes(pushing)
        await until(lambda: not pushing._watched and not pushing._waiting)
    assert service.pushed == []


async def forget_everything(redis_url: str) -> None:
    async with aioredis.Redis.from_url(redis_url) as store:
        await store.flushdb()


async def test_a_socket_that_was_dead_is_found_out_and_its_device_woken_after_all(
    service: PushService,
    subscribed: Subscription,
    connect: Connect,
    alice_phone: Installation,
    bob_phone: Installation,
    alice_and_bob: UUID,
) -> None:
    async with connect(alice_phone) as alice:
        async with connect(bob_phone) as bob:
            await alice.ask(message(alice_and_bob, [bob_phone]))
            await bob.expect("envelope")
            pushing = (await runtime.running()).pusher
            await until(lambda: len(pushing._watched) == 1)
        await until(lambda: not hints.is_listening_here(int(bob_phone.device_id)))
        assert service.pushed == []
        time_passes(pushing)
        await until(lambda: len(service.pushed) == 1)


async def test_a_device_that_took_its_mail_and_left_is_not_woken(
    service: PushService,
    subscribed: Subscription,
    connect: Connect,
    alice_phone: Installation,
    bob_phone: Installation,
    alice_and_bob: UUID,
) -> None:
    async with connect(alice_phone) as alice:
        async with connect(bob_phone) as bob:
            await alice.ask(message(alice_and_bob, [bob_phone]))
            await bob.envelopes(1)
            await alice.expect("receipt")
        await until(lambda: not hints.is_listening_here(int(bob_phone.device_id)))
        pushing = (await runtime.running()).pusher
        time_passes(pushing)
        await until(lambda: not pushing._watched and not pushing._waiting)
    assert (service.pushed, counts.pushes) == ([], {})


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("push_enabled", False, "off"),
        ("quiet_hours", {"start": "00:00", "end": "23:59", "timezone": "Asia/Bangkok"}, "quiet"),
        (None, None, "muted"),
    ],
)
async def test_whoever_wants_to_be_left_alone_is(
    service: PushService,
    subscribed: Subscription,
    connect: Connect,
    alice_phone: Installation,
    bob_phone: Installation,
    alice_and_bob: UUID,
    key: str | None,
    value: Any,
    reason: str,
) -> None:
    bob = UUID(bob_phone.user_id)
    if key is not None:
        await sync_to_async(preferences.change)(bob, {key: value})
    else:
        await Member.objects.filter(user_id=bob).aupdate(muted_until=timezone.now() + timedelta(hours=1))
    async with connect(alice_phone) as alice:
        await alice.ask(message(alice_and_bob, [bob_phone]))
        await until(lambda: counts.pushes_withheld == {reason: 1})
    assert service.pushed == []


async def test_what_is_not_urgent_and_what_is_no_message_wakes_nobody(
    service: PushService,
    subscribed: Subscription,
    connect: Connect,
    alice_phone: Installation,
    bob_phone: Installation,
    alice_and_bob: UUID,
) -> None:
    async with connect(alice_phone) as alice:
        await alice.ask(message(alice_and_bob, [bob_phone], urgent=False))
        await alice.ask(message(alice_and_bob, [bob_phone], kind="key_distribution"))
        await alice.ask(message(alice_and_bob, [bob_phone]))
        await until(lambda: len(service.pushed) == 1)
        await until(lambda: counts.pushes == {"sent": 1})


async def test_an_offer_wakes_at_once_is_soon_over_and_nothing_else_of_a_call_wakes(
    service: PushService,
    subscribed: Subscription,
    connect: Connect,
    alice_phone: Installation,
    bob_phone: Installation,
    alice_and_bob: UUID,
) -> None:
    call = {"type": "call", "conversation_id": str(alice_and_bob), "body": "c2Rw"}
    async with connect(alice_phone) as alice:
        assert (await alice.ask(call | {"signal": "candidate"}))["error_code"] == "NOT_FOUND"
        assert (await alice.ask(call | {"signal": "offer"}))["error_code"] == "NOT_FOUND"
        await until(lambda: counts.pushes == {"sent": 1})
        async with connect(bob_phone) as bob:
            await alice.say(call | {"signal": "offer"})
            await bob.expect("call")
    [pushed] = service.pushed
    assert (pushed.headers["ttl"], pushed.headers["topic"]) == ("45", "call")
    assert json.loads(subscribed.read(pushed)) == {"wake": True}


async def test_a_socket_of_a_process_that_died_silences_nobody_for_long(
    service: PushService,
    subscribed: Subscription,
    connect: Connect,
    alice_phone: Installation,
    bob_phone: Installation,
    alice_and_bob: UUID,
    settings: Any,
) -> None:
    """Another process has Bob's socket: what it would subscribe to is subscribed. It takes nothing, and dies."""
    group = hints.layer()._name(hints.device_group(int(bob_phone.device_id)))
    async with aioredis.Redis.from_url(settings.REDIS_URL) as valkey:
        other_process = valkey.pubsub()
        await other_process.subscribe(group)
        async with connect(alice_phone) as alice:
            await alice.ask(message(alice_and_bob, [bob_phone]))
            pushing = (await runtime.running()).pusher
            await until(lambda: len(pushing._watched) == 1)
            assert service.pushed == []
            await other_process.aclose()  # type: ignore[no-untyped-call]
            time_passes(pushing)
            await until(lambda: len(service.pushed) == 1)


async def test_a_subscription_that_is_gone_is_removed(
    service: PushService,
    subscribed: Subscription,
    connect: Connect,
    alice_phone: Installation,
    bob_phone: Installation,
    alice_and_bob: UUID,
) -> None:
    service.status = 410
    async with connect(alice_phone) as alice:
        await alice.ask(message(alice_and_bob, [bob_phone]))
        await until(lambda: counts.pushes == {"gone": 1})
    assert not await PushToken.objects.filter(device_id=int(bob_phone.device_id)).aexists()


async def test_a_push_service_that_refuses_the_server_costs_no_registration_and_nobody_else_a_rest(
    service: PushService,
    subscribed: Subscription,
    connect: Connect,
    alice_phone: Installation,
    bob_phone: Installation,
    alice_and_bob: UUID,
) -> None:
    service.status = 403
    async with connect(alice_phone) as alice:
        await alice.ask(message(alice_and_bob, [bob_phone]))
        await until(lambda: counts.pushes == {"refused": 1})
        pushing = (await runtime.running()).pusher
        [lane] = pushing._lanes._lanes
        now = asyncio.get_running_loop().time()
        assert pushing._lanes.not_before(lane, now) == now
    assert await PushToken.objects.filter(device_id=int(bob_phone.device_id)).aexists()


async def test_a_push_service_that_is_busy_is_asked_again(
    service: PushService,
    subscribed: Subscription,
    connect: Connect,
    alice_phone: Installation,
    bob_phone: Installation,
    alice_and_bob: UUID,
) -> None:
    service.status, service.headers = 503, {"Retry-After": "0"}
    async with connect(alice_phone) as alice:
        await alice.ask(message(alice_and_bob, [bob_phone]))
        await until(lambda: counts.pushes.get("retried", 0) >= 2)
        service.status = 201
        await until(lambda: counts.pushes.get("sent") == 1)


async def test_one_that_never_takes_it_is_given_up(
    service: PushService,
    subscribed: Subscription,
    connect: Connect,
    alice_phone: Installation,
    bob_phone: Installation,
    alice_and_bob: UUID,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pusher, "MOST_FAILURES", 3)
    service.status, service.headers = 503, {"Retry-After": "0"}
    async with connect(alice_phone) as alice:
        await alice.ask(message(alice_and_bob, [bob_phone]))
        await until(lambda: counts.pushes == {"retried": 2, "given_up": 1})


async def test_sends_do_not_notice_a_push_service_that_hangs(
    service: PushService,
    subscribed: Subscription,
    connect: Connect,
    alice_phone: Installation,
    bob_phone: Installation,
    alice_and_bob: UUID,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(guarded_http, "ANSWER_SECONDS", 60.0)
    monkeypatch.setattr(pusher, "LAST_SECONDS", 0.1)
    service.hangs = True
    async with connect(alice_phone) as alice:
        for _ in range(50):
            answer = await alice.ask(message(alice_and_bob, [bob_phone]))
            assert answer["type"] == "sent"
        await until(lambda: len(service.pushed) == 1)
        assert (await alice.ask(message(alice_and_bob, [bob_phone])))["type"] == "sent"


async def test_a_postgresql_that_was_away_keeps_no_lane_busy(
    service: PushService,
    subscribed: Subscription,
    connect: Connect,
    alice_phone: Installation,
    bob_phone: Installation,
    alice_and_bob: UUID,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    failures = 0

    def claim_or_not(device_ids: set[int], *, apart_seconds: float) -> set[int]:
        nonlocal failures
        failures += 1
        if failures <= 3:
            raise OperationalError
        return choosing.claim(device_ids, apart_seconds=apart_seconds)

    monkeypatch.setattr(pusher, "claim", claim_or_not)
    async with connect(alice_phone) as alice:
        await alice.ask(message(alice_and_bob, [bob_phone]))
        await until(lambda: counts.pushes == {"sent": 1})
    assert (await runtime.running()).pusher._lanes.free == lanes.SENDS


async def test_signing_out_ends_the_push_token(
    service: PushService, subscribed: Subscription, bob_phone: Installation
) -> None:
    mine = PushToken.objects.filter(device_id=int(bob_phone.device_id))
    assert await mine.aexists()
    assert (await sync_to_async(bob_phone.http.post)("auth/logout")).status == 204
    assert not await mine.aexists()


async def test_a_device_that_was_blocked_meanwhile_is_not_woken(
    service: PushService,
    subscribed: Subscription,
    connect: Connect,
    alice_phone: Installation,
    bob_phone: Installation,
    alice_and_bob: UUID,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pusher, "DELAY_SECONDS", 600.0)
    async with connect(alice_phone) as alice:
        await alice.ask(message(alice_and_bob, [bob_phone]))
        pushing = (await runtime.running()).pusher
        await until(lambda: len(pushing._waiting) == 1)
        await Device.objects.filter(pk=int(bob_phone.device_id)).aupdate(active=False)
        time_passes(pushing)
        await until(lambda: not pushing._waiting)
    assert service.pushed == []


async def test_nothing_of_endpoints_or_tokens_is_in_the_log(
    service: PushService,
    subscribed: Subscription,
    connect: Connect,
    alice_phone: Installation,
    bob_phone: Installation,
    alice_and_bob: UUID,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("DEBUG")
    service.status, service.headers = 503, {"Retry-After": "0"}
    async with connect(alice_phone) as alice:
        await alice.ask(message(alice_and_bob, [bob_phone]))
        await until(lambda: counts.pushes.get("retried", 0) >= 1)
        service.status = 410
        await until(lambda: counts.pushes.get("gone") == 1)
    keys = [str(key) for key in subscribed.keys.values()]
    assert [secret for secret in (*keys, "/push/phone", f"localhost:{service.port}") if secret in caplog.text] == []
