"""The restore drill: PostgreSQL goes back to an earlier state while the message store keeps what came after it."""

import asyncio
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from cassandra.cluster import Cluster

from chatproject import environment
from chatproject.launcher.postgres import PostgresServer
from chatproject.launcher.state import CHECKOUT
from conversations.catching_up import SPARE_SEQS
from messaging.store.profiles import cluster_options, shut_down
from tests.acceptance.conftest import require_cassandra
from tests.acceptance.house import House, Resident
from tests.acceptance.talking import Party, Talker, Talking
from tests.cast import JsonObject
from tests.sockets import connected

pytestmark = pytest.mark.installation

LOST_MESSAGES = 1000
HISTORY = "SELECT conversation_id, seq, message_id, position, kept_ms, client_message_id, sender_device_id, kind, system::text FROM message_history"
MAILBOXES = "SELECT user_id, device_id, position, message_id, conversation_id, seq FROM message_mailbox"
CQL_HISTORY = "SELECT conversation_id, seq, message_id, position, kept_ms, client_message_id, sender_device_id, kind, system FROM messages"
CQL_MAILBOXES = "SELECT user_id, device_id, position, message_id, conversation_id, seq FROM message_deliveries"
Rows = set[tuple[Any, ...]]


class Drill:
    """A house. `urls`: where its messages are, if that is apart from what decides, in a server that runs all the time."""

    def __init__(self, house: House, urls: dict[str, str]) -> None:
        self.house, self.urls = house, urls
        self.postgres = PostgresServer(house.checkout / ".state" / "postgres")
        self.backup = house.root / "backup"

    def start(self) -> None:
        self.house.start(**self.urls)

    def stop(self) -> None:
        assert self.house.stop() == 0, self.house.said()

    def back_up(self) -> None:
        """Of a server that does not run: no archive, no timeline, nothing that could tell."""
        subprocess.run(["cp", "-a", self.postgres.data, self.backup], check=True)

    def restore(self) -> None:
        shutil.rmtree(self.postgres.data)
        subprocess.run(["cp", "-a", self.backup, self.postgres.data], check=True)

    def accept(self) -> str:
        finished = subprocess.run(
            [CHECKOUT / ".venv" / "bin" / "python", "-m", "chatproject.launcher", "accept-restore", "--yes"],
            cwd=self.house.checkout,
            env=self.house.environment() | self.urls,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert finished.returncode == 0, finished.stdout + finished.stderr
        return finished.stdout

    def rows(self) -> tuple[Rows, Rows]:
        """All of the history, and all of the mailboxes without what acknowledging takes out of them. The house runs."""
        if "SCYLLADB_URL" in self.urls:
            return _cassandra_rows(self.urls["SCYLLADB_URL"])
        with psycopg.connect(self.urls["MESSAGES_URL"]) as store:
            return set(store.execute(HISTORY).fetchall()), set(store.execute(MAILBOXES).fetchall())


def _cassandra_rows(url: str) -> tuple[Rows, Rows]:
    with _connected(url) as session:
        keyspace = environment.cassandra(url)["keyspace"]
        history, mailboxes = (
            session.execute(query.replace(" FROM ", f" FROM {keyspace}.")) for query in (CQL_HISTORY, CQL_MAILBOXES)
        )
        return {tuple(row) for row in history}, {tuple(row) for row in mailboxes}


@contextmanager
def _connected(url: str) -> Iterator[Any]:
    config = environment.cassandra(url)
    cluster = Cluster(list(config["hosts"]), **cluster_options(config))
    try:
        yield cluster.connect()
    finally:
        shut_down(cluster)


@contextmanager
def _server_of_its_own(directory: Path) -> Iterator[dict[str, str]]:
    server = PostgresServer(directory)
    try:
        server.start()
        yield {"MESSAGES_URL": server.create_database("messages")}
    finally:
        server.stop(hurry=True)


@contextmanager
def _keyspace_of_its_own() -> Iterator[dict[str, str]]:
    """On the node all tests share: nothing here needs another, and each start of the house would start it too."""
    name = f"drill_{uuid4().hex[:12]}"
    url = re.sub(r"/[^/?]+(\?|$)", rf"/{name}\1", os.environ["CASSANDRA_TEST_URL"])
    try:
        yield {"SCYLLADB_URL": url}
    finally:
        with _connected(url) as session:
            session.execute(f"DROP KEYSPACE IF EXISTS {name}", execution_profile="schema")


@pytest.fixture(params=["postgresql", pytest.param("cassandra", marks=pytest.mark.cassandra)])
def drill(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Drill]:
    if request.param == "cassandra":
        require_cassandra()
    house = House(tmp_path / "house", request.param)
    with _keyspace_of_its_own() if request.param == "cassandra" else _server_of_its_own(tmp_path / "messages") as urls:
        try:
            yield Drill(house, urls)
        finally:
            house.clean_up()


async def talk(house: House, devices: list[Resident], conversations: list[str], count: int) -> Party:
    """`count` messages in all, by everybody, everywhere, several at a time."""
    async with Talking(house, devices) as party:
        numbers = iter(range(count))

        async def lane(talker: Talker, conversation: str) -> None:
            for number in numbers:
                await talker.say(conversation, party.others(talker.device), b"message %d" % number)

        await asyncio.gather(
            *(lane(talker, one) for talker in party.talkers for one in conversations for _ in range(3))
        )
        async with asyncio.timeout(60):
            while any(party._missing(talker, one) for talker in party.talkers for one in conversations):  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        return party


def test_a_restored_postgresql_overwrites_nothing(drill: Drill) -> None:
    house = drill.house
    drill.start()
    alice, bob = house.person("Alice's phone"), house.person("Bob's phone")
    devices = [alice, bob, bob.second_device("Bob's tablet")]
    conversations = [alice.direct(bob), alice.group(bob)]
    asyncio.run(talk(house, devices, conversations, 40))
    drill.stop()
    drill.back_up()

    drill.start()
    before = asyncio.run(talk(house, devices, conversations, LOST_MESSAGES))
    assert _prekey(alice, bob), "it is in its pool again after the restore"
    history, mailboxes = drill.rows()
    highest = {one: max(talker.seqs(one)[-1] for talker in before.talkers) for one in conversations}
    drill.stop()
    drill.restore()

    with pytest.raises(AssertionError, match=r"PostgreSQL is not the one the message store knows: it has gone back"):
        drill.start()
    assert "manage.py accept_restore" in house.said()
    assert "Accepted." in drill.accept()

    drill.start()
    _no_prekey_of_before_is_handed_out(alice, bob)
    after = asyncio.run(talk(house, devices, conversations, 60))
    for talker in after.talkers:
        for one in conversations:
            own = [answer for answer in talker.sent.values() if answer["conversation_id"] == one]
            # Hints of several workers may overtake each other on the wire; a client puts them in the order of their seqs.
            log = sorted((frame["seq"], int(frame["message_id"])) for frame in [*talker.got[one], *own])
            seqs, ids = [seq for seq, _ in log], [message_id for _, message_id in log]
            assert seqs == list(range(highest[one] + 1 + SPARE_SEQS, highest[one] + 1 + SPARE_SEQS + len(seqs)))
            assert ids == sorted(set(ids))
            old = {int(envelope["message_id"]) for envelope in before.talker(talker.device).got[one]}
            assert ids[0] > max(old)
    history_now, mailboxes_now = drill.rows()
    assert history < history_now
    assert mailboxes < mailboxes_now
    assert min(row[2] for row in mailboxes_now - mailboxes) > max(row[2] for row in mailboxes)
    asyncio.run(_nothing_is_left(house, devices))
    _the_gap_is_known_to_be_lost(alice, conversations[0], highest[conversations[0]])
    house.restart_workers()


def _prekey(caller: Resident, target: Resident) -> JsonObject | None:
    answer = caller.http.get(f"keys/{target.user_id}/{target.device_id}")
    assert answer.status == 200, answer
    found: JsonObject | None = answer.body["devices"][0].get("one_time_prekey")
    return found


def _no_prekey_of_before_is_handed_out(alice: Resident, bob: Resident) -> None:
    assert bob.http.get("keys/count").body["count"] == 0
    assert _prekey(alice, bob) is None
    for expected in (0, 5):
        more = {"one_time_prekeys": [bob.keys.prekey() for _ in range(5)]}
        assert bob.http.put("keys", more).body["count"] == expected, "what comes first may be a repetition"
    assert _prekey(alice, bob) == more["one_time_prekeys"][0]


async def _nothing_is_left(house: House, devices: list[Resident]) -> None:
    """Whoever comes back gets nothing once more: acks and cursors hold."""
    for device in devices:
        async with connected(house.ws, device) as socket:
            while (frame := await socket.hear())["type"] != "queue_empty":
                assert frame["type"] != "envelope"


def _the_gap_is_known_to_be_lost(alice: Resident, conversation: str, highest: int) -> None:
    resolved = alice.http.get(
        f"conversations/{conversation}/resolve", **{"from": str(highest - 1), "to": str(highest + 1)}
    )
    assert [item["state"] for item in resolved.body["items"]] == ["unavailable"] * 3
    before, seqs = {"limit": "100"}, list[int]()
    while True:
        page = alice.http.get(f"conversations/{conversation}/messages", **before)
        assert page.status == 200, page
        assert not page.body.get("sources_missing"), "what is lost stops nobody from reading on"
        seqs += [item["seq"] for item in page.body["items"]]
        if not page.body.get("next_cursor"):
            break
        before = {"limit": "100", "before": page.body["next_cursor"]}
    assert min(seqs) == 1
    assert highest not in seqs
    assert max(seqs) > highest


def test_both_databases_of_one_server_go_back_together_without_complaint(tmp_path: Path) -> None:
    house = House(tmp_path / "house", "postgresql")
    try:
        drill = Drill(house, {})
        drill.start()
        alice, bob = house.person("Alice's phone"), house.person("Bob's phone")
        conversation = alice.direct(bob)
        asyncio.run(talk(house, [alice, bob], [conversation], 10))
        drill.stop()
        drill.back_up()
        drill.start()
        asyncio.run(talk(house, [alice, bob], [conversation], 10))
        drill.stop()
        drill.restore()
        drill.start()
        asyncio.run(talk(house, [alice, bob], [conversation], 10))
    finally:
        house.clean_up()
