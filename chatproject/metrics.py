"""`/metrics`: the numbers of all web processes of this machine, in Prometheus' text format, each with the label `process`.

The workers share one address, so whoever is asked has to answer for the others too. Each writes its numbers into a file of METRICS_DIR every few
seconds; the answer is made of one's own numbers as they are and of the others' files. Nothing is written on the hot road, and a disk that is full
costs nothing but old numbers.
"""

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import accumulate
from pathlib import Path

import msgspec
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from messaging.condition import STORES
from messaging.counts import BOUNDS, Counts, Durations
from messaging.runtime import running

logger = logging.getLogger(__name__)

WRITE_SECONDS = 2.0
# A process that has not written for so long is gone, or cannot be asked anything; after much longer its file goes too.
STALE_SECONDS = 15.0
FORGOTTEN_SECONDS = 3600.0
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

ByProcess = Mapping[str, Counts]


@csrf_exempt
@require_safe
async def view(_request: HttpRequest) -> HttpResponse:
    """The numbers as they are now."""
    numbers = (await running()).numbers()
    others = await asyncio.to_thread(others_numbers)
    text = exposed({**others, own_name(): numbers})
    return HttpResponse(text, content_type=CONTENT_TYPE, headers={"Cache-Control": "no-store"})


def exposed(by_process: ByProcess) -> bytes:
    """These numbers in Prometheus' text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Numbers(by_process))
    return generate_latest(registry)


# --- one file for each process ---------------------------------------------------------------------------------------------------------


def own_name() -> str:
    return str(os.getpid())


async def write_for_ever() -> None:
    """Let the other processes know this one's numbers, until cancelled; then they are told no more."""
    if not settings.METRICS_DIR:
        return
    was_written = True
    try:
        while True:
            numbers = msgspec.json.encode((await running()).numbers())
            is_written = await asyncio.to_thread(_write, numbers)
            if was_written and not is_written:
                logger.warning("METRICS_DIR cannot be written: other processes do not tell this one's numbers")
            was_written = is_written
            await asyncio.sleep(WRITE_SECONDS)
    finally:
        with contextlib.suppress(OSError):
            _own_file().unlink()


def others_numbers() -> dict[str, Counts]:
    """What the other processes wrote a moment ago."""
    found = {}
    for file in _files():
        with contextlib.suppress(OSError, msgspec.DecodeError):
            age = time.time() - file.stat().st_mtime
            if age > FORGOTTEN_SECONDS:
                file.unlink()
            elif age < STALE_SECONDS and file.stem != own_name():
                found[file.stem] = msgspec.json.decode(file.read_bytes(), type=Counts)
    return found


def _files() -> list[Path]:
    return sorted(Path(settings.METRICS_DIR).glob("*.json")) if settings.METRICS_DIR else []


def _own_file() -> Path:
    return Path(settings.METRICS_DIR) / f"{own_name()}.json"


def _write(numbers: bytes) -> bool:
    """Whole or not at all. Whether they could be written."""
    file = _own_file()
    fresh = file.with_suffix(".new")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        fresh.write_bytes(numbers)
        fresh.replace(file)
    except OSError:
        return False
    return True


# --- what each number is called --------------------------------------------------------------------------------------------------------


class _Numbers(Collector):
    def __init__(self, by_process: ByProcess) -> None:
        self._by_process = by_process

    def collect(self) -> Iterator[Metric]:
        for name, (help_text, read) in COUNTERS.items():
            yield _family(CounterMetricFamily(f"waypost_{name}", help_text, labels=["process"]), self._by_process, read)
        for name, (help_text, read) in GAUGES.items():
            yield _family(GaugeMetricFamily(f"waypost_{name}", help_text, labels=["process"]), self._by_process, read)
        for name, (help_text, label, read_many, kind) in LABELLED.items():
            family = kind(f"waypost_{name}", help_text, labels=["process", label])
            for process, numbers in self._by_process.items():
                for value, number in read_many(numbers):
                    family.add_metric([process, value], number)
            yield family
        for name, (help_text, read_durations) in HISTOGRAMS.items():
            histogram = HistogramMetricFamily(f"waypost_{name}", help_text, labels=["process"])
            for process, numbers in self._by_process.items():
                durations = read_durations(numbers)
                histogram.add_metric([process], buckets=_buckets(durations), sum_value=durations.seconds)
            yield histogram


Family = CounterMetricFamily | GaugeMetricFamily


def _family(family: Family, by_process: ByProcess, read: Callable[[Counts], float]) -> Family:
    for process, numbers in by_process.items():
        family.add_metric([process], read(numbers))
    return family


def _buckets(durations: Durations) -> list[tuple[str, float]]:
    bounds = [*map(str, BOUNDS), "+Inf"]
    return list(zip(bounds, map(float, accumulate(durations.counts)), strict=True))


COUNTERS: dict[str, tuple[str, Callable[[Counts], float]]] = {
    "sends_accepted": ("Messages committed for the first time.", lambda n: n.sent),
    "sends_repeated": ("Sends of a message that was committed before.", lambda n: n.repeated),
    "deliveries": ("Envelopes written to sockets, repeated ones included.", lambda n: n.delivered),
    "acks": ("Acknowledgements written to the message store.", lambda n: n.acknowledged),
    "deposits": ("Entries written to the message store.", lambda n: n.deposited),
    "deposit_failures": (
        "Batches of entries that could not be written to the message store.",
        lambda n: n.failed_deposits,
    ),
    "finished": ("Entries that a finisher has taken over and deposited.", lambda n: n.finished),
    "messages_skipped": ("Messages their device did not get past, skipped for it.", lambda n: n.skipped),
    "mailbox_rows_unreadable": ("Rows of mailboxes nobody could read, once for each socket.", lambda n: n.unreadable),
    "mailboxes_filled": ("Mailboxes that were found to be full.", lambda n: n.filled),
    "drain_passes": ("Readings of a mailbox to its end, or to the end of the window.", lambda n: n.passes),
    "drain_pass_failures": ("Readings of a mailbox that a store broke off.", lambda n: n.failed_passes),
    "sweep_finds": ("Looks nobody asked for that found something no hint had told of.", lambda n: n.finds),
    "sockets_opened": ("Sockets that were authenticated.", lambda n: n.opened),
    "codes_wrong": ("Codes of registrations that were wrong or came too late.", lambda n: n.accounts.codes_wrong),
    "pins_wrong": ("PINs that were compared and were wrong.", lambda n: n.accounts.pins_wrong),
    "registrations_stopped": (
        "Registrations with a proven number that the registration lock has stopped.",
        lambda n: n.accounts.registrations_stopped,
    ),
    "tokens_reused": ("Lines of tokens that were in two hands, and ended.", lambda n: n.accounts.tokens_reused),
}
GAUGES: dict[str, tuple[str, Callable[[Counts], float]]] = {
    "sockets": ("Open authenticated sockets.", lambda n: n.sockets),
    "pushes_waiting": ("Devices that are to be woken.", lambda n: n.pushes_waiting),
    "postgresql_misplaced": (
        "1 while nothing is accepted because PostgreSQL is not the one the message store belongs to.",
        lambda n: float(n.misplaced),
    ),
    "backlog_rows": (
        "Messages committed and not in their store. The same for all processes.",
        lambda n: n.backlog.rows,
    ),
    "backlog_bytes": ("Their bytes. The same for all processes.", lambda n: n.backlog.bytes),
    "backlog_set_aside_rows": (
        "Those of them their store has refused, or nobody can read. The same for all processes.",
        lambda n: n.backlog.set_aside,
    ),
    "backlog_oldest_seconds": (
        "Age of the oldest of them. The same for all processes.",
        lambda n: n.backlog.oldest_seconds,
    ),
    "oldest_transaction_seconds": (
        "Age of the oldest open transaction that has written: it keeps cursors back too. The same for all processes.",
        lambda n: n.backlog.oldest_transaction_seconds,
    ),
}
LabelledFamily = type[CounterMetricFamily] | type[GaugeMetricFamily]
LABELLED: dict[str, tuple[str, str, Callable[[Counts], Iterable[tuple[str, float]]], LabelledFamily]] = {
    "codes_sent": (
        "Codes the SMS gateway has taken, or may have, by the number's country.",
        "country",
        lambda n: n.accounts.codes_sent.items(),
        CounterMetricFamily,
    ),
    "codes_verified": (
        "Sessions whose code was typed in rightly, by the number's country.",
        "country",
        lambda n: n.accounts.codes_verified.items(),
        CounterMetricFamily,
    ),
    "codes_refused": (
        "Requests for a code that a limit or the operator has refused.",
        "reason",
        lambda n: n.accounts.codes_refused.items(),
        CounterMetricFamily,
    ),
    "sms_failures": (
        "Messages the SMS gateway did not take, or not in time.",
        "reason",
        lambda n: n.accounts.sms_failures.items(),
        CounterMetricFamily,
    ),
    "sends_refused": ("Sends refused, by error code.", "code", lambda n: n.refused.items(), CounterMetricFamily),
    "socket_closes": (
        "Sockets that have ended, by close code.",
        "code",
        lambda n: n.closes.items(),
        CounterMetricFamily,
    ),
    "pushes": (
        "Wake-ups of devices without a socket, by what became of them.",
        "outcome",
        lambda n: n.pushes.items(),
        CounterMetricFamily,
    ),
    "pushes_withheld": (
        "Devices with a push token that were left alone, by the reason.",
        "reason",
        lambda n: n.pushes_withheld.items(),
        CounterMetricFamily,
    ),
    "cache_hits": (
        "Values that the cache had, by what they are.",
        "name",
        lambda n: n.cache_hits.items(),
        CounterMetricFamily,
    ),
    "cache_misses": (
        "Values that were loaded because the cache did not have them.",
        "name",
        lambda n: n.cache_misses.items(),
        CounterMetricFamily,
    ),
    "cache_fallbacks": (
        "Values that were loaded because the cache could not be asked.",
        "name",
        lambda n: n.cache_fallbacks.items(),
        CounterMetricFamily,
    ),
    "store_away": (
        "1 while the process believes the store to be away.",
        "store",
        lambda n: ((store, float(store in n.away)) for store in STORES),
        GaugeMetricFamily,
    ),
    "postgresql_connections": (
        "Connections of the asynchronous road: idle, used; and callers waiting for one.",
        "state",
        lambda n: n.connections.items(),
        GaugeMetricFamily,
    ),
}
HISTOGRAMS: dict[str, tuple[str, Callable[[Counts], Durations]]] = {
    "send_seconds": ("From a send's arrival in the batcher to its commit.", lambda n: n.answer),
    "loop_lag_seconds": (
        "How late the event loop was for something that was due, asked twice a second.",
        lambda n: n.lag,
    ),
}
