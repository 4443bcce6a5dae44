"""`python -m benchmarks`: load on each layout in turn, a table at the end."""

import os
import sys

from benchmarks import layouts, options, profiling, pruning, report, results
from benchmarks.runs import measure
from chatproject.launcher.console import complain, say
from chatproject.launcher.errors import LauncherError


def main(arguments: list[str]) -> int:
    """0 when every layout that can be had was measured and kept its promises."""
    try:
        if arguments[:1] == ["pruning"]:
            return pruning.main(arguments[1:])
        asked = options.parse(arguments)
        if asked.profile:
            return profiling.main(asked)
        measured = {layout: measure(layout, asked) for layout in asked.layouts if _can_have(layout)}
    except LauncherError as failure:
        complain(f"\n  ✗ {failure}")
        return 1
    say(report.table(measured))
    say(f"\n  Written to {os.path.relpath(results.write(measured, asked))}")
    return 0


def _can_have(layout: str) -> bool:
    there = layouts.can_have(layout)
    if not there:
        complain(f"  ! {layout} is left out: there is no such server here.")
    return there


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
