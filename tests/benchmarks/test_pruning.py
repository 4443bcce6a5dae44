"""What is written down of windows with and without the pruner."""

import csv
from pathlib import Path

import pytest

from benchmarks import pruning
from benchmarks.figures import Window
from benchmarks.options import Options
from benchmarks.pruning import Turn

ASKED = Options(("postgresql",), 10, 1, 256, "msgpack", 2, 0.0, 5.0, 6, "")


def window(p99: float) -> Window:
    return Window(5.0, 1000, 1000, 2.0, p99, 4.0, 2 * p99, {})


def test_the_last_row_has_the_ratio_of_the_medians(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pruning, "FOLDER", tmp_path)
    turns = [Turn(window(10.0), None), Turn(window(15.0), 4000), Turn(window(99.0), None), Turn(window(12.0), 5000)]
    turns += [Turn(window(8.0), None), Turn(window(90.0), 0)]
    with pruning._write(turns, ASKED, 1_000_000).open(newline="") as opened:
        rows = list(csv.DictReader(opened))
    assert [row["window"] for row in rows] == ["1", "2", "3", "4", "5", "6", "median", "median", "ratio"]
    assert [row["removed"] for row in rows[:6]] == ["", "4000", "", "5000", "", "0"]
    assert [row["sent_p99_ms"] for row in rows[6:]] == ["10", "15", "1.5"]
    assert all(row["rows"] == "1000000" and row["commit"] for row in rows)
    assert "1.50" in pruning._table(turns)
