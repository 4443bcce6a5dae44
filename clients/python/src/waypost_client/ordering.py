"""The order of one conversation: what may be shown, what waits, what to ask the server about.

No network, no disk, no clock of its own: every method takes `now` in seconds and returns the seqs that may be shown,
in order. The rules are those of the protocol's page: hold back until contiguous, ask about a gap older than five
seconds, `start` gives the base only where there is none.
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum

PATIENCE = 5.0
LONGEST_PAUSE = 30.0
WIDEST_QUESTION = 500
ASKED_ENOUGH = 4


class Verdict(StrEnum):
    """What the server says of a seq. EMPTY: it is the device's, and nothing is left of it, because it was deleted or has expired."""

    COMMITTED = "committed"
    NOT_FOR_YOU = "not_for_you"
    UNAVAILABLE = "unavailable"
    EMPTY = "empty"


SKIPPED = (Verdict.NOT_FOR_YOU, Verdict.UNAVAILABLE)


class Lane:
    """Where a device stands in one conversation. `next_seq` is the next to show, None while the base is unknown."""

    def __init__(
        self, next_seq: int | None = None, *, arrived: Iterable[int] = (), own: Iterable[int] = (), now: float = 0
    ) -> None:
        self.next_seq = next_seq
        self._arrived = set(arrived)
        self._own = set(own)
        self._starts: set[int] = set()
        self._skips: list[tuple[int, int]] = []
        self._gap_from: int | None = None
        self._ask_at: float | None = None
        self._asked = 0
        self._watch(now)

    def arrive(self, seq: int, now: float, *, start: bool = False) -> list[int]:
        """Take note of an envelope, a duplicate too. Below `next_seq` it is answered with itself: late, but never lost."""
        if self.next_seq is not None and seq < self.next_seq:
            return [seq]
        self._arrived.add(seq)
        if start:
            self._take_start(seq)
        return self._release(now)

    def fill(self, seq: int, now: float) -> list[int]:
        """Take note of an own send, which gets no envelope. It fills its place, but it is no base."""
        if self.next_seq is not None and seq < self.next_seq:
            return [seq]
        self._own.add(seq)
        return self._release(now)

    def cover(self, from_seq: int, to_seq: int, now: float) -> list[int]:
        """The server says that nothing will come for this range. What has arrived inside it is shown all the same."""
        if self.next_seq is None and not any(seq < from_seq for seq in self._arrived):
            self.next_seq = from_seq
        self._skips.append((from_seq, to_seq))
        return self._release(now)

    def question(self, now: float, *, at_once: bool = False) -> tuple[int, int] | None:
        """The range to ask the server about now, or `at_once`, if any. Asking again waits longer each time."""
        if self._ask_at is None or (now < self._ask_at and not at_once):
            return None
        first, last = self._gap()
        asked_to = min(last, first + WIDEST_QUESTION - 1)
        if asked_to == last:
            self._starts.clear()
        self._asked += 1
        self._ask_at = now + min(PATIENCE * 2 ** (self._asked - 1), LONGEST_PAUSE)
        return first, asked_to

    def answer(self, verdicts: Mapping[int, Verdict], now: float) -> list[int]:
        """Skip what is not coming, wait for what is committed; a seq left out stays in question.

        What is empty fills its place like an own send: there is more below it that is the device's, so it is no base.
        """
        self._own |= {seq for seq, verdict in verdicts.items() if verdict is Verdict.EMPTY and self._is_ahead(seq)}
        if self.next_seq is None and self._arrived:
            floor, _ = self._gap()
            if verdicts.get(floor) in SKIPPED:
                self.next_seq = floor + 1
        else:
            self._skips += [(seq, seq) for seq, verdict in sorted(verdicts.items()) if verdict in SKIPPED]
        return self._release(now)

    @property
    def asked_enough(self) -> bool:
        """Whether this gap was asked about so often that a committed but empty seq must be given up."""
        return self._asked >= ASKED_ENOUGH

    def _take_start(self, seq: int) -> None:
        if self.next_seq is not None:
            self._starts.add(seq)
        elif min(self._arrived) == seq:
            self.next_seq = seq

    def _release(self, now: float) -> list[int]:
        held = self._arrived | self._own
        if self.next_seq is None and 1 in held:
            self.next_seq = 1
        if self.next_seq is None:
            self._watch(now)
            return []
        while self._settled(self.next_seq):
            self.next_seq += 1
        released = sorted(seq for seq in held if seq < self.next_seq)
        self._forget_below(self.next_seq)
        self._watch(now)
        return released

    def _is_ahead(self, seq: int) -> bool:
        return self.next_seq is None or seq >= self.next_seq

    def _settled(self, seq: int) -> bool:
        return seq in self._arrived or seq in self._own or any(first <= seq <= last for first, last in self._skips)

    def _forget_below(self, base: int) -> None:
        self._arrived = {seq for seq in self._arrived if seq >= base}
        self._own = {seq for seq in self._own if seq >= base}
        self._starts = {seq for seq in self._starts if seq > base}
        self._skips = [(first, last) for first, last in self._skips if last >= base]

    def _watch(self, now: float) -> None:
        """A gap that changed is a new gap with its own five seconds; without a base, or below a `start`, ask at once."""
        if not self._waits():
            self._gap_from, self._ask_at, self._asked = None, None, 0
            return
        if (gap_from := self._gap()[0]) != self._gap_from:
            self._gap_from, self._ask_at, self._asked = gap_from, now + PATIENCE, 0
        if self._asked == 0 and (self.next_seq is None or self._starts):
            self._ask_at = now

    def _waits(self) -> bool:
        return bool(self._arrived) or (self.next_seq is not None and bool(self._own))

    def _gap(self) -> tuple[int, int]:
        if self.next_seq is not None:
            return self.next_seq, min(self._arrived | self._own) - 1
        floor = min(self._arrived) - 1
        while floor in self._own:
            floor -= 1
        return floor, floor
