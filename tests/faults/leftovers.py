"""What stays in the outbox longer than it should, noted while a run goes on: whether such a row is claimed again and again, held, or set aside."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import psycopg

# By then a claim has expired and the next finisher has had its time.
LONG_SECONDS = 20.0
PAUSE_SECONDS = 2.0
AT_MOST = 20

OLD = """
SELECT conversation_id::text, seq, position, failures, size,
       extract(epoch FROM clock_timestamp())::float8 - kept_ms / 1000.0 AS age,
       extract(epoch FROM claimed_until - clock_timestamp())::float8 AS claimed_for,
       xmin::text AS written_by
FROM conversations_outbox WHERE kept_ms < extract(epoch FROM clock_timestamp()) * 1000 - %s * 1000 ORDER BY position LIMIT %s
"""
AT_WORK = """
SELECT pid, application_name, state, wait_event_type, wait_event, extract(epoch FROM clock_timestamp() - state_change)::float8 AS since,
       pg_blocking_pids(pid) AS blocked_by, left(query, 80) AS query
FROM pg_stat_activity
WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() AND (state <> 'idle' OR query LIKE '%%outbox%%')
"""


@contextmanager
def noted(url: str, path: Path) -> Iterator[None]:
    """Within it rows that are older than LONG_SECONDS are written to `path`, a line for each look, with what PostgreSQL was busy with."""
    stopping = threading.Event()
    watch = threading.Thread(target=_watch, args=(url, path, stopping), daemon=True)
    watch.start()
    try:
        yield
    finally:
        stopping.set()
        watch.join()


def _watch(url: str, path: Path, stopping: threading.Event) -> None:
    with path.open("ab") as file:
        while not stopping.wait(PAUSE_SECONDS):
            try:
                found = _look(url)
            except psycopg.Error:
                # It is attacked, too.
                continue
            if found["rows"]:
                file.write(msgspec.json.encode(found) + b"\n")
                file.flush()


def _look(url: str) -> dict[str, Any]:
    options = "-c statement_timeout=2000"
    with psycopg.connect(url, autocommit=True, connect_timeout=2, options=options) as connection:
        cursor = connection.cursor(row_factory=psycopg.rows.dict_row)
        rows = cursor.execute(OLD, [LONG_SECONDS, AT_MOST]).fetchall()
        at_work = cursor.execute(AT_WORK).fetchall() if rows else []
    return {"rows": rows, "at_work": at_work}
