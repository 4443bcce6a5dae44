import threading
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Protocol

from chatproject.launcher.console import REPORT_EVERY_SECONDS, say


class Child(Protocol):
    """What is started, stopped and kept running: a server, a web worker."""

    name: str
    log: Path

    def start(self) -> None: ...
    def wait(self) -> int: ...
    def stop(self, *, hurry: bool = False) -> None: ...
    def hurry(self) -> None: ...


def start_together(children: Sequence[Child]) -> None:
    """Starts all at once and says of each when it is ready. If one fails, or we are interrupted, all are stopped."""
    if not children:
        return
    say(f"  … Starting {', '.join(child.name for child in children)}")
    with ThreadPoolExecutor(len(children)) as pool:
        starts = {pool.submit(child.start): child for child in children}
        try:
            _watch(starts)
        except BaseException:
            for child in children:
                child.stop(hurry=True)
            raise


def _watch(starts: "dict[Future[None], Child]") -> None:
    began = time.monotonic()
    pending = set(starts)
    while pending:
        done, pending = wait(pending, REPORT_EVERY_SECONDS, FIRST_COMPLETED)
        seconds = f"{time.monotonic() - began:.1f} s"
        for start in done:
            start.result()
            say(f"  ✓ {starts[start].name} ({seconds})")
        if not done:
            say(f"    still starting: {', '.join(starts[start].name for start in pending)} ({seconds})")


def stop_together(children: Sequence[Child]) -> None:
    """Stops all at once; returns when all are gone."""
    stops = [threading.Thread(target=child.stop) for child in children]
    for stop in stops:
        stop.start()
    for stop in stops:
        stop.join()
