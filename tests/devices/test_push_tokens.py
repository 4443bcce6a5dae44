"""PUT devices/me/push-token: what is taken, what is refused, and when it ends."""

from typing import Any

import pytest
from django.db import connection

from devices.models import PushToken
from devices.push_endpoints import EndpointRefused, require_endpoint
from devices.push_tokens import Address, Kept, remove
from tests.cast import Installation
from tests.push_service import Subscription, unpadded

pytestmark = pytest.mark.django_db

ENDPOINT = "https://updates.push.services.mozilla.com/wpush/v2/gAAAAABk-_x=?a=b%20c"
PATH = "devices/me/push-token"


def kept(device: Installation) -> Address | None:
    row = PushToken.objects.filter(device_id=int(device.device_id)).first()
    return Kept(row.device_id, bytes(row.address)).address() if row else None


@pytest.mark.parametrize("provider", ["fcm", "apns"])
def test_the_last_registration_counts_and_none_ends_it(alice_phone: Installation, provider: str) -> None:
    subscription = Subscription()
    assert alice_phone.http.put(PATH, subscription.at(ENDPOINT)).status == 204
    found = kept(alice_phone)
    assert found is not None
    assert (found.endpoint, unpadded(found.p256dh)) == (ENDPOINT, subscription.keys["p256dh"])
    assert alice_phone.http.put(PATH, {"provider": provider, "token": "a1b2:c3_d4-e5.f6"}).status == 204
    assert kept(alice_phone) == Address(provider=provider, token="a1b2:c3_d4-e5.f6")
    assert [alice_phone.http.put(PATH, {"provider": "none"}).status for _ in range(2)] == [204, 204]
    assert kept(alice_phone) is None


def test_keys_are_taken_in_either_base64(alice_phone: Installation) -> None:
    keys = {name: text.replace("-", "+").replace("_", "/") for name, text in Subscription().keys.items()}
    keys = {name: text + "=" * (-len(text) % 4) for name, text in keys.items()}
    assert alice_phone.http.put(PATH, {"provider": "webpush", "endpoint": ENDPOINT, "keys": keys}).status == 204


KEYS = Subscription().keys


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "provider"),
        ({"provider": "pigeon"}, "provider"),
        ({"provider": "fcm"}, "token"),
        ({"provider": "fcm", "token": ""}, "token"),
        ({"provider": "apns", "token": "../../../evil"}, "token"),
        ({"provider": "apns", "token": "a\r\nb"}, "token"),
        ({"provider": "fcm", "token": "x" * 4097}, "token"),
        ({"provider": "webpush", "keys": KEYS}, "endpoint"),
        ({"provider": "webpush", "endpoint": ENDPOINT}, "keys"),
        ({"provider": "webpush", "endpoint": "https://127.0.0.1/", "keys": KEYS}, "endpoint"),
        ({"provider": "webpush", "endpoint": ENDPOINT, "keys": {"p256dh": KEYS["p256dh"]}}, "keys.auth"),
        ({"provider": "webpush", "endpoint": ENDPOINT, "keys": KEYS | {"auth": "AAAA"}}, "keys.auth"),
        ({"provider": "webpush", "endpoint": ENDPOINT, "keys": KEYS | {"p256dh": "AAAA"}}, "keys.p256dh"),
        (
            {"provider": "webpush", "endpoint": ENDPOINT, "keys": KEYS | {"p256dh": unpadded(b"\x04" * 65)}},
            "keys.p256dh",
        ),
        ({"provider": "webpush", "endpoint": ENDPOINT, "keys": KEYS | {"p256dh": 5}}, "keys.p256dh"),
    ],
)
def test_what_nobody_can_be_woken_by_is_refused(alice_phone: Installation, body: dict[str, Any], field: str) -> None:
    answer = alice_phone.http.put(PATH, body)
    assert (answer.status, answer.code, answer.body["field"]) == (400, "INVALID_REQUEST", field)
    assert kept(alice_phone) is None


def test_it_is_the_devices_own_and_needs_a_token(alice_phone: Installation, bob_phone: Installation) -> None:
    alice_phone.http.put(PATH, {"provider": "fcm", "token": "alices"})
    bob_phone.http.put(PATH, {"provider": "fcm", "token": "bobs"})
    bob_phone.http.put(PATH, {"provider": "none"})
    assert (kept(alice_phone), kept(bob_phone)) == (Address(provider="fcm", token="alices"), None)
    alice_phone.http.token = None
    assert alice_phone.http.put(PATH, {"provider": "none"}).status == 401


def test_it_ends_with_the_devices_tokens(alice_phone: Installation) -> None:
    laptop = alice_phone.beside().register()
    for device in (alice_phone, laptop):
        device.http.put(PATH, {"provider": "fcm", "token": "t"})
    assert laptop.http.delete(f"devices/{alice_phone.device_id}").status == 204
    assert kept(alice_phone) is None
    laptop.register()
    assert kept(laptop) is None, "whoever registers again says anew where"
    laptop.http.put(PATH, {"provider": "fcm", "token": "t"})
    laptop.http.post("auth/logout")
    assert kept(laptop) is None


@pytest.mark.django_db(transaction=True)
def test_what_is_gone_is_removed_and_what_was_registered_meanwhile_stays(alice_phone: Installation) -> None:
    alice_phone.http.put(PATH, {"provider": "fcm", "token": "old"})
    row = PushToken.objects.get(device_id=int(alice_phone.device_id))
    old = Kept(row.device_id, bytes(row.address))
    alice_phone.http.put(PATH, {"provider": "fcm", "token": "new"})
    remove(old)
    found = kept(alice_phone)
    assert found == Address(provider="fcm", token="new")
    row.refresh_from_db()
    remove(Kept(row.device_id, bytes(row.address)))
    assert kept(alice_phone) is None


def test_a_reader_of_the_database_learns_no_endpoint(alice_phone: Installation) -> None:
    alice_phone.http.put(PATH, Subscription().at(ENDPOINT))
    with connection.cursor() as cursor:
        cursor.execute("SELECT t::text FROM devices_push_token t")
        [[row]] = cursor.fetchall()
    assert b"mozilla".hex() not in row
    assert "mozilla" not in row
    assert "mozilla" not in repr(kept(alice_phone))


ALLOWED = [
    ENDPOINT,
    "https://fcm.googleapis.com/fcm/send/abc:def",
    "https://web.push.apple.com/QA-b_c",
    "https://ntfy.example.org:443/upABC?up=1",
    "https://WNS2-par02p.notify.windows.com/w/?token=a%2b%3d",
    "HTTPS://push.example.org/",
]
REFUSED = [
    "",
    "https://push.example.org./",
    "push.example.org",
    "http://push.example.org/",
    "ftp://push.example.org/",
    "file:///etc/passwd",
    "gopher://push.example.org/",
    "//push.example.org/",
    "https://",
    "https:///path",
    "https://user@push.example.org/",
    "https://user:password@push.example.org/",
    "https://@push.example.org/",
    "https://push.example.org@evil.example/",
    "https://push.example.org\\@evil.example/",
    "https://push.example.org/#fragment",
    "https://push.example.org:0/",
    "https://push.example.org:22/",
    "https://push.example.org:8443/",
    "https://push.example.org:99999/",
    "https://push.example.org:https/",
    "https://push.example.org/ with spaces",
    "https://push.example.org/\r\nHost: evil",
    "https://push.example.org/\x00",
    "https://púsh.example.org/",
    "https://push.example。org/",
    "https://localhost/",
    "https://localhost.:8443/",
    "https://intranet/",
    "https://127.0.0.1/",
    "https://127.1/",
    "https://2130706433/",
    "https://0x7f000001/",
    "https://0x7f.0.0.1/",
    "https://0177.0.0.1/",
    "https://169.254.169.254/latest/meta-data/",
    "https://93.184.215.14/",
    "https://[::1]/",
    "https://[::ffff:127.0.0.1]/",
    "https://[64:ff9b::7f00:1]/",
    "https://[fe80::1%25eth0]/",
    "https://[::1/",
    "https://push..example.org/",
    "https://-push.example.org/",
    "https://" + "a" * 64 + ".example.org/",
    "https://" + "a." * 130 + "org/",
    "https://push.example.org/" + "a" * 2048,
]


@pytest.mark.parametrize("url", ALLOWED)
def test_push_services_of_the_world_are_called(url: str) -> None:
    assert "." in require_endpoint(url).host


@pytest.mark.parametrize("url", REFUSED)
def test_whatever_could_lead_elsewhere_is_not(url: str) -> None:
    with pytest.raises(EndpointRefused):
        require_endpoint(url)


def test_a_closed_network_names_its_push_services(settings: Any) -> None:
    settings.PUSH_ALLOWED_HOSTS = ["ntfy.example.org", "other.example.org:2586", ".push.example.com"]
    for url in (
        "https://ntfy.example.org/x",
        "https://NTFY.example.org:443/x",
        "https://other.example.org:2586/",
        "https://a.b.push.example.com/",
    ):
        require_endpoint(url)
    for url in (
        "https://ntfy.example.org:8443/x",
        "https://a.push.example.com:2586/",
        "https://other.example.org/",
        "https://push.example.com/",
        "https://evilpush.example.com/",
        ENDPOINT,
    ):
        with pytest.raises(EndpointRefused):
            require_endpoint(url)


def test_a_host_of_the_own_network_is_called_where_it_is_named(settings: Any) -> None:
    settings.PUSH_PRIVATE_HOSTS = ["ntfy:2586", "10.0.0.7", "[fd12::1]:8443"]
    for url in ("https://ntfy:2586/up", "https://10.0.0.7/up", "https://[fd12::1]:8443/up"):
        require_endpoint(url)
    for url in (
        "https://10.0.0.7:5432/up",
        "https://ntfy/up",
        "https://10.0.0.8/up",
        "https://[fd12::1]/up",
        "http://ntfy:2586/up",
    ):
        with pytest.raises(EndpointRefused):
            require_endpoint(url)


def test_other_ports_are_for_the_operator_to_name(settings: Any) -> None:
    settings.PUSH_PORTS = [443, 2586]
    require_endpoint("https://push.example.org/")
    require_endpoint("https://push.example.org:2586/")
    with pytest.raises(EndpointRefused):
        require_endpoint("https://push.example.org:6379/")
