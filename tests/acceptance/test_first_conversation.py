"""The README's first example, by the command line: two people talk, a second device joins, and everything is there after a restart."""

import signal
import subprocess
import time
from pathlib import Path
from queue import Empty, Queue
from threading import Thread

import pytest

from tests.acceptance.house import House
from tests.cast import any_phone_number

pytestmark = pytest.mark.installation

PATIENCE_SECONDS = 30.0


class Terminal:
    """A `waypost` command that runs: what it prints, line by line, and what is typed into it."""

    def __init__(self, house: House, home: Path, *arguments: str) -> None:
        self._process = house.cli(*arguments, home=home, stdin=subprocess.PIPE)
        self._lines: Queue[str] = Queue()
        self.said: list[str] = []
        self._reader = Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line.rstrip("\n"))

    def type(self, text: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{text}\n")
        self._process.stdin.flush()

    def sees(self, text: str) -> str:
        """Wait for a line with this text."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            try:
                line = self._lines.get(timeout=0.1)
            except Empty:
                continue
            self.said.append(line)
            if text in line:
                return line
        raise AssertionError(f"{text!r} is not in {self.said}")

    def close(self) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
        self._process.wait(10)
        self._reader.join(5)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


class Person:
    """Somebody with profiles (devices) in a home of their own."""

    def __init__(self, house: House, home: Path, username: str) -> None:
        self.house, self.home, self.username = house, home, username
        self.phone_number = any_phone_number()
        home.mkdir()

    def register(self, profile: str) -> None:
        names = ["--display-name", self.username.partition("_")[0].capitalize(), "--username", self.username]
        self.does(
            "--profile", profile, "register", "--server", self.house.http, "--phone", self.phone_number,
            "--name", f"{self.username}'s {profile}", "--code-file", str(self.house.sms), *names,
        )  # fmt: skip

    def does(self, *arguments: str) -> str:
        process = self.house.cli(*arguments, home=self.home)
        output, _ = process.communicate(timeout=PATIENCE_SECONDS)
        assert process.returncode == 0, output
        return output

    def opens(self, *arguments: str) -> Terminal:
        return Terminal(self.house, self.home, *arguments)


def hold_the_first_conversation(house: House, home: Path) -> tuple[Person, Person]:
    alice, bob = Person(house, home / "alice", f"alice_{house.port}"), Person(house, home / "bob", f"bob_{house.port}")
    alice.register("phone")
    bob.register("phone")
    at_alice, at_bob = (
        alice.opens("--profile", "phone", "chat", bob.username),
        bob.opens("--profile", "phone", "chat", alice.username),
    )
    try:
        at_alice.type("hello Bob")
        at_bob.sees("hello Bob")
        at_bob.type("hello Alice")
        at_alice.sees("hello Alice")
        bob.register("laptop")
        beside = bob.opens("--profile", "laptop", "listen")
        try:
            at_alice.type("for both of your devices")
            at_bob.sees("for both of your devices")
            beside.sees("for both of your devices")
            assert not any("hello Bob" in line for line in beside.said), "a new device gets what is sent afterwards"
        finally:
            beside.close()
    finally:
        at_alice.close()
        at_bob.close()
    return alice, bob


def go_on_after_a_restart(house: House, alice: Person, bob: Person) -> None:
    alice.does("--profile", "phone", "send", bob.username, "sent while nobody listened")
    assert house.stop() == 0
    house.start()
    at_bob = bob.opens("--profile", "phone", "listen")
    beside = bob.opens("--profile", "laptop", "listen")
    try:
        at_bob.sees("sent while nobody listened")
        beside.sees("sent while nobody listened")
    finally:
        at_bob.close()
        beside.close()
    assert "Alice" in bob.does("--profile", "phone", "conversations")


def test_two_people_and_three_devices_talk_and_go_on_after_a_restart(house: House, tmp_path: Path) -> None:
    alice, bob = hold_the_first_conversation(house, tmp_path)
    go_on_after_a_restart(house, alice, bob)
