"""libsignal as a client of the tests: Alice and Bob as another implementation than ours makes them."""

import base64
import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.cast import Installation, JsonObject, b64

SCRIPT = Path(__file__).with_name("libsignal.mjs")


class Refused(Exception):
    """libsignal would not do it."""


class Libsignal:
    """One Node process for all its clients."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def ask(self, command: str, **facts: Any) -> Any:
        """What the command of the script answers. Raises Refused."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"command": command} | facts) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        if "error" in answer:
            raise Refused(answer["error"])
        return answer["answer"]


@contextmanager
def running_libsignal() -> Iterator[Libsignal]:
    """The process, for as long as the body runs."""
    process = subprocess.Popen(
        [os.environ["LIBSIGNAL_NODE"], str(SCRIPT)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        with process:
            yield Libsignal(process)
            assert process.stdin is not None
            process.stdin.close()
    finally:
        process.kill()


@dataclass
class Speaker:
    """Somebody's device whose keys and sessions are libsignal's."""

    libsignal: Libsignal
    device: Installation
    keys: JsonObject

    @classmethod
    def register(cls, libsignal: Libsignal, name: str) -> "Speaker":
        """Sign in with two one-time prekeys of each kind and both last resorts."""
        device = Installation(name=name)
        keys = libsignal.ask("create", name=name, registration_id=device.registration_id)
        return cls(libsignal, device.register(**keys), keys)

    @property
    def address(self) -> JsonObject:
        return {"user_id": self.device.user_id, "device_number": self.device.device_number}

    def fetch(self, other: "Speaker") -> JsonObject:
        """The bundle the server hands out for the other's device."""
        answer = self.device.http.get(f"keys/{other.device.user_id}/{other.device.device_id}")
        assert answer.status == 200, answer
        bundle: JsonObject = answer.body["devices"][0]
        return bundle

    def begin(self, other: "Speaker") -> JsonObject:
        """A session by a fresh bundle, which is returned."""
        bundle = self.fetch(other)
        self._do("begin", user_id=other.device.user_id, bundle=bundle)
        return bundle

    def seal(self, other: "Speaker", text: str) -> str:
        return str(self._do("encrypt", to=other.address, plaintext=b64(text.encode())))

    def open(self, other: "Speaker", ciphertext: str) -> bytes:
        """The plaintext. Raises Refused."""
        return base64.b64decode(self._do("decrypt", **{"from": other.address}, ciphertext=ciphertext))

    def _do(self, command: str, **facts: Any) -> Any:
        return self.libsignal.ask(command, name=self.device.name, own=self.address, **facts)
