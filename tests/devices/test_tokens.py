"""Access and refresh tokens: what ends them, and what their theft looks like."""

import base64
import json
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import jwt
import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import connection
from django.utils import timezone

from accounts.counts import counts
from accounts.derivation import key_from
from accounts.models import SecurityEvent, User
from devices import tokens
from devices.models import Device, TokenPair
from devices.signals import device_changed
from tests.cast import Answer, Http, Installation
from tests.clocks import set_process_clock
from tests.linking import patiently

pytestmark = pytest.mark.django_db


def refresh(token: str) -> Answer:
    return Http().post("auth/refresh", {"refresh_token": token})


def works(access_token: str) -> bool:
    return Http(access_token).get("profile").status == 200


def test_a_refresh_gives_the_next_pair(alice_phone: Installation) -> None:
    answer = refresh(alice_phone.refresh_token)
    assert answer.status == 200
    assert answer.body["refresh_token"] != alice_phone.refresh_token
    assert works(answer.body["access_token"])
    assert works(alice_phone.access_token), "a refresh leaves the former access token its ten minutes"
    assert refresh(answer.body["refresh_token"]).status == 200


def test_the_old_token_works_until_the_new_pair_is_used(alice_phone: Installation) -> None:
    lost = refresh(alice_phone.refresh_token)
    again = refresh(alice_phone.refresh_token)
    assert (lost.status, again.status) == (200, 200)
    assert lost.body["refresh_token"] != again.body["refresh_token"]
    assert works(again.body["access_token"])


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("first_use", ["access", "refresh"])
@pytest.mark.parametrize("stolen", ["the old token", "another pair's refresh token", "another pair's access token"])
def test_a_token_in_two_hands_ends_all_tokens_of_the_device(
    alice_phone: Installation, first_use: str, stolen: str
) -> None:
    laptop = alice_phone.beside().register()
    heard: list[tuple[int, str]] = []

    def hear(sender: Any, device_id: int, reason: str, **_: Any) -> None:
        heard.append((device_id, str(reason)))

    other, used = refresh(alice_phone.refresh_token).body, refresh(alice_phone.refresh_token).body
    assert works(used["access_token"]) if first_use == "access" else refresh(used["refresh_token"]).status == 200
    device_changed.connect(hear)
    try:
        thief = {
            "the old token": lambda: refresh(alice_phone.refresh_token),
            "another pair's refresh token": lambda: refresh(other["refresh_token"]),
            "another pair's access token": lambda: Http(other["access_token"]).get("profile"),
        }[stolen]()
    finally:
        device_changed.disconnect(hear)
    assert (thief.status, thief.code) == (401, "INVALID_TOKEN")
    assert heard == [(int(alice_phone.device_id), "token_reuse")]
    assert not works(used["access_token"])
    assert not works(alice_phone.access_token)
    assert refresh(used["refresh_token"]).code == "INVALID_TOKEN"
    assert works(laptop.access_token)


@pytest.mark.django_db(transaction=True)
def test_twenty_refreshes_at_once_log_nobody_out(alice_phone: Installation) -> None:
    def one(_: int) -> Answer:
        try:
            return patiently(lambda: refresh(alice_phone.refresh_token))
        finally:
            connection.close()

    with ThreadPoolExecutor(20) as crowd:
        answers = list(crowd.map(one, range(20)))
    assert {answer.status for answer in answers} == {200}
    assert works(answers[7].body["access_token"])
    assert refresh(answers[7].body["refresh_token"]).status == 200


def test_open_offers_do_not_pile_up(alice_phone: Installation) -> None:
    for _ in range(40):
        refresh(alice_phone.refresh_token)
    assert TokenPair.objects.filter(state=TokenPair.State.OFFERED).count() == 32


def test_a_refresh_token_is_no_access_token_and_the_other_way_round(alice_phone: Installation) -> None:
    assert Http(alice_phone.refresh_token).get("profile").code == "INVALID_TOKEN"
    assert refresh(alice_phone.access_token).code == "INVALID_TOKEN"


def test_no_token_and_a_bad_token_are_told_apart(anyone: Http) -> None:
    assert anyone.get("profile").code == "UNAUTHORIZED"
    assert anyone.send_raw("GET", "profile", "", Authorization="Basic YTpi").code == "UNAUTHORIZED"
    for bad in ("", "x", "a.b.c", "eyJhbGciOiJub25lIn0.e30."):
        assert anyone.send_raw("GET", "profile", "", Authorization=f"Bearer {bad}").code in (
            "INVALID_TOKEN",
            "UNAUTHORIZED",
        )


def claims_of(token: str) -> dict[str, Any]:
    payload = token.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    assert isinstance(claims, dict)
    return claims


def forged(
    token: str,
    settings: Any,
    header: dict[str, str] | None = None,
    algorithm: str = "HS256",
    secret: str | None = None,
    **claims: Any,
) -> str:
    original = claims_of(token)
    key = key_from(secret or settings.TOKEN_KEYS[0].partition(":")[2], "access token")
    chosen = {name: value for name, value in (original | claims).items() if value is not None}
    return jwt.encode(
        chosen, "" if algorithm == "none" else key, algorithm=algorithm, headers={"kid": "k1"} | (header or {})
    )


def test_every_claim_counts(alice_phone: Installation, mallory: Installation, settings: Any) -> None:
    token = alice_phone.access_token
    assert works(forged(token, settings)), "the forgery itself is sound"
    bad: list[dict[str, Any]] = [
        {"typ": "refresh"},
        {"aud": "elsewhere"},
        {"exp": int(time.time()) - 1},
        {"exp": None},
        {"jti": str(uuid.uuid4())},
        {"jti": 5},
        {"did": mallory.device_id},
        {"did": "x"},
        {"sub": mallory.user_id},
        {"sub": None},
        {"aud": None},
        {"aud": ["elsewhere", "nowhere"]},
        {"typ": None},
        {"typ": "link"},
        {"exp": "never"},
        {"did": "9" * 30},
    ]
    assert [claims for claims in bad if works(forged(token, settings, **claims))] == []


@pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")
@pytest.mark.parametrize("algorithm", ["none", "HS384", "HS512"])
def test_the_algorithm_is_not_the_tokens_to_choose(alice_phone: Installation, settings: Any, algorithm: str) -> None:
    assert not works(forged(alice_phone.access_token, settings, algorithm=algorithm))
    header, _, rest = alice_phone.access_token.partition(".")
    for name in ("none", "None", "nOnE", "HS256"):
        lying = base64.urlsafe_b64encode(json.dumps({"alg": name, "kid": "k1", "typ": "JWT"}).encode()).decode()
        assert not works(f"{lying.rstrip('=')}.{rest.partition('.')[0]}.")
    assert works(f"{header}.{rest}")


@pytest.mark.parametrize(
    "header",
    [
        {"kid": "k2"},
        {"kid": ""},
        {"kid": "../../dev/null"},
        {"kid": "k2", "jku": "https://mallory.example/keys"},
        {"kid": "k2", "jwk": {"kty": "oct", "k": "AAAA"}},
    ],
)
def test_a_key_is_one_of_the_installations_own(alice_phone: Installation, settings: Any, header: Any) -> None:
    assert not works(forged(alice_phone.access_token, settings, header=header))
    assert not works(forged(alice_phone.access_token, settings, secret="of-another-installation-000000000000"))
    assert not works(forged(alice_phone.access_token, settings, secret="", header=header))


def test_a_tampered_token_is_none(alice_phone: Installation, bob_phone: Installation) -> None:
    """Each part of one token with the other parts of another, and a signature with its last bits changed."""
    alices, bobs = alice_phone.access_token.split("."), bob_phone.access_token.split(".")
    assert not works(".".join([alices[0], bobs[1], alices[2]]))
    assert not works(".".join([alices[0], alices[1], bobs[2]]))
    assert not works(".".join([*alices[:2], alices[2][:-2] + ("AA" if alices[2][-2:] != "AA" else "BB")]))
    assert not works(".".join([*alices, alices[2]]))


def test_an_access_token_lasts_ten_minutes(alice_phone: Installation, settings: Any) -> None:
    claims = claims_of(alice_phone.access_token)
    assert claims["exp"] - claims["iat"] == 600
    now = int(time.time())
    assert works(forged(alice_phone.access_token, settings, exp=now + 30))
    assert not works(forged(alice_phone.access_token, settings, exp=now - 30))
    settings.ACCESS_TOKEN_SECONDS = 60
    shorter = refresh(alice_phone.refresh_token).body
    assert shorter["access_expires_in_seconds"] == 60
    claims = claims_of(shorter["access_token"])
    assert claims["exp"] - claims["iat"] == 60


@pytest.mark.parametrize("days", [-400, -1, 1, 400])
def test_a_process_with_a_wrong_clock_signs_nobody_out_and_lets_nobody_in_longer(
    alice_phone: Installation, bob_phone: Installation, settings: Any, monkeypatch: pytest.MonkeyPatch, days: int
) -> None:
    now = time.time()
    with monkeypatch.context() as there:
        set_process_clock(there, timedelta(days=days))
        assert works(alice_phone.access_token)
        assert not works(forged(bob_phone.access_token, settings, exp=int(now) - 60))
        renewed = refresh(alice_phone.refresh_token).body
        assert renewed["refresh_expires_in_seconds"] == 30 * 86_400
        assert works(renewed["access_token"])
    assert works(renewed["access_token"])
    assert abs(claims_of(renewed["access_token"])["exp"] - now - 600) < 60
    assert refresh(renewed["refresh_token"]).status == 200


def test_a_token_made_by_a_process_whose_clock_is_ahead_is_good(alice_phone: Installation, settings: Any) -> None:
    assert works(forged(alice_phone.access_token, settings, iat=int(time.time()) + 30))


def test_signing_keys_rotate_without_logging_anyone_out(alice_phone: Installation, settings: Any) -> None:
    """The three documented steps. During each some processes have the list of the step before it."""
    [old] = settings.TOKEN_KEYS
    new = "k2:another-secret-of-a-good-length-000000000000"
    held = [alice_phone.access_token]
    latest = alice_phone.refresh_token
    for before, after in [([old], [old, new]), ([old, new], [new, old])]:
        for signing in (before, after, before, after):
            settings.TOKEN_KEYS = signing
            pair = refresh(latest).body
            held.append(pair["access_token"])
            latest = pair["refresh_token"]
            for verifying in (before, after):
                settings.TOKEN_KEYS = verifying
                assert works(pair["access_token"])
    assert [jwt.get_unverified_header(token)["kid"] for token in (held[0], held[-1])] == ["k1", "k2"]
    # Ten minutes later nothing is left that the old one signed.
    settings.TOKEN_KEYS = [new]
    assert works(held[-1])
    assert not works(held[0])


def test_a_key_that_leaked_is_removed_at_once_and_nobody_has_to_sign_in_again(
    alice_phone: Installation, settings: Any
) -> None:
    leaked = settings.TOKEN_KEYS
    settings.TOKEN_KEYS = ["k2:another-secret-of-a-good-length-000000000000"]
    assert not works(alice_phone.access_token)
    renewed = refresh(alice_phone.refresh_token).body["access_token"]
    assert works(renewed)
    settings.TOKEN_KEYS = leaked
    forgery = forged(renewed, settings)
    settings.TOKEN_KEYS = ["k2:another-secret-of-a-good-length-000000000000"]
    assert not works(forgery)


@pytest.mark.parametrize("keys", [[], ["no-kid"], ["k1:"], [":secret"], ["k1:one-secret", "k1:another"]])
def test_a_list_of_keys_that_is_none_is_refused(alice_phone: Installation, settings: Any, keys: list[str]) -> None:
    settings.TOKEN_KEYS = keys
    with pytest.raises(ImproperlyConfigured, match="TOKEN_KEYS"):
        tokens.authenticate(alice_phone.access_token)


def test_reuse_and_signing_out_are_on_record(alice_phone: Installation) -> None:
    before = counts.tokens_reused
    renewed = refresh(alice_phone.refresh_token).body
    assert works(renewed["access_token"])
    refresh(alice_phone.refresh_token)
    alice_phone.register()
    assert alice_phone.http.post("auth/logout", {}).status == 204
    assert counts.tokens_reused == before + 1
    events = SecurityEvent.objects.filter(user_id=alice_phone.user_id).order_by("id")
    assert [(event.kind, str(event.device_id)) for event in events] == [
        ("registered", alice_phone.device_id),
        ("token_reuse", alice_phone.device_id),
        ("registered", alice_phone.device_id),
        ("logged_out", alice_phone.device_id),
    ]


def test_a_refresh_token_lasts_thirty_days_and_a_line_of_them_180(alice_phone: Installation) -> None:
    Device.objects.update(tokens_since=timezone.now() - timedelta(days=170))
    assert 0 < refresh(alice_phone.refresh_token).body["refresh_expires_in_seconds"] <= 10 * 86_400
    Device.objects.update(tokens_since=timezone.now() - timedelta(days=181))
    assert refresh(alice_phone.refresh_token).code == "INVALID_TOKEN"
    Device.objects.update(tokens_since=timezone.now())
    TokenPair.objects.update(refresh_expires_at=timezone.now() - timedelta(seconds=1))
    assert refresh(alice_phone.refresh_token).code == "INVALID_TOKEN"


def test_logging_out_ends_the_tokens_and_keeps_the_device(alice_phone: Installation) -> None:
    laptop = alice_phone.beside().register()
    assert alice_phone.http.post("auth/logout", {}).status == 204
    assert not works(alice_phone.access_token)
    assert refresh(alice_phone.refresh_token).code == "INVALID_TOKEN"
    assert alice_phone.device_id in [device["device_id"] for device in laptop.http.get("devices").body["items"]]
    device_id = alice_phone.device_id
    assert alice_phone.register().device_id == device_id


def test_a_block_ends_access_at_once(alice_phone: Installation) -> None:
    User.objects.filter(pk=alice_phone.user_id).update(is_active=False)
    assert not works(alice_phone.access_token)
    assert refresh(alice_phone.refresh_token).code == "INVALID_TOKEN"


def test_the_server_keeps_no_token(alice_phone: Installation) -> None:
    stored = repr(list(TokenPair.objects.values_list())) + repr(list(Device.objects.values_list()))
    assert alice_phone.refresh_token not in stored
    assert alice_phone.access_token not in stored
    assert base64.urlsafe_b64decode(alice_phone.refresh_token + "=") not in [
        bytes(pair.refresh_hash) for pair in TokenPair.objects.all()
    ]
