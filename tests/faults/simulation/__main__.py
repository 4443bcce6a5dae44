"""`python -m tests.faults.simulation`: many seeds, or one seed's story. Needs no server, and no environment."""

import argparse
import os
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[3]


def main(arguments: list[str]) -> int:
    """0 when every promise was kept; with --break, when the build was caught."""
    os.environ.setdefault("ENVIRONMENT", "test")
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "chatproject.settings")
    sys.path.insert(0, str(CHECKOUT / "clients" / "python" / "src"))
    import django  # noqa: PLC0415  (not before its settings are named)

    django.setup()
    from tests.faults.simulation import telling  # noqa: PLC0415

    return telling.tell(_parsed(arguments))


def _parsed(arguments: list[str]) -> argparse.Namespace:
    from tests.faults.broken import NAMES  # noqa: PLC0415
    from tests.faults.simulation.story import MOODS  # noqa: PLC0415

    parser = argparse.ArgumentParser(prog="python -m tests.faults.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, help="tell this one story")
    parser.add_argument("--first", type=int, default=1, help="the first seed of many (default 1)")
    parser.add_argument("--seeds", type=int, default=2000, help="how many (default 2000)")
    parser.add_argument("--break", dest="build", choices=NAMES, help="with this rule broken; ends when it is caught")
    parser.add_argument("--mood", choices=MOODS, help="all stories in this mood (default: the seed's choice)")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
