"""Deleting for everybody: from its answer on, history has the content for nobody (**resurrected**); and nothing is emptied that nobody has deleted
(**mixed**)."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from tests.faults import history as h
from tests.faults.checker.log import NEVER, Key, name
from tests.faults.checker.verdicts import Verdict, Violation

if TYPE_CHECKING:
    from tests.faults.checker.facts import Facts

# So long before its answer a page of history may have been read.
READING_SECONDS = 10.0


class Deletions:
    """Remembers what came empty, and what history said."""

    def __init__(self) -> None:
        self._emptied: dict[Key, h.EnvelopeReceived] = {}
        self._reads: list[h.HistoryRead] = []

    def received(self, event: h.EnvelopeReceived) -> None:
        if event.deleted:
            self._emptied.setdefault((event.sender_device, event.conversation, event.mid), event)

    def history_read(self, event: h.HistoryRead) -> None:
        self._reads.append(event)

    def judge(self, facts: "Facts") -> Iterator[Violation]:
        for key, event in self._emptied.items():
            if event.at < facts.logs.deleting.get(key, NEVER):
                what = f"{name(key)} came empty to device {event.device}, and nobody had deleted it"
                yield Violation(Verdict.MIXED, what, event.at)
        for read in self._reads:
            yield from self._read(read, facts)

    def _read(self, read: h.HistoryRead, facts: "Facts") -> Iterator[Violation]:
        entry = facts.logs.conversations.get(read.conversation, {}).get(read.seq)
        if entry is None:
            return
        key = (entry.sender_device, read.conversation, entry.mid)
        message = facts.logs.messages.get(key)
        expires = message is not None and message.expires_in > 0
        if read.deleted and not expires and read.at < facts.logs.deleting.get(key, NEVER):
            what = f"history says to device {read.device} that {name(key)} is deleted, and nobody had done it"
            yield Violation(Verdict.MIXED, what, read.at)
        if read.has_content and read.at > facts.logs.deleted.get(key, NEVER) + READING_SECONDS:
            what = f"history gives device {read.device} the content of {name(key)}, which was deleted"
            yield Violation(Verdict.RESURRECTED, what, read.at)
