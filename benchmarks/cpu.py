"""CPU time of process trees, those of their processes included that have ended meanwhile."""

from collections.abc import Iterable, Mapping

import psutil


def used(groups: Mapping[str, Iterable[int]]) -> dict[str, float]:
    """Seconds of CPU, user and system, that each group of processes and everything below them has used so far."""
    return {name: sum(tree_seconds(pid) for pid in pids) for name, pids in groups.items()}


def tree_seconds(pid: int) -> float:
    """Seconds a process and its descendants have used.

    A process that ends moves from the living into the children's time of its parent, so the sum never falls. When one ends while this is
    counting, the count is made again. Raises psutil.NoSuchProcess when `pid` itself is gone.
    """
    root = psutil.Process(pid)
    while True:
        try:
            return sum(_seconds(process) for process in (root, *root.children(recursive=True)))
        except psutil.NoSuchProcess:
            if not root.is_running():
                raise


def _seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system + times.children_user + times.children_system)


def spent(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    """What each group has used between two counts."""
    return {name: after[name] - before[name] for name in before}
