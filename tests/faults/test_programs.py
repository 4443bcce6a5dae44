"""Programs beside other work: their judgement, and their end."""

import time

from tests.faults.programs import Programs

SLEEP = ["-n", "1", "import time; time.sleep(60)"]


def test_the_exit_code_is_the_judgement_and_all_have_their_turn() -> None:
    with Programs() as programs:
        kept = [programs.start(module) for module in ("platform", "tests.faults.nowhere", "platform")]
        assert [one.result(60) for one in kept] == [True, False, True]


def test_whoever_leaves_ends_what_runs_and_begins_nothing_more() -> None:
    began = time.monotonic()
    with Programs() as programs:
        running, waiting = programs.start("timeit", SLEEP), programs.start("timeit", SLEEP)
        while not running.running():
            time.sleep(0.01)
        time.sleep(0.5)
    assert time.monotonic() - began < 30
    assert not running.result()
    assert waiting.cancelled()
