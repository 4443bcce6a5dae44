"""What strangers do leaves no traces in the log, and the log stops nobody."""

import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from tests.cast import Http


def test_a_request_for_another_host_is_refused_without_a_word(
    anyone: Http, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.ALLOWED_HOSTS = ["chat.example.org"]
    assert anyone.get("/health/ready").status == 400
    assert caplog.records == []


def test_a_full_disk_under_the_log_breaks_nothing_that_logs() -> None:
    script = """
import django, logging
django.setup()
for number in range(1000):
    logging.getLogger("messaging").error("line %d", number)
print("alive")
"""
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [sys.executable, "-c", script],
            cwd=settings.BASE_DIR,
            env=os.environ | {"DJANGO_SETTINGS_MODULE": "chatproject.settings"},
            stdout=subprocess.PIPE,
            stderr=full,
            timeout=60,
            check=False,
        )
    assert ended.stdout == b"alive\n"


@pytest.mark.parametrize(("status", "is_logged"), [(503, False), (500, True)])
def test_a_refusal_is_no_event_and_a_failure_is(status: int, is_logged: bool) -> None:  # noqa: FBT001
    assert settings.LOGGING["loggers"]["django.request"]["filters"] == ["no_refusals"]
    record = logging.LogRecord("django.request", logging.ERROR, __file__, 1, "what happened", (), None)
    record.status_code = status
    assert settings.LOGGING["filters"]["no_refusals"]["callback"](record) is is_logged
