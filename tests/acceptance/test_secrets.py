"""What people said, their tokens, codes, numbers and private keys are in no store and in no log."""

import json
import secrets
import sqlite3
import uuid
from pathlib import Path

import httpx
import psycopg
import pytest

from tests.acceptance.conftest import require_cassandra
from tests.acceptance.house import House
from tests.acceptance.searching import files, forms, redis_values, rows, search, values_of_columns
from tests.acceptance.test_first_conversation import Person
from tests.cast import Installation

pytestmark = pytest.mark.installation


def test_a_secret_is_found_in_each_of_its_forms() -> None:
    secret = b"a secret that is long enough"
    for form in (secret, secret.hex().encode(), *forms(secret)):
        assert search({"it": secret}, [("here", b"before " + form + b" after")]) == [("it", "here")]
    assert search({"it": secret}, [("here", b"something else")]) == []


@pytest.mark.parametrize("layout", ["postgresql", pytest.param("cassandra", marks=pytest.mark.cassandra)])
def test_nothing_that_is_nobodys_business_is_kept(layout: str, tmp_path: Path) -> None:
    if layout == "cassandra":
        require_cassandra()
    house = House(tmp_path / "house", layout)
    try:
        house.start()
        if layout == "cassandra":
            uncompress(house)
        kept = talk(house, tmp_path)
        codes = {json.loads(line)["code"] for line in house.sms.read_text().splitlines()}
        look_into_living_stores(house, kept, codes)
        state = house.checkout / ".state"
        assert house.stop() == 0
        look_into_files(state, kept, layout)
    finally:
        house.clean_up()


def talk(house: House, home: Path) -> dict[str, bytes]:
    """A short conversation by the reference client; afterwards everything that has to stay private, by name."""
    alice, bob = Person(house, home / "alice", f"alice_{house.port}"), Person(house, home / "bob", f"bob_{house.port}")
    plaintext = f"the plaintext {secrets.token_hex(16)}"
    kept = {"plaintext": plaintext.encode()}
    for person in (alice, bob):
        person.register("phone")
        kept[f"number of {person.username}"] = person.phone_number.encode()
    alice.does("--profile", "phone", "send", bob.username, plaintext)
    assert plaintext in bob.does("--profile", "phone", "listen", "--once")
    # The second half of what is said stays in the mailbox, un-acknowledged.
    alice.does("--profile", "phone", "send", bob.username, plaintext)
    kept["PIN"] = secrets.token_hex(16).encode()
    alice.does("--profile", "phone", "pin", "set", "--lock", "--pin", kept["PIN"].decode())
    for person in (alice, bob):
        kept |= private_side_of(person)
    return kept | secrets_of_a_link(house, alice)


def secrets_of_a_link(house: House, alice: Person) -> dict[str, bytes]:
    """Alice shows a code, and a tablet claims it."""
    opened = json.loads(alice.does("--profile", "phone", "--json", "link", "--text"))
    token = json.loads(opened["text"])["link_token"]
    claim = {"link_token": token, "device": Installation().device_input(1)}
    claimed = httpx.post(f"{house.http}/api/v1/devices/link/claim", json=claim)
    assert claimed.status_code == 201, claimed
    return {"link token": token.encode(), "claim secret": claimed.json()["claim_secret"].encode()}


def private_side_of(person: Person) -> dict[str, bytes]:
    [profile] = [
        path for path in person.home.rglob("*") if path.is_file() and path.read_bytes()[:15] == b"SQLite format 3"
    ]
    with sqlite3.connect(profile) as state:
        facts = dict(
            state.execute("SELECT name, value FROM facts WHERE name IN ('access_token', 'refresh_token', 'identity')")
        )
        prekeys = state.execute("SELECT slot, key_id, private FROM prekeys ORDER BY key_id").fetchall()
    state.close()
    assert len(facts) == 3
    assert len(prekeys) > 100
    named = {
        f"{name} of {person.username}": value.encode() if isinstance(value, str) else value
        for name, value in facts.items()
    }
    # A few of each kind: looking for every one of them would take minutes and say no more.
    few = prekeys[:4] + prekeys[-2:]
    return named | {f"prekey {slot} {key_id} of {person.username}": private for slot, key_id, private in few}


def look_into_living_stores(house: House, kept: dict[str, bytes], codes: set[str]) -> None:
    urls = [house.postgres_url()] + ([house.postgres_url("waypost_messages")] if house.layout == "postgresql" else [])
    planted = plant(urls[0])
    for url in urls:
        found = search(kept | planted, rows(url))
        assert found == ([("planted", "row of accounts_user")] if url == urls[0] else [])
        assert not codes & values_of_columns(url)
    in_redis = list(redis_values(house.worker_environment("REDIS_URL")))
    assert in_redis
    assert search(kept, in_redis) == []
    assert not {code.encode() for code in codes} & {value for _, value in in_redis}


def plant(url: str) -> dict[str, bytes]:
    """A secret that does lie in the database: the search must find it."""
    planted = secrets.token_bytes(32)
    with psycopg.connect(url) as connection:
        connection.execute(
            "INSERT INTO accounts_user (id, password, is_superuser, phone_hash, phone_encrypted, display_name, bio, created_at, updated_at)"
            " VALUES (%s, '', false, %s, '', '', %s, now(), now())",
            [uuid.uuid4(), secrets.token_bytes(32), planted.hex()],
        )
    return {"planted": planted}


def look_into_files(state: Path, kept: dict[str, bytes], layout: str) -> None:
    folders = [path for path in state.iterdir() if path.is_dir() and not path.is_symlink()]
    assert {"logs", "postgres"} <= {folder.name for folder in folders}
    assert layout != "cassandra" or any("cassandra" in folder.name for folder in folders)
    assert search(kept, files(*folders)) == []


def uncompress(house: House) -> None:
    """Have Cassandra write its files as they are, so that a search in them says something."""
    from cassandra.cluster import Cluster  # noqa: PLC0415  (only where there is Cassandra)

    url = house.worker_environment("SCYLLADB_URL")
    host, _, port = url.split("//")[1].split("/")[0].partition(":")
    keyspace = url.split("/")[3].split("?")[0]
    cluster = Cluster([host], port=int(port or 9042), protocol_version=4)
    try:
        session = cluster.connect(keyspace)
        for table in cluster.metadata.keyspaces[keyspace].tables:
            session.execute(f"ALTER TABLE {table} WITH compression = {{'enabled': false}}")
    finally:
        cluster.shutdown()
