"""I1, I2, I6, I8, I14: every device got and showed exactly what was for it, once and in order."""

from collections import defaultdict
from collections.abc import Iterable, Iterator

from tests.faults.checker.audience import Conversation, Range
from tests.faults.checker.facts import Device, Facts, View
from tests.faults.checker.log import LONG_AGO, NEVER, SERVER, Entry
from tests.faults.checker.verdicts import Verdict, Violation

# An unlinked device's socket may live so long: with everything well, and in any case (P12), a little more for the machine.
CLOSES_SECONDS = 10.0
CLOSES_AT_LAST_SECONDS = 65.0


def judge(facts: Facts, conversations: Iterable[Conversation]) -> Iterator[Violation]:
    drained = {
        device_id for device_id, device in facts.devices.items() if device.is_to_drain and _drained(device, facts)
    }
    for device_id, device in facts.devices.items():
        if device.is_to_drain and device_id not in drained:
            yield Violation(Verdict.UNFINISHED, f"device {device_id} did not drain after the last fault")
    for conversation in conversations:
        for device_id, device in facts.devices.items():
            own = conversation.audience(device_id, device)
            view = facts.views.get((device_id, conversation.id), None) or View()
            if own or view.received:
                yield from _one_view(conversation, device_id, device, own, view, facts, is_drained=device_id in drained)
    yield from _twice_under_two_seqs(facts)
    yield from _sockets_of_unlinked(facts)
    yield from _history_reads(facts, conversations)


def _drained(device: Device, facts: Facts) -> bool:
    last_off = max((fault.off_at for fault in facts.faults.values()), default=LONG_AGO)
    return device.last_emptied_at > facts.last_sent_at and device.last_emptied_socket_at > last_off


def _one_view(
    conversation: Conversation,
    device_id: str,
    device: Device,
    own: list[Range],
    view: View,
    facts: Facts,
    *,
    is_drained: bool,
) -> Iterator[Violation]:
    shown, place = {*view.shown, *view.confirmed}, f"{conversation.id}, device {device_id}"
    yield from _foreign(conversation, device_id, device, own, view)
    for installation in (*view.former, view.shown):
        yield from _order(installation, place)
    required = _required(conversation, device_id, device, own, facts)
    if is_drained:
        yield from _missing(conversation, required, shown, view, place, facts)
    yield from _gaps(required, shown, view, place)


def _required(conversation: Conversation, device_id: str, device: Device, own: list[Range], facts: Facts) -> list[int]:
    """What the device has to show, since it was installed last. Of its own messages, those whose answer it got.

    A message that expires, or that somebody deletes, is required of no device: it may be gone before it came.
    """
    found, first = [], conversation.after(device.reinstalled_at)
    for one in own:
        for seq in range(max(one.first, first), one.last + 1):
            entry = conversation.entries.get(seq)
            if entry is not None and _is_required(entry, conversation, device_id, facts):
                found.append(seq)
    return found


def _is_required(entry: Entry, conversation: Conversation, device_id: str, facts: Facts) -> bool:
    key = (entry.sender_device, conversation.id, entry.mid)
    message = facts.logs.messages.get(key)
    if (message is not None and message.expires_in) or key in facts.logs.deleting:
        return False
    return entry.sender_device != device_id or (message is not None and message.is_sent)


def _missing(
    conversation: Conversation, required: list[int], shown: set[int], view: View, place: str, facts: Facts
) -> Iterator[Violation]:
    received = set(view.received)
    for seq in required:
        if seq in shown or _in(seq, view.excused):
            continue
        entry = conversation.entries[seq]
        key = (entry.sender_device, conversation.id, entry.mid)
        if shown & facts.logs.doubles.get(key, set()):
            # The same message is shown in another place; that it has two is said elsewhere.
            continue
        is_promised = entry.sender_device == SERVER or entry.answered_at != NEVER
        how = "received and never shown" if seq in received else "never received"
        yield Violation(Verdict.LOST if is_promised else Verdict.TORN, f"{place}: {seq} was {how}")


def _foreign(
    conversation: Conversation, device_id: str, device: Device, own: list[Range], view: View
) -> Iterator[Violation]:
    for seq, at in zip(view.received, view.received_at, strict=True):
        if any(seq in one for one in own):
            continue
        is_member = any(seq in stay for stay in conversation.stays.get(device.user, ()))
        verdict = Verdict.UNLINKED if is_member and device.unlinking_at <= at else Verdict.LEAKED
        yield Violation(verdict, f"{conversation.id}, device {device_id} got {seq}, which is not for it", at)


def _order(shown: Iterable[int], place: str) -> Iterator[Violation]:
    seen: set[int] = set()
    highest = 0
    for seq in shown:
        if seq in seen:
            yield Violation(Verdict.DUPLICATED, f"{place}: {seq} was shown again")
        elif seq < highest:
            yield Violation(Verdict.REORDERED, f"{place}: {seq} was shown after {highest}")
        seen.add(seq)
        highest = max(highest, seq)


def _gaps(required: list[int], shown: set[int], view: View, place: str) -> Iterator[Violation]:
    """Where the device went on without a seq, though nobody had said that it would not come."""
    excused, base = view.skipped + view.excused, min(shown, default=0)
    before: set[int] = set()
    index = 0
    for seq in view.shown:
        while index < len(required) and required[index] < seq:
            missing = required[index]
            index += 1
            if missing > base and missing not in before and not _in(missing, excused):
                fate = "came later" if missing in shown else "never came"
                yield Violation(Verdict.GAP, f"{place}: went on without {missing}, which {fate}")
        before.add(seq)


def _in(seq: int, ranges: Iterable[tuple[int, int]]) -> bool:
    return any(first <= seq <= last for first, last in ranges)


def _twice_under_two_seqs(facts: Facts) -> Iterator[Violation]:
    """A message with two places, both shown."""
    places: defaultdict[str, list[tuple[str, set[int]]]] = defaultdict(list)
    for (_, conversation, mid), seqs in facts.logs.doubles.items():
        places[conversation].append((mid, seqs))
    for (device_id, conversation), view in facts.views.items():
        shown = set(view.shown) if conversation in places else set[int]()
        for mid, seqs in places.get(conversation, ()):
            if len(seqs & shown) > 1:
                what = f"{conversation}, device {device_id}: message {mid} was shown at {sorted(seqs & shown)}"
                yield Violation(Verdict.DUPLICATED, what)


def _sockets_of_unlinked(facts: Facts) -> Iterator[Violation]:
    for device_id, opened_at, closed_at in facts.sockets.values():
        device = facts.devices.get(device_id)
        if device is None or device.unlinked_at == NEVER:
            continue
        if opened_at > device.unlinked_at:
            yield Violation(Verdict.UNLINKED, f"device {device_id} connected after its unlink", opened_at)
            continue
        is_well = not any(
            fault.on.at < closed_at and fault.off_at > device.unlinked_at - CLOSES_AT_LAST_SECONDS
            for fault in facts.faults.values()
        )
        patience = CLOSES_SECONDS if is_well else CLOSES_AT_LAST_SECONDS
        end = facts.dumped.at if facts.dumped and closed_at == NEVER else closed_at
        if end - device.unlinked_at > patience + _frozen(facts, device.unlinked_at, end) and end != NEVER:
            lived = f"{end - device.unlinked_at:.0f} s"
            yield Violation(Verdict.UNLINKED, f"device {device_id} kept its socket for {lived} after its unlink", end)


def _history_reads(facts: Facts, conversations: Iterable[Conversation]) -> Iterator[Violation]:
    stays = {conversation.id: conversation.stays for conversation in conversations}
    for event in facts.payloads.reads():
        device = facts.devices.get(event.device)
        if device is None:
            continue
        own = stays.get(event.conversation, {}).get(device.user, ())
        if not any(event.seq in stay for stay in own):
            what = f"history gave device {event.device} {event.conversation} {event.seq}, when its user was no member"
            yield Violation(Verdict.LEAKED, what, event.at)


def _frozen(facts: Facts, since: float, until: float) -> float:
    """For how long, at a stretch, a server was stopped between the two: it closes no socket meanwhile."""
    stops = [fault for fault in facts.faults.values() if fault.on.freezes]
    return max([0.0, *(min(fault.off_at, until) - max(fault.on.at, since) for fault in stops)])
