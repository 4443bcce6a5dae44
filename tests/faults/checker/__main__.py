"""`python -m tests.faults.checker FILE…`: judge a history. Ends with 0, 1 (a promise was broken) or 2 (it cannot be judged)."""

import sys
from pathlib import Path

from tests.faults.checker import check


def main(arguments: list[str]) -> int:
    if not arguments:
        sys.stderr.write(f"{__doc__}\n")
        return 2
    report = check(Path(argument) for argument in arguments)
    sys.stdout.write("\n".join(report.lines()) + "\n")
    return report.exit_code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
