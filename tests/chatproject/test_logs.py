"""What strangers do leaves no traces in the log."""

from typing import Any

import pytest

from tests.cast import Http


def test_a_request_for_another_host_is_refused_without_a_word(
    anyone: Http, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.ALLOWED_HOSTS = ["chat.example.org"]
    assert anyone.get("/health/ready").status == 400
    assert caplog.records == []
