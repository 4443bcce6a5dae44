"""What the processes of an installation hold: memory, descriptors, connections. Compared before the first fault and after everything has settled."""

import resource
import time
from collections.abc import Sequence

import psutil
import psycopg

from tests.faults.history import Measured, Phase, Writer
from tests.faults.installation import Installation

CONNECTIONS = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
SAMPLES = 5
SAMPLE_PAUSE_SECONDS = 1.0


def measure(installation: Installation, writer: Writer, phase: Phase) -> dict[str, float]:
    """Write the medians of a few seconds; memory (bytes) and descriptors of each worker and finisher, clients aside; connections of PostgreSQL."""
    samples = [_sample(installation) for _ in range(SAMPLES) if _pause()]
    found = {name: _median([sample[name] for sample in samples]) for name in samples[0]}
    for name, value in found.items():
        process, _, what = name.partition(" ")
        writer.write(Measured(process=process, what=what, value=value, phase=phase))
    writer.flush()
    return found


def _pause() -> bool:
    time.sleep(SAMPLE_PAUSE_SECONDS)
    return True


def _sample(installation: Installation) -> dict[str, float]:
    found: dict[str, float] = {}
    for worker in [*installation.workers, *installation.finishers]:
        process = psutil.Process(worker.pid)
        found[f"{worker.name} rss"] = float(process.memory_info().rss)
        found[f"{worker.name} descriptors"] = float(process.num_fds() - _clients(process, installation.port))
    found["postgresql connections"] = float(connections(installation))
    return found


def _clients(process: psutil.Process, port: int) -> int:
    """Connections of clients: which worker they come to is chance, and a fault sends them all to another one."""
    return sum(each.laddr.port == port and bool(each.raddr) for each in process.net_connections("tcp"))


def connections(installation: Installation) -> int:
    """How many PostgreSQL serves, ours excepted."""
    with psycopg.connect(installation.direct["POSTGRES_URL"], autocommit=True) as connection:
        row = connection.execute(CONNECTIONS).fetchone()
    return int(row[0]) if row else 0


def cpu_seconds(installation: Installation) -> float:
    """CPU used so far by the processes of the installation, and by those of them that have ended."""
    times = [process.cpu_times() for child in installation.children for process in child.processes()]
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    living = float(sum(each.user + each.system for each in times))
    return living + ended.ru_utime + ended.ru_stime


def _median(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 2]
