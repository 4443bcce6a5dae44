"""`make run`, `make test`, `make check`, `make bench`: the same without make."""

import sys

OLDEST_PYTHON = (3, 11)


def main() -> int:
    # An older Python gets this far, and no further: the rest of the project is not its language.
    if sys.version_info < OLDEST_PYTHON:
        sys.stderr.write(
            "Waypost needs Python 3.11 or newer; {} is {}.{}. Name another one: make run PYTHON=python3.12\n".format(
                sys.executable, *sys.version_info[:2]
            )
        )
        return 1
    from chatproject.launcher.commands import obey  # noqa: PLC0415  (not readable for an older Python)

    return obey(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
