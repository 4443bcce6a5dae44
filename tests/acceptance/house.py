"""A whole installation of its own, as a newcomer gets it: a copy of the checkout, started by the launcher, and people who talk to it."""

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil

from chatproject.launcher.state import CHECKOUT
from tests import cast
from tests.cast import Answer, Http, JsonObject
from tests.launcher.conftest import free_port

RETRY_SECONDS = 10.0
logging.getLogger("httpx").setLevel(logging.WARNING)

UNLIMITED = dict.fromkeys(
    [
        "LIMIT_OTP_DELAYS",
        "LIMIT_OTP_PER_NUMBER_DAY",
        "LIMIT_OTP_PER_IP_HOUR",
        "LIMIT_SEND_BURST",
        "LIMIT_SEND_PER_SECOND",
        "LIMIT_CONVERSATION_PER_SECOND",
        "LIMIT_FRAMES_BURST",
        "LIMIT_HANDSHAKES_PER_MIN",
        "LIMIT_BUNDLES_PER_10_MIN",
        "LIMIT_BUNDLES_PER_TARGET_HOUR",
        "LIMIT_CONVERSATIONS_PER_HOUR",
        "LIMIT_ADDS_PER_HOUR",
        "LIMIT_LOOKUPS_PER_15_MIN",
    ],
    "0",
)


class House:
    """One installation in a folder of its own. `layout`: where messages are kept, "postgresql" or "cassandra"."""

    def __init__(self, root: Path, layout: str, *, checkout: Path | None = None) -> None:
        self.root = root
        self.layout = layout
        self.port = free_port()
        self.output = root / "output.txt"
        self.sms = root / "sms.jsonl"
        self.launcher: subprocess.Popen[bytes] | None = None
        self.clients: list[httpx.Client] = []
        self.checkout = checkout or copy_of_checkout(root / "waypost")

    @property
    def http(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def ws(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    def start(self, **environment: str) -> float:
        """Seconds until it answered."""
        began = time.monotonic()
        with self.output.open("ab") as terminal:
            self.launcher = subprocess.Popen(
                [CHECKOUT / ".venv" / "bin" / "python", "-m", "chatproject.launcher", "run"],
                cwd=self.checkout,
                env=self.environment() | environment,
                stdin=subprocess.DEVNULL,
                stdout=terminal,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        wait_for(lambda: self.is_ready() or self.launcher.poll() is not None, 120)  # type: ignore[union-attr]
        assert self.launcher.poll() is None, self.said()
        return time.monotonic() - began

    def environment(self) -> dict[str, str]:
        ours = ("_URL", "_KEY", "_KEYS", "_PEPPER", "ENVIRONMENT", "DJANGO_SETTINGS_MODULE")
        given = {name: value for name, value in os.environ.items() if not name.endswith(ours)}
        messages = {"MESSAGES": "cassandra"} if self.layout == "cassandra" else {}
        own = {"HOME": str(self.root), "CI": "true", "PORT": str(self.port), "SMS_URL": f"file://{self.sms}"}
        return given | UNLIMITED | messages | own

    def stop(self, sign: signal.Signals = signal.SIGINT) -> int:
        assert self.launcher is not None
        if self.launcher.poll() is None:
            self.launcher.send_signal(sign)
        return self.launcher.wait(60)

    def restart_workers(self) -> None:
        """What `make restart` does; returns when each worker has been replaced."""
        before = {worker.pid for worker in self.workers()}
        command = [str(CHECKOUT / ".venv" / "bin" / "python"), "-m", "chatproject.launcher", "restart"]
        subprocess.run(command, cwd=self.checkout, env=self.environment(), check=True, capture_output=True)
        wait_for(lambda: len(now := {w.pid for w in self.workers()}) == len(before) and not now & before, 60)
        wait_for(self.is_ready, 30)

    def said(self) -> str:
        return self.output.read_text()

    def is_ready(self) -> bool:
        try:
            answer = httpx.get(f"{self.http}/health/ready", timeout=5)
        except httpx.HTTPError:
            return False
        return answer.status_code == 200 and answer.json()["status"] == "ok"

    def secrets(self) -> dict[str, str]:
        lines = (self.checkout / ".state" / "secrets").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines if "=" in line)

    def processes(self, name: str) -> list[psutil.Process]:
        """The running processes of this installation whose command line has `name`."""
        found = []
        for process in psutil.process_iter(["cwd", "cmdline"]):
            inside = str(process.info["cwd"] or "").startswith(str(self.root))
            command = " ".join(process.info["cmdline"] or [])
            if (inside or str(self.root) in command) and name in command:
                found.append(process)
        return found

    def workers(self) -> list[psutil.Process]:
        return self.processes("chatproject.serve")

    def stores_of_messages(self) -> list[psutil.Process]:
        return self.processes("CassandraDaemon")

    def postgres_url(self, database: str = "waypost") -> str:
        """How to reach its PostgreSQL as its owner: asked of a worker's environment."""
        url = self.workers()[0].environ()["POSTGRES_URL"]
        return str(url.replace("/waypost?", f"/{database}?"))

    def worker_environment(self, name: str) -> str:
        return str(self.workers()[0].environ()[name])

    def clean_up(self) -> None:
        for client in self.clients:
            client.close()
        if self.launcher is not None and self.launcher.poll() is None:
            self.stop(signal.SIGTERM)

    # --- people ----------------------------------------------------------------------------------------------------------------

    def person(self, name: str) -> "Resident":
        """Somebody new, registered with one device."""
        resident = Resident(name=name, http=self.client(), house=self)
        resident.register()
        return resident

    def client(self) -> "RemoteHttp":
        """Somebody's connection to this house."""
        client = RemoteHttp(self.http)
        self.clients.append(client.remote)
        return client

    def cli(self, *arguments: str, home: Path, **options: Any) -> "subprocess.Popen[str]":
        """The `waypost` command of the reference client, as a process of its own."""
        environment = self.environment() | {
            "HOME": str(home),
            "PYTHONPATH": str(self.checkout / "clients" / "python" / "src"),
            "PYTHONUNBUFFERED": "1",
        }
        return subprocess.Popen(
            [sys.executable, "-c", "from waypost_client.cli import main; raise SystemExit(main())", *arguments],
            env=environment,
            stdin=options.pop("stdin", subprocess.DEVNULL),
            stdout=options.pop("stdout", subprocess.PIPE),
            stderr=subprocess.STDOUT,
            text=True,
            **options,
        )


class RemoteHttp(Http):
    """The same client over a real connection."""

    def __init__(self, url: str) -> None:
        super().__init__(client=None)  # type: ignore[arg-type]
        self.remote = httpx.Client(
            base_url=url, timeout=15, transport=httpx.HTTPTransport(local_address=self.address, retries=2)
        )

    def send_raw(
        self,
        method: str,
        path: str,
        raw: str | bytes,
        content_type: str = "application/json",
        query: dict[str, str] | None = None,
        **headers: str,
    ) -> Answer:
        token = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        place = path if path.startswith("/") else f"/api/v1/{path}"
        deadline = time.monotonic() + RETRY_SECONDS
        while True:
            answer = self.remote.request(
                method, place, content=raw, params=query or {}, headers={"Content-Type": content_type} | token | headers
            )
            # A store that comes back from a fault: what every client does then.
            if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE or time.monotonic() > deadline:
                break
            time.sleep(float(answer.headers["retry-after"]))
        is_json = answer.headers.get("content-type", "").startswith("application/json") and answer.content
        return Answer(
            answer.status_code, dict(answer.headers), json.loads(answer.content) if is_json else answer.content
        )


@dataclass
class Resident(cast.Installation):
    """A device of somebody who lives in a house."""

    house: House = field(default=None)  # type: ignore[assignment]

    def prove_number(self) -> str:
        asked = self.http.post("auth/request-otp", {"phone_number": self.phone_number})
        assert asked.status == 200, asked
        lines = [json.loads(line) for line in self.house.sms.read_text().splitlines()]
        code = [line["code"] for line in lines if line["to"] == self.phone_number][-1]
        verified = self.http.post("auth/verify-otp", {"otp_session_id": asked.body["otp_session_id"], "code": code})
        assert verified.status == 200, verified
        return str(verified.body["registration_token"])

    def second_device(self, name: str) -> "Resident":
        other = Resident(phone_number=self.phone_number, name=name, http=self.house.client(), house=self.house)
        other.register()
        return other

    def direct(self, other: "Resident") -> str:
        answer = self.http.post("conversations", {"kind": "direct", "user_id": other.user_id})
        assert answer.status in (200, 201), answer
        return str(answer.body["conversation_id"])

    def group(self, *others: "Resident") -> str:
        body: JsonObject = {"kind": "group", "name": "a group", "member_ids": [other.user_id for other in others]}
        answer = self.http.post("conversations", body)
        assert answer.status == 201, answer
        return str(answer.body["conversation_id"])


def copy_of_checkout(root: Path) -> Path:
    """What git knows of the checkout and what is about to be known, with the checkout's virtual environment and Cassandra's jars."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=CHECKOUT, capture_output=True, check=True
    ).stdout
    for name in filter(None, listed.decode().split("\0")):
        source, target = CHECKOUT / name, root / name
        if source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
    (root / ".venv").symlink_to(CHECKOUT / ".venv")
    jars = CHECKOUT / ".state" / "cassandra-lib"
    if jars.exists():
        (root / ".state").mkdir(exist_ok=True)
        (root / ".state" / "cassandra-lib").symlink_to(jars)
    return root


def wait_for(fact: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not fact():
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s"
        time.sleep(0.05)


@contextmanager
def stopped(processes: list[psutil.Process]) -> Iterator[None]:
    """Processes that stand still for a while."""
    assert processes
    for process in processes:
        process.suspend()
    try:
        yield
    finally:
        for process in processes:
            process.resume()
