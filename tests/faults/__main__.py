"""`python -m tests.faults`: every part in turn, a table at the end, and an exit code other than 0 if a promise was broken."""

import os
import sys

from chatproject.launcher.cassandra.jars import fetch_jars
from chatproject.launcher.cassandra.java import find_java
from chatproject.launcher.console import complain, say
from chatproject.launcher.errors import LauncherError
from chatproject.launcher.interrupts import interrupts
from tests.faults import options, parts, report
from tests.faults.figures import headline
from tests.faults.installation import POSTGRESQL
from tests.faults.options import Options


def main(arguments: list[str]) -> int:
    """0 when every promise was kept, and every build with a broken rule was caught."""
    asked = options.parse(arguments)
    interrupts.install()
    try:
        played = parts.play(_with_stores(asked))
    except LauncherError as failure:
        complain(f"\n  ✗ {failure}")
        return 1
    except KeyboardInterrupt:
        complain("\n  Stopped.")
        return 130
    _tell(played)
    return 0 if played.is_good else 1


def _with_stores(asked: Options) -> Options:
    """The same on PostgreSQL alone where Cassandra cannot be had; which is then not what survived."""
    if asked.layout == POSTGRESQL:
        return asked
    try:
        fetch_jars()
        find_java()
    except LauncherError as reason:
        if os.environ.get("CASSANDRA_REQUIRED", "0") not in {"", "0"}:
            raise
        complain(
            f"  !!! Cassandra is not here: {reason} PostgreSQL keeps the messages instead; nothing is said of Cassandra."
        )
        return options.on(asked, POSTGRESQL)
    return asked


def _tell(played: parts.Played) -> None:
    for run in played.runs:
        say(report.faults(run))
    whole = [figures for figures in played.figures if figures["build"] == "whole"]
    if whole:
        say(report.table(whole))
        if all(figures["run"] != options.SMOKE for figures in whole):
            say(f"\n  Written to {os.path.relpath(report.write(played.figures))}")
        say(f"\n  {headline(whole)}")
    for line in played.said:
        say(f"  {line}")
    for line in played.broken:
        complain(f"  ✗ {line}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
