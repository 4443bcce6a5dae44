import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from chatproject.launcher.postgres import PostgresServer
from chatproject.launcher.state import CHECKOUT
from chatproject.launcher.valkey import ValkeyServer

ADMIN = "Admin +66800000000"
STAND_IN_MANAGE = f"import sys\nif 'first_admin' in sys.argv: print('{ADMIN}')\n"
STAND_IN_ASGI = """
async def application(scope, receive, send):
    while scope["type"] == "lifespan":
        event = (await receive())["type"]
        await send({"type": f"{event}.complete"})
        if event.endswith("shutdown"):
            return
    print("a code for Alice", flush=True)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": scope["client"][0].encode()})
"""


@pytest.fixture
def postgres(tmp_path: Path) -> Iterator[PostgresServer]:
    server = PostgresServer(tmp_path / "postgres")
    yield server
    server.stop()


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[ValkeyServer]:
    server = ValkeyServer(tmp_path / "valkey")
    yield server
    server.stop()


def eventually(fact: Callable[[], bool], seconds: float = 10.0) -> None:
    """Returns when `fact` holds; fails the test if it does not in time."""
    deadline = time.monotonic() + seconds
    while not fact():
        assert time.monotonic() < deadline, f"not within {seconds:.1f} s"
        time.sleep(0.05)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_alive(process: psutil.Process) -> bool:
    return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)


def is_suspended(process: psutil.Process) -> bool:
    return bool(process.status() == psutil.STATUS_STOPPED)


class Installation:
    """A checkout with our launcher and a web application of three lines: what `make run` does, without Django."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.port = free_port()
        self.output = root / "output"
        self.launcher: subprocess.Popen[bytes] | None = None
        ours = shutil.ignore_patterns("__pycache__")
        shutil.copytree(CHECKOUT / "chatproject" / "launcher", root / "chatproject" / "launcher", ignore=ours)
        shutil.copy(CHECKOUT / "chatproject" / "serve.py", root / "chatproject")
        (root / "chatproject" / "__init__.py").touch()
        (root / "chatproject" / "asgi.py").write_text(STAND_IN_ASGI)
        (root / "manage.py").write_text(STAND_IN_MANAGE)
        for requirements in ("requirements.txt", "requirements-dev.txt"):
            shutil.copy(CHECKOUT / requirements, root)
        (root / ".venv").symlink_to(CHECKOUT / ".venv")

    def run(self, **environment: str) -> "subprocess.Popen[bytes]":
        self.launcher = self.launch(self.root, self.output, {"PORT": str(self.port), **environment})
        return self.launcher

    @staticmethod
    def launch(
        root: Path, output: Path, environment: dict[str, str], command: str = "run"
    ) -> "subprocess.Popen[bytes]":
        given = {name: value for name, value in os.environ.items() if not name.endswith("_URL")}
        with output.open("wb") as terminal:
            return subprocess.Popen(
                [CHECKOUT / ".venv" / "bin" / "python", "-m", "chatproject.launcher", command],
                cwd=root,
                env=given | {"HOME": str(root), "CI": "true"} | environment,
                stdin=subprocess.DEVNULL,
                stdout=terminal,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def start(self, **environment: str) -> None:
        launcher = self.run(**environment)
        eventually(lambda: ADMIN in self.said() or launcher.poll() is not None, 60)
        assert launcher.poll() is None, self.said()
        assert self.answers()

    def answers(self) -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{self.port}/", timeout=5).text == "127.0.0.1"
        except httpx.HTTPError:
            return False

    def said(self) -> str:
        return self.output.read_text()

    def end(self, sign: signal.Signals = signal.SIGTERM) -> int:
        assert self.launcher is not None
        self.launcher.send_signal(sign)
        return self.launcher.wait(30)

    def processes(self, name: str = "") -> list[psutil.Process]:
        """What runs in or for this checkout, the launcher excepted."""
        found = []
        for process in psutil.process_iter(["pid", "cwd", "cmdline"]):
            inside = str(process.info["cwd"] or "").startswith(str(self.root))
            ours = self.launcher is not None and process.info["pid"] == self.launcher.pid
            if inside and not ours and name in " ".join(process.info["cmdline"] or []):
                found.append(process)
        return found

    def clean_up(self) -> None:
        if self.launcher and self.launcher.poll() is None:
            self.end()
        for process in self.processes():
            process.kill()


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    """One that a test starts, and may spoil."""
    installation = Installation(tmp_path)
    yield installation
    installation.clean_up()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """One that runs, and still runs after each test."""
    installation = Installation(tmp_path_factory.mktemp("running"))
    installation.start()
    yield installation
    installation.clean_up()
