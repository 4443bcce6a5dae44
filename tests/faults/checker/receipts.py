"""I11: receipts come from recipients who did what they say, once to each socket, and marks never go back (**receipt**)."""

from collections import defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING

from tests.faults import history as h
from tests.faults.checker.log import SERVER
from tests.faults.checker.verdicts import Verdict, Violation

if TYPE_CHECKING:
    from tests.faults.checker.facts import Facts


class Receipts:
    """Watches acks, reads and receipts as they happen: a receipt before its ack is none."""

    def __init__(self) -> None:
        self._acked: defaultdict[str, set[int]] = defaultdict(set)
        self._read_to: defaultdict[tuple[str, str], int] = defaultdict(int)
        self._heard_read: defaultdict[tuple[str, str], int] = defaultdict(int)
        self._heard: list[h.ReceiptHeard] = []
        self._delivered: set[tuple[str, str, str]] = set()
        self._violations: list[Violation] = []
        self.count = 0

    def acked(self, event: h.Acked) -> None:
        self._acked[event.device].update(map(int, event.message_ids))

    def read_said(self, event: h.ReadSaid) -> None:
        key = event.conversation, event.user
        self._read_to[key] = max(self._read_to[key], event.seq)

    def heard(self, event: h.ReceiptHeard) -> None:
        self.count += 1
        self._heard.append(event)
        if event.what == "delivered":
            if int(event.message_id) not in self._acked[event.by_device]:
                self._note(event, f"device {event.by_device} has not acknowledged it")
            told = event.socket, event.message_id, event.by_device
            if told in self._delivered:
                self._note(event, f"told again on one socket, for device {event.by_device}")
            self._delivered.add(told)
            return
        key = event.conversation, event.by_user
        if event.seq > self._read_to[key]:
            self._note(event, f"user {event.by_user} has not read so far")
        self._heard_read[key] = max(self._heard_read[key], event.seq)

    def judge(self, facts: "Facts") -> Iterator[Violation]:
        yield from self._violations
        for event in self._heard:
            yield from self._of_the_message(event, facts)
        for stay in facts.stays:
            if stay.left_seq is None:
                yield from self._mark(stay)

    def _of_the_message(self, event: h.ReceiptHeard, facts: "Facts") -> Iterator[Violation]:
        entry = facts.logs.conversations.get(event.conversation, {}).get(event.seq)
        hearer = facts.devices.get(event.device)
        by = facts.devices.get(event.by_device)
        if entry is None or entry.message_id != event.message_id:
            yield _violation(event, "there is no such message")
        elif by is not None and by.user != event.by_user:
            yield _violation(event, f"device {event.by_device} is not {event.by_user}'s")
        elif entry.sender_device != SERVER and hearer is not None and event.what == "delivered":
            sender = facts.devices.get(entry.sender_device)
            if sender is not None and sender.user != hearer.user:
                yield _violation(event, "told to somebody who did not send it")

    def _mark(self, stay: h.StayRow) -> Iterator[Violation]:
        key = stay.conversation, stay.user
        before = stay.joined_seq - 1
        if stay.last_read_seq < max(self._heard_read[key], before) and self._heard_read[key] >= stay.joined_seq:
            what = f"user {stay.user} has read {stay.conversation} to {stay.last_read_seq}, and was further already"
            yield Violation(Verdict.RECEIPT, what)
        if stay.last_read_seq > max(self._read_to[key], before):
            what = f"user {stay.user} never read {stay.conversation} to {stay.last_read_seq}"
            yield Violation(Verdict.RECEIPT, what)

    def _note(self, event: h.ReceiptHeard, why: str) -> None:
        self._violations.append(_violation(event, why))


def _violation(event: h.ReceiptHeard, why: str) -> Violation:
    what = f"device {event.device} was told that {event.conversation} {event.seq} is {event.what}: {why}"
    return Violation(Verdict.RECEIPT, what, event.at)
