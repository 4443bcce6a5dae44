"""What one process tells its own sockets."""

from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from messaging import hints
from messaging.envelopes import Close, Hint
from messaging.hints import Listening


@pytest.fixture(autouse=True)
async def layer() -> AsyncIterator[None]:
    yield
    await hints.layer().close()


async def test_whoever_fails_to_hear_fails_alone(caplog: pytest.LogCaptureFixture) -> None:
    """It would otherwise take the deposit with it that it is told of, or the connection to Redis."""
    heard: list[Hint] = []

    def fail(_: Hint) -> None:
        message = "topsecret"
        raise LookupError(message)

    ears = [Listening([hints.device_group(77)], on_hint, lambda: None) for on_hint in (fail, heard.append)]
    for ear in ears:
        ear.start()
    hints.say_changed([uuid4()])
    hints.close(77, Close(4409, 5))
    for ear in ears:
        ear.stop()
    hints.close(77, Close(4409, 6))
    assert [hint.close and hint.close.before for hint in heard] == [5]
    assert [record.getMessage() for record in caplog.records] == ["somebody could not be told: LookupError"]
