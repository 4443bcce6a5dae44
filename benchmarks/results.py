"""Results as CSV: a row for each window, and one with the medians, each with everything that is needed to read it alone."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks import machine
from benchmarks.figures import Window, middle
from benchmarks.options import Options
from benchmarks.report import SERVERS

FOLDER = Path(__file__).parent / "results"
LATENCIES = ("sent_p50", "sent_p99", "envelope_p50", "envelope_p99")


def write(measured: Mapping[str, Sequence[Window]], asked: Options) -> Path:
    """The file that was written, named after the time and the commit."""
    facts = machine.facts()
    FOLDER.mkdir(exist_ok=True)
    stamp = facts["date"].replace(":", "").replace("-", "")
    file = FOLDER / f"{stamp}-{facts['commit'].rstrip('+')}.csv"
    options = {name: str(value) for name, value in asdict(asked).items() if name not in ("layouts", "profile")}
    with file.open("w", newline="") as opened:
        found = list(rows(measured, facts | options))
        writer = csv.DictWriter(opened, list(found[0]) if found else list(facts))
        writer.writeheader()
        writer.writerows(found)
    return file


def rows(measured: Mapping[str, Sequence[Window]], constant: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """The rows of all layouts."""
    for layout, windows in measured.items():
        columns = [_columns(window) for window in windows]
        for number, column in enumerate(columns, 1):
            yield {"layout": layout, "window": str(number), **_text(column), **constant}
        medians = {name: middle(column[name] for column in columns) for name in (columns[0] if columns else ())}
        yield {"layout": layout, "window": "median", **_text(medians), **constant}


def _columns(window: Window) -> dict[str, float | None]:
    return {
        "span_seconds": window.seconds,
        "messages": window.messages,
        "messages_per_second": window.rate,
        "accepted_per_second": window.accepted_rate,
        **{f"{name}_ms": getattr(window, name) for name in LATENCIES},
        **{f"cpu_{group}_ms": window.cpu_ms(group) for group in (*SERVERS, "load")},
        "cpu_servers_ms": window.server_cpu_ms(SERVERS),
    }


def _text(column: Mapping[str, float | None]) -> dict[str, str]:
    return {name: "" if value is None else f"{value:.6g}" for name, value in column.items()}
