import signal
import sys


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def main() -> int:
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGINT, _interrupt)
    from chatproject.launcher.servers import serve_tests  # noqa: PLC0415

    return serve_tests()


if __name__ == "__main__":
    sys.exit(main())
