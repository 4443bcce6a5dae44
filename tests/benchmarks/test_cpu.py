"""CPU is counted for whole trees of processes, those that have ended included."""

import subprocess
import sys
from collections.abc import Iterator

import pytest

from benchmarks import cpu

# Starts a child that uses a good quarter of a second of CPU and ends, says so, and stays.
PARENT = """
import subprocess, sys
burn = "import time\\nwhile time.process_time() < 0.3: pass"
sys.stdin.readline()
subprocess.run([sys.executable, "-c", burn], check=True)
print("done", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def parent() -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield process
        process.kill()


def test_a_child_that_has_ended_still_counts(parent: subprocess.Popen[str]) -> None:
    before = cpu.used({"server": [parent.pid]})
    assert parent.stdin is not None
    assert parent.stdout is not None
    parent.stdin.write("go\n")
    parent.stdin.flush()
    assert parent.stdout.readline() == "done\n"

    spent = cpu.spent(before, cpu.used({"server": [parent.pid]}))

    assert 0.25 < spent["server"] < 5.0
