"""Who has to get a seq, and who must not: said by the log and by what clients did, not by what was delivered.

**Members.** A stay begins and ends with an entry of the log (`conversation_created`, `member_added`, `member_removed`, `member_left`), both of
which the member gets. A direct conversation has its two members from the start, as whoever opened it was told.

**Devices.** Seq s was committed at some moment between two that clients know: after its send (and that of every earlier seq) was invoked, and
before the first proof of it (or of any later seq). A device was linked between two moments, and perhaps unlinked between two others. Hence

* *must*: linked for certain before the earliest moment of s, and nobody had asked for its unlink at the latest;
* *must not*: nobody had asked for its link at the latest moment of s, or its unlink was answered before the earliest;
* *may*: everything else. Here the log decides, so that nothing is left open: the device is in from its `device_linked` (or from the beginning of
  the stay, if it may have been there then) to just before its `device_unlinked`. Device changes that follow each other were written by one
  transaction, whose audience is that of its end: they are for the devices linked in it, and for none of those unlinked in it.

The log alone is never believed: where clients know better (*must*, *must not*), it cannot talk itself out.
"""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterator, Sequence

import msgspec

from tests.faults.checker.facts import Device, Facts
from tests.faults.checker.log import LONG_AGO, NEVER, SERVER, Entry

BEYOND = 2**62
DEVICE_CHANGES = ("device_linked", "device_unlinked")
LEAVING = ("member_removed", "member_left")


class Range(msgspec.Struct, frozen=True):
    """Seqs from `first` to `last`, both included."""

    first: int
    last: int

    def __contains__(self, seq: int) -> bool:
        return self.first <= seq <= self.last

    def within(self, other: "Range") -> "Range":
        return Range(max(self.first, other.first), min(self.last, other.last))

    @property
    def is_empty(self) -> bool:
        return self.first > self.last


class Conversation:
    """One conversation's log with the moments of its seqs, and who belongs to them."""

    def __init__(self, conversation: str, facts: Facts) -> None:
        self.id = conversation
        self.entries = facts.logs.conversations.get(conversation, {})
        self.last = max(self.entries, default=0)
        self._facts = facts
        self._system = sorted((seq, entry) for seq, entry in self.entries.items() if entry.system)
        self.stays = self._stays()
        self._earliest = self._earliest_moments()
        self._latest = self._latest_moments()

    # --- members ---------------------------------------------------------------------------------------------------------------------

    def _stays(self) -> dict[str, list[Range]]:
        open_at: dict[str, int] = dict.fromkeys(self._founders(), 1)
        stays: defaultdict[str, list[Range]] = defaultdict(list)
        for seq, entry in self._system:
            if entry.system == "conversation_created":
                open_at |= dict.fromkeys(entry.users, seq)
            elif entry.system == "member_added":
                open_at[entry.subject_user] = seq
            elif entry.system in LEAVING and entry.subject_user in open_at:
                stays[entry.subject_user].append(Range(open_at.pop(entry.subject_user), seq))
        for user, seq in open_at.items():
            stays[user].append(Range(seq, BEYOND))
        return stays

    def _founders(self) -> Sequence[str]:
        """Of a direct conversation, which has no entry that says so."""
        if any(entry.system == "conversation_created" for _, entry in self._system):
            return ()
        if self.id in self._facts.created:
            return self._facts.created[self.id]
        return [row.user for row in self._facts.stays if row.conversation == self.id and row.joined_seq == 1]

    @property
    def is_told(self) -> bool:
        """Whether somebody got each entry that the server wrote, so that the stays are complete."""
        return all(entry.system for entry in self.entries.values() if entry.sender_device == SERVER)

    def changes(self, user: str, events: Sequence[str]) -> int:
        """How often this happened to a user, according to the log."""
        return sum(entry.system in events and entry.subject_user == user for _, entry in self._system)

    # --- moments ---------------------------------------------------------------------------------------------------------------------

    def _earliest_moments(self) -> list[float]:
        """By seq - 1: not committed before this."""
        moments, moment = [], LONG_AGO
        for seq in range(1, self.last + 1):
            entry = self.entries.get(seq)
            moment = max(moment, self._invoked_at(entry) if entry else LONG_AGO)
            moments.append(moment)
        return moments

    def _invoked_at(self, entry: Entry) -> float:
        message = self._facts.logs.messages.get((entry.sender_device, self.id, entry.mid))
        return message.invoked_at if message else LONG_AGO

    def _latest_moments(self) -> list[float]:
        """By seq - 1: committed by then."""
        moments, moment = [], NEVER
        for seq in range(self.last, 0, -1):
            entry = self.entries.get(seq)
            moment = min(moment, entry.seen_at if entry else NEVER)
            moments.append(moment)
        return moments[::-1]

    def after(self, moment: float) -> int:
        """The first seq that was certainly committed after this moment."""
        return bisect_right(self._earliest, moment) + 1

    # --- devices ---------------------------------------------------------------------------------------------------------------------

    def audience(self, device_id: str, device: Device) -> list[Range]:
        """The ranges of seqs that are for this device: it must get each of them, and nothing else."""
        ranges = (self._own(stay, device_id, device) for stay in self.stays.get(device.user, ()))
        known = (one.within(Range(1, self.last)) for one in ranges)
        return [one for one in known if not one.is_empty]

    def _own(self, stay: Range, device_id: str, device: Device) -> Range:
        must, possible = self._must(device), self._possible(device)
        logged = self._logged(stay, device_id, device, possible).within(possible)
        both = [one.within(stay) for one in (must, logged)]
        known = [one for one in both if not one.is_empty]
        if not known:
            return Range(1, 0)
        return Range(min(one.first for one in known), max(one.last for one in known))

    def _must(self, device: Device) -> Range:
        first = self.after(device.added_at)
        last = bisect_left(self._latest, device.unlinking_at) if device.unlinking_at != NEVER else BEYOND
        return Range(first, last)

    def _possible(self, device: Device) -> Range:
        first = bisect_left(self._latest, device.adding_at) + 1
        last = bisect_right(self._earliest, device.unlinked_at) if device.unlinked_at != NEVER else BEYOND
        return Range(first, last)

    def _logged(self, stay: Range, device_id: str, device: Device, possible: Range) -> Range:
        of_device = [(seq, entry) for seq, entry in self._system if entry.subject_device == device_id and seq in stay]
        linked = [seq for seq, entry in of_device if entry.system == "device_linked"]
        unlinked = [seq for seq, entry in of_device if entry.system == "device_unlinked"]
        if device.reinstalled_at != LONG_AGO and stay.first in possible:
            # It is told to be linked again, though it was there before.
            linked = []
        first = self._transaction(min(linked)) if linked else stay.first if stay.first in possible else BEYOND
        return Range(first, self._transaction(min(unlinked)) - 1 if unlinked else stay.last)

    def _transaction(self, seq: int) -> int:
        """Where the device changes begin that this one belongs to."""
        while seq - 1 in self.entries and self.entries[seq - 1].system in DEVICE_CHANGES:
            seq -= 1
        return seq


def conversations(facts: Facts) -> Iterator[Conversation]:
    for conversation in facts.logs.conversations:
        yield Conversation(conversation, facts)
