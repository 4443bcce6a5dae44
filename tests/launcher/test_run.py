import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.launcher.conftest import Installation, eventually, free_port, is_alive, is_suspended


def test_it_says_what_runs_where(running: Installation) -> None:
    said = running.said()
    assert f"http://127.0.0.1:{running.port}/admin/" in said
    assert "PostgreSQL 18" in said
    assert "Valkey 9" in said


def test_codes_are_shown_on_the_terminal_and_kept_in_no_log(running: Installation) -> None:
    eventually(lambda: "a code for Alice" in running.said())
    logs = list((running.root / ".state" / "logs").iterdir())
    assert len(logs) >= 4
    assert not any("a code for Alice" in log.read_text() for log in logs)


def test_a_second_start_in_the_same_checkout_is_refused(running: Installation) -> None:
    second = Installation.launch(running.root, running.root / "second", {"PORT": str(free_port())})
    assert second.wait(20) == 1
    assert "Waypost runs already in this checkout" in (running.root / "second").read_text()
    assert running.answers()


@pytest.mark.parametrize("name", ["chatproject.serve", "valkey-server", "pginstall"])
def test_what_dies_is_started_again_within_two_seconds(running: Installation, name: str) -> None:
    before = running.said()
    known = {process.pid for process in running.processes(name)}
    min(running.processes(name), key=lambda process: process.create_time()).kill()
    eventually(lambda: "starting it again" in running.said().removeprefix(before), 2.0)
    eventually(lambda: "is back after" in running.said().removeprefix(before))
    assert {process.pid for process in running.processes(name)} - known
    assert running.answers()


def test_restart_replaces_the_workers_one_after_the_other_and_it_answers_all_the_while(running: Installation) -> None:
    before = running.said()
    known = {process.pid for process in running.processes("chatproject.serve")}
    Installation.launch(running.root, running.root / "restart", {}, "restart").wait(20)
    while running.said().removeprefix(before).count("is back after") < len(known):
        assert running.answers()
    said = running.said().removeprefix(before)
    assert not known & {process.pid for process in running.processes("chatproject.serve")}
    assert said.index("web-1 is back") < said.index("Restarting web-2")
    assert "died" not in said


def test_restart_without_an_installation_says_so(installation: Installation) -> None:
    assert Installation.launch(installation.root, installation.output, {}, "restart").wait(20) == 1
    assert "Waypost does not run in this checkout" in installation.said()


def test_a_silent_worker_is_left_alone(running: Installation) -> None:
    before = running.said()
    silent = running.processes("chatproject.serve")[0]
    silent.suspend()
    try:
        time.sleep(2.5)
        assert is_suspended(silent)
        assert running.said() == before
    finally:
        silent.resume()


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_it_stops_everything_even_a_silent_worker(installation: Installation, sign: signal.Signals) -> None:
    installation.start()
    installation.processes("chatproject.serve")[0].suspend()
    assert installation.end(sign) == 0
    assert installation.processes() == []


def test_three_deaths_within_a_minute_end_it_all_and_it_says_why(installation: Installation) -> None:
    installation.start()
    for deaths in (1, 2, 3):
        eventually(lambda: bool(installation.processes("valkey-server")))
        installation.processes("valkey-server")[0].kill()
        if deaths < 3:
            eventually(lambda times=deaths: installation.said().count("Valkey is back") == times)  # type: ignore[misc]
    assert installation.launcher is not None
    assert installation.launcher.wait(30) == 1
    assert "Valkey died three times within a minute" in installation.said()
    assert installation.processes() == []


def test_after_a_kill_its_workers_leave_and_the_next_start_ends_the_rest(installation: Installation) -> None:
    installation.start()
    stuck = installation.processes("chatproject.serve")[0]
    stuck.suspend()
    installation.end(signal.SIGKILL)
    eventually(lambda: installation.processes("chatproject.serve") == [stuck])
    left = installation.processes()
    assert len(left) > 2
    installation.start()
    assert not any(is_alive(process) for process in left)
    assert installation.end() == 0


def test_a_port_in_use_is_refused_before_anything_is_started(installation: Installation) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", installation.port))
        other.listen()
        assert installation.run().wait(10) == 1
    assert f"Port {installation.port} on 127.0.0.1 is in use" in installation.said()
    assert installation.processes() == []
    assert not (installation.root / ".state" / "postgres").exists()


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ({"POSTGRES_URL": "postgresql://bob:hidden@127.0.0.1:1/waypost"}, "POSTGRES_URL leads nowhere"),
        ({"DATABASE_URL": "sqlite:///bob.db"}, "DATABASE_URL must begin with postgresql://"),
        ({"REDIS_URL": "redis://127.0.0.1:1/0"}, "REDIS_URL leads nowhere"),
        ({"SCYLLADB_URL": "scylladb://127.0.0.1:1/waypost?dc=dc1"}, "SCYLLADB_URL leads nowhere"),
        ({"MESSAGES_URL": "postgresql://127.0.0.1:1/messages"}, "MESSAGES_URL leads nowhere"),
        ({"MESSAGES": "paper"}, "MESSAGES=paper is not known"),
        ({"HOST": "nowhere.invalid"}, "HOST=nowhere.invalid is not an address"),
        ({"PORT": "eight"}, "PORT=eight is not a number"),
        ({"WEB_WORKERS": "0"}, "WEB_WORKERS=0 is not a number from 1"),
    ],
)
def test_what_cannot_work_is_one_sentence_and_nothing_runs(
    installation: Installation, setting: dict[str, str], sentence: str
) -> None:
    assert installation.run(**setting).wait(20) == 1
    said = installation.said().strip()
    assert sentence in said
    assert len(said.splitlines()) == 1
    assert "hidden" not in said
    assert installation.processes() == []


def test_a_worker_that_cannot_start_ends_it_all(installation: Installation) -> None:
    (installation.root / "chatproject" / "asgi.py").write_text("raise RuntimeError('no application here')\n")
    assert installation.run().wait(30) == 1
    assert "ended before it was ready" in installation.said()
    assert "no application here" in installation.said()
    assert installation.processes() == []


def test_an_older_python_is_told_so(tmp_path: Path) -> None:
    script = (
        "import sys; sys.version_info = (3, 10, 1); from chatproject.launcher.__main__ import main; sys.exit(main())"
    )
    told = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "HOME": str(tmp_path)},
    )
    assert told.returncode == 1
    assert told.stderr.startswith("Waypost needs Python 3.11 or newer")
