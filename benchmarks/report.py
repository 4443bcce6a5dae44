"""The table at the end of a run: medians over the windows."""

from collections.abc import Callable, Mapping, Sequence

from benchmarks.figures import Window, middle

# Deliveries may differ from sends by so much in all windows together.
STEADY = 0.05
SERVERS = ("application", "postgresql", "valkey", "cassandra")
Figure = Callable[[Window], float | None]


def table(measured: Mapping[str, Sequence[Window]]) -> str:
    """A column for each layout."""
    names = list(measured)
    lines = ["", f"  {'median of the windows':<34}" + "".join(f"{name:>14}" for name in names)]
    for title, figure, form in _rows():
        cells = [_cell(middle(figure(window) for window in measured[name]), form) for name in names]
        lines.append(f"  {title:<34}" + "".join(f"{cell:>14}" for cell in cells))
    return "\n".join([*lines, *_unsteady(measured)])


def _unsteady(measured: Mapping[str, Sequence[Window]]) -> list[str]:
    """A line for each layout whose deliveries did not keep pace with what was accepted."""
    found = []
    for name, windows in measured.items():
        delivered, accepted = sum(window.messages for window in windows), sum(window.accepted for window in windows)
        if abs(delivered - accepted) > STEADY * accepted:
            found.append(
                f"\n  ! {name}: {accepted:,} sends were accepted and {delivered:,} messages arrived in the same windows."
                " This was no steady state: its figures per message mean little."
            )
    return found


def _rows() -> list[tuple[str, Figure, str]]:
    latency: list[tuple[str, Figure, str]] = [
        ("messages per second", lambda window: window.rate, ",.0f"),
        ("sends accepted per second", lambda window: window.accepted_rate, ",.0f"),
        ("send to sent, p50 ms", lambda window: window.sent_p50, ".1f"),
        ("send to sent, p99 ms", lambda window: window.sent_p99, ".1f"),
        ("send to envelope, p50 ms", lambda window: window.envelope_p50, ".1f"),
        ("send to envelope, p99 ms", lambda window: window.envelope_p99, ".1f"),
    ]
    cpu = [_cpu_row(f"CPU per message, {name}, ms", name) for name in SERVERS]
    together: Figure = lambda window: window.server_cpu_ms(SERVERS)  # noqa: E731  (a row of a table)
    return [
        *latency,
        *cpu,
        ("CPU per message, all of these, ms", together, ".3f"),
        _cpu_row("(load generator's own, ms)", "load"),
    ]


def _cpu_row(title: str, group: str) -> tuple[str, Figure, str]:
    return title, lambda window: window.cpu_ms(group), ".3f"


def _cell(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
