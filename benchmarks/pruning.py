"""`python -m benchmarks pruning`: what sends notice while a ledger of old rows is pruned.

One installation under an even load. In turns the pruner (`manage.py prune`, a process of its own) is stopped for one window and goes on for the
next: what else happens on the machine meets both alike.
"""

import argparse
import csv
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

from benchmarks import layouts, machine
from benchmarks.events import Measured, Pair
from benchmarks.figures import Window, middle
from benchmarks.generator import under_load
from benchmarks.installation import web_workers
from benchmarks.options import POSTGRESQL, Options
from benchmarks.results import FOLDER
from benchmarks.runs import describe, load_of, make_pairs
from chatproject.launcher.bootstrap import PYTHON
from chatproject.launcher.console import Progress, say
from chatproject.launcher.errors import refuse
from chatproject.launcher.preparing import migrate
from chatproject.launcher.state import CHECKOUT

PRUNE = (str(PYTHON), "manage.py", "prune")
# Each has a reader of everything and one of nothing, so that half of what is removed has to be tallied.
OLD_CONVERSATIONS = 200
FILL_AT_ONCE = 100_000
FINISH_SECONDS = 1800
DAYS = 20

FOUND = """
WITH people AS (
    SELECT array_agg(user_id ORDER BY joined_seq DESC, user_id) AS users FROM conversations_member GROUP BY conversation_id LIMIT 1
), made AS (
    INSERT INTO conversations_conversation (id, kind, name, created_at, source, source_since_seq, next_seq, last_message_id, last_position,
                                            last_kept_ms, last_kind)
    SELECT gen_random_uuid(), 'group', '', now(), 'default', 1, %(rows)s + 1, 0, 0, 0, 'message' FROM generate_series(1, %(conversations)s)
    RETURNING id
)
INSERT INTO conversations_member (conversation_id, user_id, role, joined_at, joined_seq, last_read_seq, pinned, archived)
SELECT made.id, users[n], 'member', now(), 1, CASE n WHEN 1 THEN %(rows)s ELSE 0 END, false, false
FROM made CROSS JOIN people CROSS JOIN generate_series(1, 2) AS n
"""
# In the order in which they would have been written: round after round through the conversations.
FILL = """
INSERT INTO conversations_ledger (conversation_id, seq, sender_device_id, client_message_id, sender_user_id, kind, urgent, message_id, position,
                                  kept_ms, source)
SELECT m.conversation_id, 1 + g / %(conversations)s, 1,
       (left(lpad(to_hex(%(then)s + g), 12, '0'), 8) || '-' || right(lpad(to_hex(%(then)s + g), 12, '0'), 4) || '-7000-8000-'
        || lpad(to_hex(g), 12, '0'))::uuid,
       m.users[1 + (g / %(conversations)s) %% 2], 'message', true, (%(then)s + g - 1735689600000) << 22, 1, %(then)s + g, 'default'
FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS g
JOIN (SELECT conversation_id, array_agg(user_id) AS users, row_number() OVER (ORDER BY conversation_id) - 1 AS number
      FROM conversations_member JOIN conversations_conversation c ON c.id = conversation_id WHERE c.kind = 'group' GROUP BY conversation_id) m
  ON m.number = g %% %(conversations)s
ORDER BY g
"""
OLD = "SELECT count(*) FROM conversations_ledger WHERE kept_ms < (extract(epoch FROM now()) - 15 * 86400) * 1000"
REMOVED = "SELECT n_tup_del FROM pg_stat_user_tables WHERE relname = 'conversations_ledger'"
SIZES = """
SELECT relname, pg_table_size(relid), pg_indexes_size(relid), n_dead_tup, autovacuum_count FROM pg_stat_user_tables
WHERE relname IN ('conversations_ledger', 'conversations_outbox', 'conversations_tally') ORDER BY relname
"""


@dataclass(frozen=True)
class Turn:
    """A window, and how many rows were removed while it lasted; None: the pruner was stopped."""

    window: Window
    removed: int | None


def main(arguments: Sequence[str]) -> int:
    """0 when every message of the load arrived and, asked for the whole, every old row is gone."""
    rows, whole, asked = _parse(arguments)
    environment = layouts.environment_of(POSTGRESQL, os.environ) | {"PRUNE_EVERY_SECONDS": "0"}
    migrate(environment)
    pairs = make_pairs(environment, asked.pairs)
    with psycopg.connect(environment["POSTGRES_URL"], autocommit=True) as database:
        _fill(database, rows)
        turns = _measure(asked, environment, pairs, database)
        say(_table(turns))
        say(f"\n  Written to {os.path.relpath(_write(turns, asked, rows))}")
        if whole:
            _finish(environment, database)
        for name, size, indexes, dead, vacuums in database.execute(SIZES):
            tables = f"{size / 2**20:,.1f} MiB, indexes {indexes / 2**20:,.1f} MiB"
            say(f"  {name}: {tables}, {dead:,} dead rows, vacuumed {vacuums} times")
    return 0


def _parse(arguments: Sequence[str]) -> tuple[int, bool, Options]:
    parser = argparse.ArgumentParser(prog="python -m benchmarks pruning", description="Sends while a ledger is pruned.")
    add = parser.add_argument
    add("--rows", type=int, default=1_000_000, help="old rows in the ledger (default 1,000,000)")
    add("--pairs", type=int, default=10, help="pairs of devices (default 10)")
    add("--in-flight", type=int, default=1, help="sends a device has under way at once (default 1)")
    add("--workers", type=int, default=2, help="web workers (default 2)")
    add("--warm-up", type=float, default=10.0, metavar="SECONDS", help="before the first window (default 10)")
    add("--seconds", type=float, default=5.0, help="length of a window (default 5)")
    add("--windows", type=int, default=8, help="windows without and as many with pruning (default 8)")
    add("--whole", action="store_true", help="prune the rest afterwards, without load: some minutes more")
    given = vars(parser.parse_args(arguments))
    rows, whole = given.pop("rows"), given.pop("whole")
    given["windows"] *= 2
    return rows, whole, Options(layouts=(POSTGRESQL,), size=256, codec="msgpack", profile="", **given)


def _fill(database: psycopg.Connection, rows: int) -> None:
    conversations = min(OLD_CONVERSATIONS, rows)
    then = time.time_ns() // 1_000_000 - DAYS * 24 * 3600 * 1000
    with Progress(f"Filling the ledger with {rows:,} rows"):
        database.execute(FOUND, {"rows": rows // conversations + 1, "conversations": conversations})
        for first in range(0, rows, FILL_AT_ONCE):
            last = min(rows, first + FILL_AT_ONCE) - 1
            database.execute(FILL, {"then": then, "conversations": conversations, "first": first, "last": last})
        database.execute("VACUUM ANALYZE conversations_ledger")
        database.execute("CHECKPOINT")


def _measure(
    asked: Options, environment: Mapping[str, str], pairs: list[Pair], database: psycopg.Connection
) -> list[Turn]:
    turns: list[Turn] = []
    with web_workers(environment, asked.workers) as installation, _pruner(environment) as pruner:
        load = load_of(asked, installation, pairs, {"application": installation.pids})
        before = _removed(database)
        for event in under_load(load):
            say(f"    {describe(event, len(turns) + 1, load)}")
            if isinstance(event, Measured):
                is_pruning = len(turns) % 2 == 1
                pruner.send_signal(signal.SIGSTOP if is_pruning else signal.SIGCONT)
                removed = _removed(database)
                turns.append(Turn(event.window, removed - before if is_pruning else None))
                before = removed
        if pruner.poll() is not None:
            refuse("The pruner was done before the windows were: give it more --rows, or fewer --windows.")
    return turns


@contextmanager
def _pruner(environment: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """`manage.py prune`, stopped as soon as it has begun to remove rows; ended with the windows."""
    with psycopg.connect(environment["POSTGRES_URL"], autocommit=True) as database:
        process = subprocess.Popen(PRUNE, cwd=CHECKOUT, env=dict(environment), stdout=subprocess.DEVNULL)
        try:
            before, deadline = _removed(database), time.monotonic() + 60
            while _removed(database) == before:
                if process.poll() is not None or time.monotonic() > deadline:
                    refuse("The pruner did not begin.")
                time.sleep(0.1)
            process.send_signal(signal.SIGSTOP)
            yield process
        finally:
            process.kill()
            process.wait()


def _finish(environment: Mapping[str, str], database: psycopg.Connection) -> None:
    """The rest of the ledger, without load. The killed pruner's lease is not waited for."""
    database.execute("DELETE FROM accounts_lease")
    rest, began = _old(database), time.monotonic()
    done = subprocess.run(PRUNE, cwd=CHECKOUT, env=dict(environment), timeout=FINISH_SECONDS, check=False)
    seconds = time.monotonic() - began
    if done.returncode or _old(database):
        refuse(f"{_old(database):,} old rows are left, the pruner ended with {done.returncode}.")
    say(f"\n  The remaining {rest:,} rows, without load: {seconds:.0f} s, {rest / seconds:,.0f} a second")


def _old(database: psycopg.Connection) -> int:
    (count,) = database.execute(OLD).fetchone() or (0,)
    return int(count)


def _removed(database: psycopg.Connection) -> int:
    (count,) = database.execute(REMOVED).fetchone() or (0,)
    return int(count)


def _medians(turns: Sequence[Turn], *, pruning: bool) -> dict[str, float]:
    windows = [turn.window for turn in turns if (turn.removed is not None) == pruning]
    figures = {
        "messages_per_second": [window.rate for window in windows],
        "sent_p50_ms": [window.sent_p50 for window in windows],
        "sent_p99_ms": [window.sent_p99 for window in windows],
        "envelope_p50_ms": [window.envelope_p50 for window in windows],
        "envelope_p99_ms": [window.envelope_p99 for window in windows],
    }
    return {name: middle(values) or 0.0 for name, values in figures.items()}


def _table(turns: Sequence[Turn]) -> str:
    without, during = _medians(turns, pruning=False), _medians(turns, pruning=True)
    lines = [f"\n  {'median of the windows':<24}{'without':>12}{'pruning':>12}{'ratio':>8}"]
    lines += [
        f"  {name:<24}{without[name]:>12.1f}{during[name]:>12.1f}{during[name] / without[name]:>8.2f}"
        for name in without
    ]
    removed = [turn.removed / turn.window.seconds for turn in turns if turn.removed is not None]
    return "\n".join([*lines, f"  rows removed per second, median {middle(removed) or 0:,.0f}"])


def _write(turns: Sequence[Turn], asked: Options, rows: int) -> Path:
    """A row for each window, then the medians of both kinds and their ratio."""
    facts = machine.facts() | {
        "rows": rows,
        "pairs": asked.pairs,
        "in_flight": asked.in_flight,
        "workers": asked.workers,
    }
    FOLDER.mkdir(exist_ok=True)
    stamp = str(facts["date"]).replace(":", "").replace("-", "")
    file = FOLDER / f"{stamp}-{str(facts['commit']).rstrip('+')}-pruning.csv"
    with file.open("w", newline="") as opened:
        found = list(_rows(turns))
        writer = csv.DictWriter(opened, [*found[0], *facts])
        writer.writeheader()
        writer.writerows(row | facts for row in found)
    return file


def _rows(turns: Sequence[Turn]) -> Iterator[dict[str, object]]:
    for number, turn in enumerate(turns, 1):
        figures = _medians([turn], pruning=turn.removed is not None)
        yield _row(str(number), "without" if turn.removed is None else "pruning", turn.removed, figures)
    without, during = _medians(turns, pruning=False), _medians(turns, pruning=True)
    yield _row("median", "without", None, without)
    yield _row("median", "pruning", None, during)
    yield _row("ratio", "pruning", None, {name: during[name] / without[name] for name in without})


def _row(window: str, kind: str, removed: int | None, figures: Mapping[str, float]) -> dict[str, object]:
    shown = {name: f"{value:.6g}" for name, value in figures.items()}
    return {"window": window, "pruner": kind, "removed": "" if removed is None else removed, **shown}
