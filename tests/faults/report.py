"""What is printed after runs and kept as CSV beside the results of the benchmarks."""

import csv
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from benchmarks import machine
from benchmarks.results import FOLDER
from tests.faults.figures import Figures
from tests.faults.runs import Run

NAME_WIDTH, CELL_WIDTH = 34, 16


def table(columns: Sequence[Figures]) -> str:
    """A column for each run, but for the names of the faults, which are listed by `faults`."""
    lines = [""]
    for name in columns[0] if columns else ():
        if name == "kinds":
            continue
        cells = "".join(f"{each.get(name, ''):>{CELL_WIDTH}}" for each in columns)
        lines.append(f"  {name.replace('_', ' '):<{NAME_WIDTH}}{cells}")
    return "\n".join(lines)


def faults(run: Run) -> str:
    """What was done, by kind: how often, how often with messages in flight, how long until all was well."""
    by_kind = defaultdict(list)
    for each in run.done:
        by_kind[each.kind].append(each)
    lines = ["", f"  {run.order.name}: {'fault':<42}{'times':>6}{'hits':>6}{'in flight':>11}{'worst recovery':>16}"]
    for kind in sorted(by_kind):
        done = by_kind[kind]
        worst = (
            "never"
            if any(each.recovery is None for each in done)
            else f"{max(each.recovery or 0 for each in done):.1f} s"
        )
        hits, in_flight = sum(bool(each.in_flight) for each in done), sum(each.in_flight for each in done)
        lines.append(f"  {kind:<{len(run.order.name) + 44}}{len(done):>6}{hits:>6}{in_flight:>11}{worst:>16}")
    return "\n".join(lines)


def write(columns: Sequence[Figures]) -> Path:
    """The file that was written, named after the time and the commit; a row for each run."""
    facts = machine.facts()
    FOLDER.mkdir(exist_ok=True)
    stamp = facts["date"].replace(":", "").replace("-", "")
    file = FOLDER / f"faults-{stamp}-{facts['commit'].rstrip('+')}.csv"
    rows = [each | facts for each in columns]
    names = list(dict.fromkeys(name for row in rows for name in row))
    with file.open("w", newline="") as opened:
        writer = csv.DictWriter(opened, names, restval="")
        writer.writeheader()
        writer.writerows(rows)
    return file
