"""I3, I4, I5: one message, one place, in the order of its sender and of what was answered before it was sent."""

from collections import defaultdict
from collections.abc import Iterable, Iterator

from tests.faults.checker.audience import LEAVING, Conversation
from tests.faults.checker.facts import Facts
from tests.faults.checker.log import NEVER, Message, name
from tests.faults.checker.verdicts import Verdict, Violation


def judge(facts: Facts, conversations: Iterable[Conversation]) -> Iterator[Violation]:
    yield from facts.logs.contradictions
    yield from _sender_order(facts)
    for conversation in conversations:
        yield from _real_time(conversation, facts)
        if facts.dumped is not None:
            yield from _ledger(conversation)
            yield from _stays(conversation, facts)
    yield from _changes(facts, {conversation.id: conversation for conversation in conversations})
    yield from _refused_and_stored(facts)


def _sender_order(facts: Facts) -> Iterator[Violation]:
    """What one device sent in one conversation has its seqs in the order it wanted."""
    chains: defaultdict[tuple[str, str], list[tuple[int, int]]] = defaultdict(list)
    for key, message in facts.logs.messages.items():
        seq = facts.logs.places.get(key)
        if seq is not None:
            chains[key[0], key[1]].append((message.number, seq))
    for (device, conversation), chain in chains.items():
        highest = 0
        for number, seq in sorted(chain):
            if seq < highest:
                what = f"{conversation}: number {number} of device {device} has seq {seq}, an earlier one has {highest}"
                yield Violation(Verdict.REORDERED, what)
            highest = max(highest, seq)


def _real_time(conversation: Conversation, facts: Facts) -> Iterator[Violation]:
    """What was answered before another send was invoked for the first time comes before it."""
    answered, invoked = [], []
    for seq, entry in conversation.entries.items():
        message: Message | None = facts.logs.messages.get((entry.sender_device, conversation.id, entry.mid))
        if message is not None:
            invoked.append((message.invoked_at, seq))
            if entry.answered_at != NEVER:
                answered.append((entry.answered_at, seq))
    answered.sort()
    index, highest = 0, 0
    for at, seq in sorted(invoked):
        while index < len(answered) and answered[index][0] < at:
            highest = max(highest, answered[index][1])
            index += 1
        if seq < highest:
            what = f"{conversation.id}: {seq} was sent after {highest} had been answered"
            yield Violation(Verdict.REORDERED, what, at)


def _ledger(conversation: Conversation) -> Iterator[Violation]:
    """Everything anybody saw is committed, and the seqs have no holes."""
    kept = {seq for seq, entry in conversation.entries.items() if entry.in_ledger}
    for seq, entry in sorted(conversation.entries.items()):
        if not entry.in_ledger:
            verdict = Verdict.LOST if entry.answered_at != NEVER else Verdict.DIVERGED
            yield Violation(verdict, f"{conversation.id} {seq} is not in the ledger")
    for seq in range(1, max(kept, default=0) + 1):
        if seq not in conversation.entries:
            yield Violation(Verdict.GAP, f"{conversation.id} has no seq {seq}")


def _stays(conversation: Conversation, facts: Facts) -> Iterator[Violation]:
    """PostgreSQL's stays are those that the log tells of."""
    if not conversation.is_told:
        return
    rows = {(row.user, row.joined_seq, row.left_seq) for row in facts.stays if row.conversation == conversation.id}
    told = {
        (user, stay.first, stay.last if stay.last <= conversation.last else None)
        for user, stays in conversation.stays.items()
        for stay in stays
    }
    for user, joined, left in sorted(rows ^ told, key=str):
        who = "PostgreSQL" if (user, joined, left) in rows else "the log"
        what = f"{conversation.id}: only {who} knows of user {user} from {joined} to {left}"
        yield Violation(Verdict.DIVERGED, what)


def _changes(facts: Facts, conversations: dict[str, Conversation]) -> Iterator[Violation]:
    """The log tells of as many changes of members as were answered, and of none that nobody asked for."""
    asked = _asked(facts)
    for conversation in conversations.values():
        if not conversation.is_told:
            continue
        for user in sorted(conversation.stays):
            for is_arrival, events in ((True, ("member_added",)), (False, LEAVING)):
                least, most = asked.get((conversation.id, user, is_arrival), (0, 0))
                told = conversation.changes(user, events)
                if not least <= told <= most:
                    word = "arrivals" if is_arrival else "departures"
                    what = f"{conversation.id}: {least} to {most} {word} of user {user}, {told} in the log"
                    yield Violation(Verdict.DIVERGED, what)


def _asked(facts: Facts) -> dict[tuple[str, str, bool], tuple[int, int]]:
    """How often somebody was added to a conversation, or taken out of it: for certain, and perhaps."""
    asked: dict[tuple[str, str, bool], tuple[int, int]] = {}
    for change in facts.changes.values():
        one, outcome = change.invoked, change.answered.outcome if change.answered else "unknown"
        if one.what not in ("add", "remove", "leave") or outcome == "refused":
            continue
        for user in one.users or (one.by_user,):
            key = one.conversation, user, one.what == "add"
            least, most = asked.get(key, (0, 0))
            asked[key] = least + (outcome == "ok"), most + 1
    return asked


def _refused_and_stored(facts: Facts) -> Iterator[Violation]:
    for key, message in facts.logs.messages.items():
        is_certain = message.is_refused and not (message.is_sent or message.is_unknown or message.open_calls)
        if is_certain and key in facts.logs.places:
            yield Violation(Verdict.TORN, f"{name(key)} was refused, and has seq {facts.logs.places[key]}")
