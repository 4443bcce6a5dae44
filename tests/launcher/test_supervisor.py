"""What a supervisor does about a child that dies and cannot be started again for a while."""

import threading
from pathlib import Path

import pytest

from chatproject.launcher import supervisor as supervising
from chatproject.launcher.errors import refuse
from chatproject.launcher.supervisor import Supervisor

PATIENCE_SECONDS = 30.0


class Stubborn:
    """A child that dies at once, cannot be started the next few times, and then stays."""

    name = "Stubborn"
    log = Path("stubborn.log")

    def __init__(self, refusals: int) -> None:
        self._refusals, self._starts = refusals, 0
        self._gone = threading.Event()
        self.is_back = threading.Event()

    def start(self) -> None:
        self._starts += 1
        if 1 < self._starts <= self._refusals + 1:
            refuse("not yet")
        if self._starts > 1:
            self.is_back.set()

    def wait(self) -> int:
        if self.is_back.is_set():
            self._gone.wait()
        return 1

    def stop(self, *, hurry: bool = False) -> None:
        del hurry
        self._gone.set()

    def hurry(self) -> None:
        """It does not take long."""


@pytest.mark.parametrize("is_patient", [False, True])
def test_only_a_patient_one_tries_for_ever(monkeypatch: pytest.MonkeyPatch, *, is_patient: bool) -> None:
    monkeypatch.setattr(supervising, "RESTART_PATIENCE_SECONDS", 0.5)
    gave_up = threading.Event()
    child = Stubborn(refusals=3)
    supervisor = Supervisor(lambda _reason: gave_up.set(), is_patient=is_patient, tell=lambda _said: None)
    supervisor.start([child])
    outcome, other = (child.is_back, gave_up) if is_patient else (gave_up, child.is_back)
    assert outcome.wait(PATIENCE_SECONDS)
    assert not other.is_set()
    supervisor.stop()
