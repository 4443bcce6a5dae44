"""The nemesis itself: of faults that come together."""

from tests.faults.nemesis.attack import take_back
from tests.faults.nemesis.faults import Fault


def test_a_fault_is_waited_for_only_when_every_other_one_is_taken_back() -> None:
    """A killed server does not come back while its disk is full, nor one that was asked to restart while it stands still."""
    told: list[str] = []

    def fault(name: str) -> Fault:
        return Fault(
            kind=name,
            target="a server",
            begin=lambda: None,
            end=lambda: told.append(f"{name} ends"),
            wait=lambda: told.append(f"{name} waits"),
        )

    take_back([(fault("killed"), 1.0), (fault("full"), 2.0)])
    assert told == ["killed ends", "full ends", "killed waits", "full waits"]


def test_a_fault_that_nothing_is_waited_for_is_over_when_it_is_taken_back() -> None:
    over: list[float] = []
    slow = Fault(kind="slow", target="a server", begin=lambda: None, wait=lambda: over.append(1.0))
    quick = Fault(kind="quick", target="a server", begin=lambda: None)
    [(_, _, slow_off), (_, _, quick_off)] = take_back([(slow, 1.0), (quick, 2.0)])
    assert over
    assert quick_off <= slow_off
