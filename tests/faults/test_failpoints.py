"""Failpoints act once, at the hit they were armed for; and they notice when the product has changed under them."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from chatproject.launcher.state import CHECKOUT
from tests.faults.failpoints import control
from tests.faults.failpoints.control import Arming, Failpoints
from tests.faults.failpoints.matrix import cases, together
from tests.faults.failpoints.seams import SeamGone, wrap


class Place:
    """Something of the product."""

    def verb(self, entries: list[int]) -> int:
        return len(entries)

    @staticmethod
    def other() -> None:
        """Not what a seam may be."""


def test_a_point_acts_at_its_hit_and_never_again(tmp_path: Path) -> None:
    failpoints = Failpoints(tmp_path, "web-1")
    failpoints.reach("committed", TimeoutError)
    control.arm(tmp_path, Arming("one", "committed", "raise", nth=2))
    failpoints.reach("committed", TimeoutError)
    failpoints.reach("another", TimeoutError)
    assert control.hit(tmp_path, "one") is None
    with pytest.raises(TimeoutError):
        failpoints.reach("committed", TimeoutError)
    failpoints.reach("committed", TimeoutError)
    happened = control.hit(tmp_path, "one")
    assert happened is not None
    assert (happened.point, happened.process, happened.pid) == ("committed", "web-1", os.getpid())
    assert time.monotonic() - happened.at < 60


def test_one_arming_acts_in_one_process(tmp_path: Path) -> None:
    control.arm(tmp_path, Arming("one", "committed", "raise"))
    with pytest.raises(TimeoutError):
        Failpoints(tmp_path, "web-1").reach("committed", TimeoutError)
    Failpoints(tmp_path, "web-2").reach("committed", TimeoutError)
    Failpoints(tmp_path, "web-1").reach("committed", TimeoutError)


def test_what_is_disarmed_does_not_act(tmp_path: Path) -> None:
    failpoints = Failpoints(tmp_path, "web-1")
    control.arm(tmp_path, Arming("one", "committed", "raise"))
    control.disarm(tmp_path)
    failpoints.reach("committed", TimeoutError)
    assert not failpoints.is_armed("committed")


async def test_a_delay_holds_up_its_caller_for_as_long_as_it_was_told(tmp_path: Path) -> None:
    control.arm(tmp_path, Arming("one", "committed", "delay", seconds=0.2))
    began = time.monotonic()
    await Failpoints(tmp_path, "web-1").reach_async("committed", TimeoutError)
    assert time.monotonic() - began >= 0.2


def test_a_kill_ends_the_process_where_it_is(tmp_path: Path) -> None:
    control.arm(tmp_path, Arming("one", "committed", "kill"))
    program = (
        "import pathlib, sys; from tests.faults.failpoints.control import Failpoints; "
        "Failpoints(pathlib.Path(sys.argv[1]), 'web-1').reach('committed', TimeoutError); print('went on')"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], cwd=CHECKOUT, capture_output=True, check=False
    )
    assert (ended.returncode, ended.stdout) == (-9, b"")
    assert control.hit(tmp_path, "one") is not None


def test_what_is_over_soon_is_played_while_another_worker_stands_still() -> None:
    groups = list(together(cases(["committed", "registered"]), alone=["registered"]))
    assert [[str(case) for case in group] for group in groups] == [
        ["committed/kill"],
        ["committed/stop", "committed/raise", "committed/delay"],
        ["registered/kill"],
        ["registered/stop"],
        ["registered/raise"],
        ["registered/delay"],
    ]


def test_every_case_is_played_once() -> None:
    assert [case for group in together(cases(), alone=[]) for case in group] == cases()


def test_a_seam_that_is_gone_or_has_changed_is_an_error() -> None:
    wrap(Place, "verb", "self entries", lambda original: original)
    for name, parameters in (("noun", "self"), ("verb", "self entries more"), ("other", "")):
        with pytest.raises(SeamGone):
            wrap(Place, name, parameters, lambda original: original)


@pytest.mark.parametrize("url", ["postgresql:///messages", "cassandra://127.0.0.1/waypost?dc=dc1"])
def test_every_point_finds_its_place_in_the_product(tmp_path: Path, url: str) -> None:
    name = "SCYLLADB_URL" if url.startswith("cassandra") else "MESSAGES_URL"
    environment = {key: value for key, value in os.environ.items() if not key.endswith("_URL")}
    environment |= {name: url, "FAULTS_DIRECTORY": str(tmp_path), "FAULTS_PROCESS": "web-1", "ENVIRONMENT": "test"}
    loaded = subprocess.run(
        [sys.executable, "-c", "import tests.faults.application"],
        cwd=CHECKOUT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert loaded.returncode == 0, loaded.stderr
