"""What is written down: a row for each window and the medians, each readable alone."""

import csv
from dataclasses import asdict
from pathlib import Path

import pytest

from benchmarks import options, report, results
from benchmarks.figures import Window

WINDOWS = [
    Window(10.0, messages, messages, 1.5, 9.0, 2.5, 12.0, {"application": used, "postgresql": 0.2, "load": 0.1})
    for messages, used in ((1000, 0.5), (4000, 4.0), (2000, 0.4))
]


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, str]]:
    monkeypatch.setattr(results, "FOLDER", tmp_path / "results")
    file = results.write({"postgresql": WINDOWS}, options.parse(["postgresql", "--pairs", "7", "--codec", "json"]))
    with file.open(newline="") as opened:
        return list(csv.DictReader(opened))


def test_each_window_has_its_row_and_the_last_row_has_the_medians(written: list[dict[str, str]]) -> None:
    assert [row["window"] for row in written] == ["1", "2", "3", "median"]
    assert [row["messages_per_second"] for row in written] == ["100", "400", "200", "200"]
    assert [row["cpu_application_ms"] for row in written] == ["0.5", "1", "0.2", "0.5"]


def test_what_was_not_measured_is_empty_and_not_nought(written: list[dict[str, str]]) -> None:
    assert {row["cpu_cassandra_ms"] for row in written} == {""}


def test_each_row_says_of_what_and_how_it_was_taken(written: list[dict[str, str]]) -> None:
    for row in written:
        assert row["layout"] == "postgresql"
        assert (row["pairs"], row["codec"], row["size"]) == ("7", "json", "256")
        assert all(row[name] for name in ("commit", "date", "cores", "processor", "python", "websockets"))


def test_the_table_has_a_column_for_each_layout_and_a_dash_where_nothing_was_measured() -> None:
    lines = report.table({"postgresql": WINDOWS, "ceiling": WINDOWS}).splitlines()

    assert lines[1].split()[-2:] == ["postgresql", "ceiling"]
    assert next(line for line in lines if "cassandra" in line).split()[-2:] == ["-", "-"]
    assert next(line for line in lines if "application" in line).split()[-2:] == ["0.500", "0.500"]


def test_the_table_says_so_when_deliveries_did_not_keep_pace() -> None:
    lagging = [Window(10.0, 100, 1000, 1.5, 9.0, 2.5, 12.0, {})]

    assert "! cassandra: 1,000 sends were accepted and 100 messages arrived" in report.table({"cassandra": lagging})
    assert "!" not in report.table({"postgresql": WINDOWS})


def test_a_layout_that_does_not_exist_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        options.parse(["mongodb"])

    assert "no layout mongodb" in capsys.readouterr().err


def test_without_words_everything_is_measured_and_profiling_looks_at_one_layout(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WEB_WORKERS", "3")

    assert asdict(options.parse([])) | {"layouts": options.LAYOUTS, "workers": 3} == asdict(options.parse([]))
    assert options.parse(["--profile"]).layouts == ("postgresql",)
    assert options.parse(["--profile"]).profile == "cpu"
