"""/metrics tells what was done and how it is, for all processes, and of nobody."""

import asyncio
import os
import time
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from chatproject import metrics
from messaging import counts as counting
from messaging import runtime
from messaging.counts import Counts
from tests.cast import Installation
from tests.messaging.conftest import Connect, alice_and_bob, connect, server  # noqa: F401  (fixtures)
from tests.sockets import message
from tests.waiting import until

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "messages"])

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def samples(text: str) -> Samples:
    """Every sample by its name and its labels, those of this process without saying so."""
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = {
                name: value for name, value in sample.labels.items() if (name, value) != ("process", str(os.getpid()))
            }
            found[sample.name, tuple(sorted(labels.items()))] = sample.value
    return found


async def read(server: str) -> Samples:  # noqa: F811
    async with httpx.AsyncClient(base_url=server.replace("ws", "http", 1)) as client:
        answer = await client.get("/metrics")
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, metrics.CONTENT_TYPE)
    return samples(answer.text)


@pytest.fixture(autouse=True)
def from_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counters as of a new process."""
    for field in msgspec.structs.fields(Counts):
        monkeypatch.setattr(counting.counts, field.name, getattr(Counts(), field.name))


async def test_a_message_leaves_its_traces(
    server: str,  # noqa: F811
    connect: Connect,  # noqa: F811
    alice_phone: Installation,
    bob_phone: Installation,
    alice_and_bob: UUID,  # noqa: F811
) -> None:
    async with connect(alice_phone) as alice, connect(bob_phone) as bob:
        frame = message(alice_and_bob, [bob_phone])
        await alice.ask(frame)
        await alice.ask(frame)
        await alice.ask(message(alice_and_bob, []))
        await bob.envelopes(1)
        await alice.expect("receipt")
        found = await read(server)
    assert found["waypost_sends_accepted_total", ()] == 1
    assert found["waypost_sends_repeated_total", ()] == 1
    assert found["waypost_sends_refused_total", (("code", "MISMATCHED_DEVICES"),)] == 1
    assert found["waypost_send_seconds_count", ()] == found["waypost_send_seconds_bucket", (("le", "+Inf"),)] == 2
    assert found["waypost_deposits_total", ()] == found["waypost_deliveries_total", ()] == 1
    assert found["waypost_acks_total", ()] == 1
    assert found["waypost_drain_passes_total", ()] >= 2
    assert found["waypost_sockets", ()] == found["waypost_sockets_opened_total", ()] == 2
    assert found["waypost_store_away", (("store", "postgresql"),)] == 0
    assert found["waypost_codes_sent_total", (("country", "TH"),)] >= 2
    assert found["waypost_codes_verified_total", (("country", "TH"),)] >= 2
    assert found["waypost_postgresql_misplaced", ()] == 0
    assert found["waypost_postgresql_connections", (("state", "waiting"),)] == 0


async def test_closes_are_told_by_code_and_codes_of_clients_own_are_not_told_apart(
    server: str,  # noqa: F811
    connect: Connect,  # noqa: F811
    alice_phone: Installation,
    bob_phone: Installation,
) -> None:
    async with connect(alice_phone) as older, connect(alice_phone):
        assert await older.closed() == 4409
    async with connect(bob_phone) as bob:
        await bob.connection.close(code=4321)
    await until(lambda: sum(counting.counts.closes.values()) == 3)
    found = await read(server)
    assert {labels: value for (name, labels), value in found.items() if name == "waypost_socket_closes_total"} == {
        (("code", "4409"),): 1,
        (("code", "1000"),): 1,
        (("code", "other"),): 1,
    }


async def test_nobody_is_named(
    server: str,  # noqa: F811
    connect: Connect,  # noqa: F811
    alice_phone: Installation,
    bob_phone: Installation,
    alice_and_bob: UUID,  # noqa: F811
) -> None:
    async with connect(alice_phone) as alice:
        await alice.ask(message(alice_and_bob, [bob_phone]))
        found = await read(server)
    values = {value for (_, labels) in found for _, value in labels}
    assert not values & {alice_phone.user_id, bob_phone.user_id, alice_phone.device_id, str(alice_and_bob)}
    assert {name for (_, labels) in found for name, _ in labels} <= {
        "process",
        "code",
        "store",
        "state",
        "le",
        "country",
        "name",
        "reason",
    }


def test_whoever_is_asked_answers_for_the_other_processes_too(settings: Any, tmp_path: Path) -> None:
    settings.METRICS_DIR = str(tmp_path)
    for name, sent in {"17": 3, "18": 4, os.getpid(): 1000}.items():
        (tmp_path / f"{name}.json").write_bytes(msgspec.json.encode(Counts(sent=sent)))
    (tmp_path / "19.json").write_bytes(b"half of a fi")
    stale, forgotten = tmp_path / "20.json", tmp_path / "21.json"
    for file, age in ((stale, metrics.STALE_SECONDS), (forgotten, metrics.FORGOTTEN_SECONDS)):
        file.write_bytes(msgspec.json.encode(Counts(sent=5)))
        os.utime(file, (time.time() - age - 1,) * 2)
    others = metrics.others_numbers()
    assert {name: numbers.sent for name, numbers in others.items()} == {"17": 3, "18": 4}
    assert stale.exists()
    assert not forgotten.exists()
    found = samples(metrics.exposed({**others, metrics.own_name(): Counts(sent=5)}).decode())
    accepted = {labels: value for (name, labels), value in found.items() if name == "waypost_sends_accepted_total"}
    assert accepted == {(): 5, (("process", "17"),): 3, (("process", "18"),): 4}


@pytest.mark.usefixtures("services", "hot_road")
async def test_a_process_tells_the_others_while_it_runs_and_no_more(settings: Any, tmp_path: Path) -> None:
    settings.METRICS_DIR = str(tmp_path / "made" / "when needed")
    own = tmp_path / "made" / "when needed" / f"{os.getpid()}.json"
    telling = asyncio.create_task(metrics.write_for_ever())
    await until(own.exists)
    assert msgspec.json.decode(own.read_bytes(), type=Counts).connections.keys() == {"idle", "used", "waiting"}
    telling.cancel()
    await asyncio.gather(telling, return_exceptions=True)
    assert not own.exists()
    await runtime.stop()


@pytest.mark.usefixtures("services", "hot_road")
async def test_a_folder_that_cannot_be_written_is_told_once_and_is_nobodys_trouble(
    settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "a file").write_text("")
    settings.METRICS_DIR = str(tmp_path / "a file" / "metrics")
    monkeypatch.setattr(metrics, "WRITE_SECONDS", 0.01)
    telling = asyncio.create_task(metrics.write_for_ever())
    await until(lambda: "METRICS_DIR" in caplog.text)
    await asyncio.sleep(0.1)
    assert not telling.done()
    telling.cancel()
    await asyncio.gather(telling, return_exceptions=True)
    assert [record.levelname for record in caplog.records if "METRICS_DIR" in record.getMessage()] == ["WARNING"]
    assert metrics.others_numbers() == {}
    await runtime.stop()
