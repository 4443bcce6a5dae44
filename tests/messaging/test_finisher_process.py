"""`manage.py finisher` as operators run it: processes of their own beside no web worker at all."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit
from uuid import UUID

import pytest
from asgiref.sync import async_to_sync
from django.conf import settings
from django.db import connection, connections

from accounts import postgresql
from conversations import log
from conversations.models import OutboxRow
from messaging.models.sql import MailboxRow
from tests.cast import Installation
from tests.conversations_of import direct, send

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "messages"])

PATIENCE_SECONDS = 30


class Process:
    """One finisher, and what it has logged."""

    def __init__(self, log_file: Path) -> None:
        self._log_file = log_file
        with log_file.open("w") as sink:
            self.popen = subprocess.Popen(
                [sys.executable, "manage.py", "finisher"], cwd=settings.BASE_DIR, env=_environment(), stderr=sink
            )

    @property
    def said(self) -> str:
        return self._log_file.read_text()

    def has_said(self, words: str) -> None:
        _wait(lambda: words in self.said, f"{words!r} in {self.said!r}")


def _environment() -> dict[str, str]:
    """The tests' own databases, by URL."""
    urls = {}
    for alias, name in (("default", "POSTGRES_URL"), ("messages", "MESSAGES_URL")):
        database = connections[alias].settings_dict["NAME"]
        urls[name] = urlsplit(os.environ["POSTGRES_URL"])._replace(path=f"/{database}").geturl()
    return os.environ | urls | {"SCYLLADB_URL": "", "ENVIRONMENT": "test"}


def _wait(condition: object, sentence: str) -> None:
    assert callable(condition)
    late = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < late, sentence
        time.sleep(0.05)


@pytest.fixture
def finishers(tmp_path: Path) -> Iterator[list[Process]]:
    started = [Process(tmp_path / f"finisher-{number}.log") for number in (1, 2)]
    yield started
    for one in started:
        if one.popen.poll() is None:
            one.popen.kill()
            one.popen.wait()


def commit(conversation: UUID, alice: Installation, bob: Installation, count: int) -> None:
    """Messages of a worker that died after the commit."""

    async def append() -> None:
        await log.append([send(conversation, alice, [bob]) for _ in range(count)])
        await postgresql.close_pools()

    async_to_sync(append)()
    with connection.cursor() as cursor:
        cursor.execute("UPDATE conversations_outbox SET claimed_until = now() - interval '1 second'")


def in_mailboxes() -> list[int]:
    return [row.seq or 0 for row in MailboxRow.objects.order_by("seq")]


def test_two_finishers_deposit_what_a_dead_worker_left_and_stop_when_they_are_told_to(
    alice_phone: Installation, bob_phone: Installation, finishers: list[Process]
) -> None:
    conversation = direct(alice_phone, bob_phone)
    for one in finishers:
        one.has_said("a finisher is at work")
    commit(conversation, alice_phone, bob_phone, 300)
    _wait(lambda: not OutboxRow.objects.exists(), "the outbox is not empty")
    assert in_mailboxes() == list(range(1, 301))
    _wait(lambda: any("has taken over" in one.said for one in finishers), "nobody said so")

    for one, number in zip(finishers, (signal.SIGTERM, signal.SIGINT), strict=True):
        one.popen.send_signal(number)
    assert [one.popen.wait(PATIENCE_SECONDS) for one in finishers] == [0, 0]
    assert ["the finisher has stopped" in one.said for one in finishers] == [True, True]
    assert not any("Traceback" in one.said for one in finishers)


def test_a_finisher_that_was_stopped_and_wakes_up_changes_nothing_that_is_decided(
    alice_phone: Installation, bob_phone: Installation, finishers: list[Process]
) -> None:
    conversation = direct(alice_phone, bob_phone)
    asleep, awake = finishers
    for one in finishers:
        one.has_said("a finisher is at work")
    asleep.popen.send_signal(signal.SIGSTOP)
    commit(conversation, alice_phone, bob_phone, 50)
    _wait(lambda: not OutboxRow.objects.exists(), "the outbox is not empty")
    MailboxRow.objects.update(envelope=b"", delivered_at="2026-01-01T00:00:00Z")
    asleep.popen.send_signal(signal.SIGCONT)
    commit(conversation, alice_phone, bob_phone, 5)
    _wait(lambda: not OutboxRow.objects.exists(), "the outbox is not empty")
    assert in_mailboxes() == list(range(1, 56))
    assert MailboxRow.objects.filter(delivered_at=None).count() == 5
    assert awake.popen.poll() is None
