"""A provider of text messages on this machine: takes what is posted to it as one of apprise's gateways does, counts it, and misbehaves on demand."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

# Longer than any test waits for a provider that says nothing.
SILENCE_SECONDS = 20


@dataclass
class Provider:
    """What it was asked, and how it answers: with `status`, once `answers` is set."""

    url: str
    taken: list[tuple[str, str]] = field(default_factory=list)
    status: int = 200
    answers: threading.Event = field(default_factory=threading.Event)
    was_asked: threading.Event = field(default_factory=threading.Event)

    def messages_to(self, number: str) -> list[str]:
        """The texts to this number."""
        return [body for to, body in self.taken if to == number]


@contextmanager
def provider() -> Iterator[Provider]:
    """A provider that answers at once. `{to}` in its URL is the path it is asked for."""

    class Handler(BaseHTTPRequestHandler):
        asked: ClassVar[Provider]

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self.asked.taken.append((f"+{self.path.strip('/')}", body["message"]))
            self.asked.was_asked.set()
            self.asked.answers.wait(SILENCE_SECONDS)
            self.send_response(self.asked.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Handler.asked = here = Provider(f"json://127.0.0.1:{server.server_port}/{{to}}")
        here.answers.set()
        serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        serving.start()
        try:
            yield here
        finally:
            here.answers.set()
            server.shutdown()
            serving.join()
