"""Linking as the people of the tests do it: who shows the code, who claims it, who signs."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from django.db import connections

from tests.cast import Answer, Installation
from tests.vouching import signature_of

T = TypeVar("T")


class Linking:
    """One link, from the phone that opens it to the laptop that wants in."""

    def __init__(self, phone: Installation, laptop: Installation | None = None) -> None:
        self.phone = phone
        self.laptop = laptop or phone.beside("Alice's laptop")
        opened = phone.http.post("devices/link", {})
        assert opened.status == 201, opened
        self.link_id: str = opened.body["link_id"]
        self.token: str = opened.body["link_token"]
        self.secret = ""

    def claim(self, by: Installation | None = None, **changes: Any) -> Answer:
        by = by or self.laptop
        return by.http.post("devices/link/claim", {"link_token": self.token, "device": by.device_input(3) | changes})

    def claimed(self) -> "Linking":
        answer = self.claim()
        assert answer.status == 201, answer
        assert answer.body["link_id"] == self.link_id
        self.secret = answer.body["claim_secret"]
        return self

    def approve(self, by: Installation | None = None, **changes: Any) -> Answer:
        by = by or self.phone
        body = {"link_id": self.link_id, "signature": signature_of(by, self.laptop)} | changes
        return by.http.post("devices/link/approve", body)

    def approved(self) -> "Linking":
        answer = self.approve()
        assert answer.status == 200, answer
        return self

    def reject(self) -> Answer:
        return self.phone.http.post("devices/link/approve", {"link_id": self.link_id, "reject": True})

    def look(self, by: Installation | None = None) -> Answer:
        """The link as a device of the account sees it."""
        return (by or self.phone).http.get(f"devices/link/{self.link_id}")

    def fetch(self, secret: str | None = None) -> Answer:
        """The link as its claimant sees it."""
        header = f"Link {self.secret if secret is None else secret}"
        path = f"devices/link/{self.link_id}"
        return self.laptop.http.send_raw("GET", path, "", Authorization=header)

    def completed(self) -> Installation:
        """The laptop, signed in."""
        answer = self.fetch()
        assert answer.status == 200, answer
        return self.laptop.signed_in(answer.body["registration"])


def linked(phone: Installation, name: str = "Alice's laptop") -> Installation:
    """A second device of the phone's account, let in by it."""
    return Linking(phone, phone.beside(name)).claimed().approved().completed()


def at_once(count: int, work: Callable[[], T]) -> list[T]:
    """What so many threads get."""
    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(lambda _: and_close(work), range(count)))


def patiently(ask: Callable[[], Answer]) -> Answer:
    """The answer; asked for again where others held a lock for longer than anybody waits: then nothing was done."""
    while (answer := ask()).status == 503:
        assert answer.code == "STORAGE_UNAVAILABLE"
    return answer


def and_close(work: Callable[[], T]) -> T:
    """The same, in a thread of its own: its connections end with it."""
    try:
        return work()
    finally:
        connections.close_all()
