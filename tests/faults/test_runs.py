"""A minute of what `make faults` does in a quarter of an hour: people talk, things are done to the servers, and no promise is broken."""

import subprocess
import sys

import pytest

from chatproject.launcher.state import CHECKOUT


@pytest.mark.installation
def test_a_minute_of_faults_breaks_no_promise() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "tests.faults", "smoke", "--layout", "postgresql"],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
        timeout=400,
    )
    assert run.returncode == 0, f"{run.stdout}\n{run.stderr}"
    assert " 0 lost, 0 duplicated, 0 reordered, 0 leaked" in run.stdout
