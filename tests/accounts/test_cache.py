"""The cache answers what PostgreSQL said a moment ago, and nothing depends on it: not while it is away, not after FLUSHALL."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psutil
import pytest
import redis
from django.db import connection, transaction

from accounts import cache, sealing
from accounts import valkey as valkey_client
from accounts.cache import cached, forget
from chatproject.launcher.valkey import ValkeyServer
from messaging.counts import Counts
from tests.cast import Installation

in_postgresql = pytest.mark.django_db(transaction=True)


@pytest.fixture(scope="module")
def own_valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyServer]:
    """One that may be emptied, stopped and killed."""
    server = ValkeyServer(tmp_path_factory.mktemp("valkey"))
    server.start()
    yield server
    server.stop()
    server.forget()


@pytest.fixture(autouse=True)
def valkey(own_valkey: ValkeyServer, services: None, settings: Any, monkeypatch: pytest.MonkeyPatch) -> ValkeyServer:
    if not own_valkey.alive():
        own_valkey.start()
    settings.REDIS_URL = own_valkey.url
    settings.CACHES = {"default": settings.CACHES["default"] | {"LOCATION": own_valkey.url}}
    monkeypatch.setattr(valkey_client, "PATIENCE_SECONDS", 1.0)
    monkeypatch.setattr(cache, "_away_until", {})
    monkeypatch.setattr(cache, "tallies", cache.Tallies())
    return own_valkey


class Number:
    """A row that is read and changed, and counts how often it was read."""

    def __init__(self) -> None:
        self.value: Any = 1
        self.readings = 0

    def load(self) -> Any:
        self.readings += 1
        return self.value

    def read(self, seconds: float = 60.0) -> Any:
        return cached("number", "a", self.load, seconds)


def flush(valkey: ValkeyServer) -> None:
    with redis.Redis.from_url(valkey.url) as client:
        client.flushall()


@pytest.fixture
def number(valkey: ValkeyServer) -> Number:
    flush(valkey)
    return Number()


def counted() -> tuple[int, int, int]:
    found = cache.tallies
    return found.hits["number"], found.misses["number"], found.fallbacks["number"]


def test_it_is_read_once(number: Number) -> None:
    assert [number.read() for _ in range(3)] == [1, 1, 1]
    assert number.readings == 1
    assert counted() == (2, 1, 0)


@pytest.mark.parametrize("value", [None, False, "ไทย", b"\x00\xff", [1, {"a": [None, 1.5]}], {}])
def test_what_comes_back_is_what_was_loaded(number: Number, value: Any) -> None:
    number.value = value
    assert number.read() == number.read() == value
    assert number.readings == 1


def test_what_would_come_back_as_something_else_is_refused_when_it_is_loaded(number: Number) -> None:
    number.value = (1, 2)
    with pytest.raises(TypeError):
        number.read()


@in_postgresql
def test_what_changes_is_forgotten_with_the_commit_and_not_before(number: Number) -> None:
    number.read()
    with transaction.atomic():
        number.value = 2
        forget("number", "a")
        with ThreadPoolExecutor(1) as other:
            assert other.submit(closing, number.read).result() == 1
        assert number.read() == 2, "a transaction sees its own changes"
    assert number.read() == 2


@in_postgresql
def test_a_change_that_was_rolled_back_is_seen_by_nobody(number: Number) -> None:
    with pytest.raises(ZeroDivisionError), transaction.atomic():  # noqa: PT012  (the transaction is what is tested)
        number.value = 2
        forget("number", "a")
        number.read()
        raise ZeroDivisionError
    number.value = 1
    assert number.read() == 1


def test_what_was_read_before_a_change_is_not_stored_after_it(number: Number) -> None:
    def overtaken() -> int:
        old = int(number.load())
        number.value = 2
        forget("number", "a")
        return old

    assert cached("number", "a", overtaken, 60.0) == 1
    assert number.read() == 2


def test_old_values_end_also_when_nobody_says_that_they_changed(number: Number) -> None:
    number.read(0.05)
    number.value = 2
    time.sleep(0.06)
    assert number.read() == 2


def test_nobody_may_cache_for_longer_than_the_bound(number: Number) -> None:
    for seconds in (0.0, -1.0, cache.MOST_SECONDS + 1):
        with pytest.raises(ValueError, match="cached"):
            number.read(seconds)


def closing(work: Callable[[], Any]) -> Any:
    """Work of another thread, with its own connection to PostgreSQL."""
    try:
        return work()
    finally:
        connection.close()


def test_one_loads_for_all(number: Number, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "WAIT_SECONDS", 5.0)
    monkeypatch.setattr(cache, "LEASE_SECONDS", 30.0)

    def slowly() -> Any:
        time.sleep(0.1)
        return number.load()

    with ThreadPoolExecutor(16) as crowd:
        asking = [crowd.submit(closing, lambda: cached("number", "a", slowly, 60.0)) for _ in range(16)]
        assert {task.result() for task in asking} == {1}
    assert number.readings < 16
    assert sum(counted()) == 16
    assert number.read() == 1
    assert counted()[0] >= 1


def test_a_loader_that_fails_holds_up_nobody(number: Number) -> None:
    def fails() -> int:
        raise LookupError

    with pytest.raises(LookupError):
        cached("number", "a", fails, 60.0)
    assert [number.read(), number.read(), number.readings] == [1, 1, 1]
    assert counted() == (1, 2, 0)


def test_whoever_writes_into_valkey_makes_up_nothing(number: Number, valkey: ValkeyServer) -> None:
    cached("number", "b", lambda: 666, 60.0)
    mine, other = sealing.place_of("number", "a"), sealing.place_of("number", "b")
    with redis.Redis.from_url(valkey.url) as client:
        stolen = client.get(other)
        assert stolen
        for forged in (stolen, b"", b"x" * 40, bytes(16) + b"\x92\xcb\x41\xf0\x00\x00\x00\x00\x00\x00\x07"):
            client.set(mine, forged)
            assert number.read() == 1
            assert number.read() == 1


def test_an_entry_that_is_kept_alive_is_over_all_the_same(number: Number, valkey: ValkeyServer) -> None:
    number.read(0.05)
    with redis.Redis.from_url(valkey.url) as client:
        client.persist(sealing.place_of("number", "a"))
    time.sleep(0.06)
    number.value = 2
    assert number.read() == 2


def test_a_key_is_not_told_by_its_place(number: Number, valkey: ValkeyServer) -> None:
    cached("number", "a-session-key", lambda: 1, 60.0)
    with redis.Redis.from_url(valkey.url) as client:
        assert [name for name in client.scan_iter() if b"a-session-key" in name] == []


def test_while_valkey_is_dead_it_is_loaded_and_changes_are_seen_afterwards(
    number: Number, valkey: ValkeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    valkey.kill()
    assert [number.read() for _ in range(3)] == [1, 1, 1]
    assert (number.readings, counted()) == (3, (0, 0, 3))
    number.value = 2
    forget("number", "a")
    valkey.start()
    monkeypatch.setattr(cache, "_away_until", {})
    assert [number.read(), number.read(), number.readings] == [2, 2, 4]


def test_a_valkey_that_stands_still_holds_up_a_request_once(
    number: Number, valkey: ValkeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = 0
    connection_to_valkey = cache._connection

    def counting() -> Any:
        nonlocal asked
        asked += 1
        return connection_to_valkey()

    number.read()
    monkeypatch.setattr(cache, "AWAY_SECONDS", 60.0)
    monkeypatch.setattr(cache, "_connection", counting)
    process = psutil.Process(valkey.pid)
    process.suspend()
    try:
        assert [number.read() for _ in range(10)] == [1] * 10
        assert asked == 1, "ten readings wait for one time-out, not for ten"
    finally:
        process.resume()


@in_postgresql
def test_a_session_of_the_admin_survives_flushall_and_a_dead_valkey(valkey: ValkeyServer) -> None:
    from accounts.sessions import SessionStore  # noqa: PLC0415  (its model wants the apps)

    session = SessionStore()
    session["who"] = "support"
    session.save()
    key = session.session_key
    troubles: list[Callable[[], None]] = [lambda: None, lambda: flush(valkey), valkey.kill]
    for trouble in troubles:
        trouble()
        assert SessionStore(key).get("who") == "support"
    valkey.start()
    cache._away_until.clear()
    assert SessionStore(key).get("who") == "support"
    SessionStore(key).delete()
    assert SessionStore(key).get("who") is None


@in_postgresql
def test_a_session_is_read_from_the_cache_and_ends_when_it_is_ended(valkey: ValkeyServer) -> None:
    from accounts.sessions import SessionStore  # noqa: PLC0415

    session = SessionStore()
    session["who"] = "support"
    session.save()
    assert [SessionStore(session.session_key).get("who") for _ in range(3)] == ["support"] * 3
    assert cache.tallies.hits["sessions"] == 2
    session.flush()
    assert SessionStore(session.session_key).get("who") is None


@in_postgresql
def test_a_public_profile_is_read_once_and_changes_at_once(valkey: ValkeyServer) -> None:
    alice, bob = Installation(name="Alice's phone").register(), Installation(name="Bob's phone").register()
    theirs = f"users/{alice.user_id}"
    alice.http.patch("profile", {"display_name": "Alice"})
    before = cache.tallies.hits["profiles"]
    assert [bob.http.get(theirs).body["display_name"] for _ in range(3)] == ["Alice"] * 3
    assert cache.tallies.hits["profiles"] == before + 2
    alice.http.patch("profile", {"display_name": "Alice of Wonderland", "avatar": None})
    assert bob.http.get(theirs).body == {"user_id": alice.user_id, "display_name": "Alice of Wonderland"}
    assert alice.http.delete("account").status == 200
    assert bob.http.get(theirs).status == 404


@in_postgresql
def test_after_flushall_everybody_goes_on(valkey: ValkeyServer) -> None:
    """Tokens, devices, keys and limits: nobody is signed out, and whoever was at it begins with a new code."""
    alice = Installation(name="Alice's phone").register()
    half_way = Installation(name="Bob's phone")
    half_way.http.post("auth/request-otp", {"phone_number": half_way.phone_number})
    flush(valkey)
    assert alice.http.get("profile").status == 200
    assert alice.http.post("auth/refresh", {"refresh_token": alice.refresh_token}).status == 200
    assert alice.http.get("keys/count").body["count"] == 10
    assert alice.http.post("users/lookup", {"usernames": ["nobody"]}).status == 200
    assert half_way.register().user_id


def test_the_numbers_have_a_name_and_nothing_else() -> None:
    from chatproject.metrics import exposed  # noqa: PLC0415

    text = exposed({"1": Counts(cache_hits={"profiles": 3}, cache_misses={"profiles": 1})}).decode()
    assert 'waypost_cache_hits_total{name="profiles",process="1"} 3.0' in text
    assert 'waypost_cache_misses_total{name="profiles",process="1"} 1.0' in text
