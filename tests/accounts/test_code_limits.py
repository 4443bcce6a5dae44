"""Codes by number, place, address, network and country: who is refused, who is not, and what it takes to be sent one again."""

import contextlib
from collections.abc import Iterator
from io import StringIO
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.db import connection
from django.db.backends.base.base import BaseDatabaseWrapper

from accounts import code_days, countries, known_places, valkey
from accounts.counts import AccountCounts, counts
from accounts.models import CodeDay, KnownPlace
from accounts.phones import hash_phone
from tests.cast import Answer, Http, Installation, any_phone_number, last_code, messages_to

pytestmark = pytest.mark.django_db

HOME = "198.51.100.7"
HOME_LAPTOP = "198.51.100.8"


@pytest.fixture(autouse=True)
def _without_delays(services: None, settings: Any) -> None:
    """What is counted is what these are about; numbers counted are as in a new process."""
    settings.LIMITS = settings.LIMITS | {"OTP_DELAYS": [0]}
    for name in AccountCounts.__struct_fields__:
        setattr(counts, name, getattr(AccountCounts(), name))
    valkey.client().flushdb()


def ask(number: str, address: str) -> Answer:
    return Http(address=address).post("auth/request-otp", {"phone_number": number})


def asked(number: str, *addresses: str) -> list[int]:
    return [ask(number, address).status for address in addresses]


def sign_in(number: str, address: str) -> Installation:
    return Installation(phone_number=number, http=Http(address=address)).register()


def limit(settings: Any, **limits: int) -> None:
    settings.LIMITS = settings.LIMITS | {name: [most] for name, most in limits.items()}


# --- networks --------------------------------------------------------------------------------------------------------------------------


def test_addresses_of_one_network_share_a_cap(settings: Any) -> None:
    limit(settings, OTP_PER_NETWORK_HOUR=3)
    here = [ask(any_phone_number(), f"203.0.113.{host}") for host in range(1, 5)]
    assert [answer.status for answer in here] == [200, 200, 200, 429]
    assert 3590 <= here[-1].body["retry_after_seconds"] <= 3600
    assert asked(any_phone_number(), "203.0.114.1") == [200]
    assert counts.codes_refused == {"network": 1}


def test_an_ipv6_customer_is_one_client_and_its_provider_a_network(settings: Any) -> None:
    limit(settings, OTP_PER_IP_HOUR=2, OTP_PER_NETWORK_HOUR=3)
    statuses = [
        ask(any_phone_number(), f"2001:db8:1:{subnet}::{host}").status
        for subnet, host in [(1, 1), (1, 2), (1, 3), (2, 1), (3, 1)]
    ]
    assert statuses == [200, 200, 429, 200, 429]
    assert counts.codes_refused == {"address": 1, "network": 1}
    assert asked(any_phone_number(), "2001:db8:2::1") == [200]


def test_loopback_addresses_belong_to_no_network_and_to_no_country(settings: Any) -> None:
    limit(settings, OTP_PER_NETWORK_HOUR=1, OTP_PER_COUNTRY_DAY=1)
    assert asked(any_phone_number(), *(f"127.9.9.{host}" for host in range(1, 5)), "::1") == [200] * 5
    assert ask(any_phone_number(), "203.0.113.1").status == 200, "the country's budget is still whole"
    assert ask(any_phone_number(), "203.0.114.1").status == 429


# --- countries -------------------------------------------------------------------------------------------------------------------------


def test_a_budget_is_not_given_anew_when_redis_forgets_everything(settings: Any) -> None:
    limit(settings, OTP_PER_COUNTRY_DAY=2)
    assert [ask(any_phone_number(), f"203.0.{net}.1").status for net in range(2)] == [200, 200]
    valkey.client().flushdb()
    number = any_phone_number()
    refused = ask(number, "203.0.3.1")
    assert (refused.status, refused.code) == (429, "RATE_LIMITED")
    assert 0 < refused.body["retry_after_seconds"] <= 86_400
    assert ask("+447400123456", "203.0.3.1").status == 200, "another country has its own"
    assert messages_to(number) == []
    limit(settings, OTP_PER_COUNTRY_DAY=3, OTP_PER_NUMBER_DAY=1)
    assert asked(number, "203.0.3.1") == [200], "what was refused cost the number nothing"
    assert CodeDay.objects.get(country="TH").budgeted == 3
    assert counts.codes_refused == {"country": 1}


def test_a_country_may_have_a_budget_of_its_own_or_be_left_out(settings: Any) -> None:
    settings.SMS_COUNTRIES = ["TH:1", "GB"]
    assert asked(any_phone_number(), "203.0.1.1", "203.0.2.1") == [200, 429]
    assert asked("+447400123456", "203.0.1.1", "203.0.2.1") == [200, 200]
    refused = ask("+4915112345678", "203.0.1.1")
    assert (refused.status, refused.code, refused.body["field"]) == (400, "INVALID_REQUEST", "phone_number")
    assert messages_to("+4915112345678") == []
    settings.SMS_COUNTRIES = ["*", "TH:1"]
    assert asked("+4915112345678", "203.0.1.1") == [200]


def test_numbers_that_cost_their_caller_extra_are_sent_nothing() -> None:
    refused = ask("+19005550123", HOME)
    assert (refused.status, refused.body["field"]) == (400, "phone_number")
    assert counts.codes_refused == {"not_texted": 1}


@pytest.mark.parametrize(
    ("number", "country"),
    [
        ("+66812345678", "TH"),
        ("+12025550123", "US"),
        ("+18765550123", "JM"),
        ("+15550001234", "US"),
        ("+80012345678", "001"),
    ],
)
def test_a_number_is_of_the_country_that_bills_it(number: str, country: str) -> None:
    assert countries.country_of(number) == country


@pytest.mark.parametrize("entries", [["Thailand"], ["TH:0"], ["TH:-1"], ["TH:many"], [""], ["XX"]])
def test_a_list_of_countries_that_is_none_is_told_before_anything_is_served(settings: Any, entries: list[str]) -> None:
    settings.SMS_COUNTRIES = entries
    with pytest.raises(ImproperlyConfigured, match="SMS_COUNTRIES"):
        countries.require_well_formed()


# --- off and on ------------------------------------------------------------------------------------------------------------------------


def codes(*what: str) -> str:
    said = StringIO()
    call_command("codes", *what, stdout=said)
    return said.getvalue()


def test_an_operator_switches_codes_off_and_on_while_everything_runs() -> None:
    number, before = any_phone_number(), any_phone_number()
    session_id = ask(before, HOME).body["otp_session_id"]
    assert codes("off") == "No codes are sent: switched off.\n"
    refused = ask(number, HOME)
    assert (refused.status, refused.code) == (503, "STORAGE_UNAVAILABLE")
    assert (refused.body["retry_after_seconds"], refused.headers["Retry-After"]) == (300, "300")
    assert messages_to(number) == []
    typed = {"otp_session_id": session_id, "code": last_code(before)}
    assert Http().post("auth/verify-otp", typed).status == 200, "codes that were sent can be typed in"
    assert codes("on") == "Codes are sent.\n"
    assert asked(number, HOME) == [200]
    assert counts.codes_refused == {"switched_off": 1}


def test_a_process_may_be_told_never_to_send_codes(settings: Any) -> None:
    settings.CODES_ENABLED = False
    assert ask(any_phone_number(), HOME).code == "STORAGE_UNAVAILABLE"
    assert codes().startswith("No codes are sent: CODES_ENABLED is off")


def test_the_day_is_told_by_country(settings: Any) -> None:
    limit(settings, OTP_PER_COUNTRY_DAY=7)
    sign_in(any_phone_number(), HOME)
    ask(any_phone_number(), HOME)
    ask("+447400123456", HOME)
    assert [line.split() for line in codes().splitlines()[2:]] == [
        ["TH", "2", "1", "7", "5"],
        ["GB", "1", "0", "7", "6"],
    ]


@pytest.mark.django_db(transaction=True)
def test_while_postgresql_does_not_count_nothing_is_sent_and_nothing_is_used_up(settings: Any) -> None:
    limit(settings, OTP_PER_NUMBER_DAY=1, OTP_PER_IP_HOUR=1)
    number, other = any_phone_number(), connection.copy()
    with connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = '50ms'")
    with contextlib.closing(other), transaction_of(other) as cursor:
        cursor.execute("LOCK TABLE accounts_code_day")
        refused = ask(number, HOME)
    assert (refused.status, refused.code) == (503, "STORAGE_UNAVAILABLE")
    assert asked(number, HOME) == [200]
    assert len(messages_to(number)) == 1


@contextlib.contextmanager
def transaction_of(other: BaseDatabaseWrapper) -> Iterator[Any]:
    """A cursor of a transaction that comes to nothing."""
    other.set_autocommit(False)
    with other.cursor() as cursor:
        yield cursor
    other.rollback()


# --- strangers and owners --------------------------------------------------------------------------------------------------------------


def test_a_stranger_who_uses_up_a_number_does_not_keep_its_owner_out() -> None:
    number = any_phone_number()
    sign_in(number, HOME)
    valkey.client().flushdb()
    assert asked(number, *(f"203.0.{net}.1" for net in range(7))) == [200] * 5 + [429] * 2
    assert asked(number, *[HOME_LAPTOP] * 6) == [200] * 5 + [429], (
        "from a known place there are five more, and no sixth"
    )
    assert asked(number, "192.0.2.1") == [429]
    assert len(messages_to(number)) == 1 + 5 + 5


def test_a_strangers_request_does_not_make_the_owner_wait(settings: Any) -> None:
    settings.LIMITS = settings.LIMITS | {"OTP_DELAYS": [60, 120]}
    number = any_phone_number()
    sign_in(number, HOME)
    assert ask(number, "203.0.113.1").status == 200
    assert ask(number, "203.0.114.1").code == "RATE_LIMITED"
    assert ask(number, HOME).body["retry_after_seconds"] == 60
    assert ask(number, HOME_LAPTOP).code == "RATE_LIMITED", "the owner waits for the owner"


def test_asking_again_does_not_make_the_day_longer() -> None:
    number = any_phone_number()
    assert asked(number, *[HOME] * 5) == [200] * 5
    for key in valkey.client().scan_iter("otp:number:*"):
        valkey.client().hset(key, "day_ends", int(valkey.client().hget(key, "day_ends")) - 86_000)  # type: ignore[arg-type]
    waits = [ask(number, HOME).body["retry_after_seconds"] for _ in range(3)]
    assert all(wait <= 400 for wait in waits)


def test_a_number_has_few_known_places_and_an_account_that_is_gone_has_none(settings: Any) -> None:
    limit(settings, OTP_PER_NUMBER_DAY=0)
    number = any_phone_number()
    for net in range(known_places.MOST + 2):
        sign_in(number, f"203.0.{net}.1")
    assert KnownPlace.objects.filter(number_hash=hash_phone(number)).count() == known_places.MOST
    limit(settings, OTP_PER_NUMBER_DAY=1)
    valkey.client().flushdb()
    assert asked(number, "192.0.2.1", "203.0.0.1", "203.0.5.1") == [200, 429, 200], "the oldest were forgotten"
    known_places.forget(hash_phone(number))
    assert not KnownPlace.objects.filter(number_hash=hash_phone(number)).exists()


def test_the_table_names_neither_number_nor_place() -> None:
    number = any_phone_number()
    sign_in(number, HOME)
    place = KnownPlace.objects.get(number_hash=hash_phone(number))
    assert len(bytes(place.place_hash)) == 32
    assert number not in str(place)


def test_known_and_unknown_numbers_are_refused_alike() -> None:
    known, unknown = any_phone_number(), any_phone_number()
    sign_in(known, HOME)
    valkey.client().flushdb()
    answers = {number: [ask(number, HOME) for _ in range(5)] for number in (known, unknown)}
    refused = {number: ask(number, HOME) for number in (known, unknown)}
    for one, other in zip(answers[known], answers[unknown], strict=True):
        assert (one.status, one.body.keys()) == (other.status, other.body.keys())
        assert {**one.body, "otp_session_id": ""} == {**other.body, "otp_session_id": ""}
    assert refused[known].status == refused[unknown].status == 429
    assert refused[known].body["error"] == refused[unknown].body["error"]


# --- numbers ---------------------------------------------------------------------------------------------------------------------------


def test_what_is_sent_and_what_is_typed_in_is_counted_once() -> None:
    number = any_phone_number()
    session_id = ask(number, HOME).body["otp_session_id"]
    typed = {"otp_session_id": session_id, "code": last_code(number)}
    wrong = typed | {"code": f"{(int(typed['code']) + 1) % 10**6:06}"}
    statuses = [Http().post("auth/verify-otp", body).status for body in (wrong, typed, typed)]
    assert statuses == [400, 200, 200]
    assert (counts.codes_sent, counts.codes_verified, counts.codes_wrong) == ({"TH": 1}, {"TH": 1}, 1)
    [today] = code_days.today()
    assert (today.sent, today.verified) == (1, 1)
