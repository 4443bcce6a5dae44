"""Random histories that keep every promise, by seed; and the ways to break one, each in one place."""

import functools
import random
from collections.abc import Callable, Sequence
from typing import TypeVar

from msgspec.structs import replace

from tests.faults.checker import Verdict
from tests.faults.history import (
    AnyEvent,
    DeviceRow,
    Dumped,
    EnvelopeReceived,
    FaultOff,
    FaultOn,
    LedgerRow,
    ReceiptHeard,
    SendAnswered,
    SendInvoked,
    Shown,
    StayRow,
)
from tests.faults.stories import Story

USERS = ("alice", "bob", "carol", "dave")
ROUNDS = 150
ATTEMPTS = (("ok",), ("ok",), ("ok",), ("unknown", "ok"), ("refused",), ("refused", "ok"), ("unknown",), ("ok", "ok"))


def random_story(seed: int) -> list[AnyEvent]:
    """A history of a hundred and fifty things that people do; the caller's own."""
    return list(_random_story(seed))


@functools.cache
def _random_story(seed: int) -> list[AnyEvent]:
    chance = random.Random(seed)  # noqa: S311  (a seed is to repeat it)
    story = Story(seed)
    for user in USERS:
        story.register(f"{user}-1", user)
    talks = [story.group("alice-1", *USERS[1:3]), story.group("bob-1", *USERS), story.direct("carol-1", "dave")]
    for _ in range(ROUNDS):
        _something(story, talks, chance)
    story.tell(lambda at: FaultOn(at=at, fault="f1", kind="kill", target="web-1", in_flight=3))
    story.tell(lambda at: FaultOff(at=at, fault="f1"))
    story.send("alice-1", talks[0])
    return story.finish()


def _something(story: Story, talks: Sequence[str], chance: random.Random) -> None:
    talk = chance.choice(talks)
    here = [device for device in story.audience(talk) if device.socket]
    match chance.choices(range(7), weights=(50, 20, 8, 8, 4, 4, 6))[0]:
        case 0 if here:
            story.send(chance.choice(here).id, talk, *chance.choice(ATTEMPTS))
        case 1:
            story.deliver(chance.choice(list(story.devices)), chance.randrange(1, 20))
        case 2:
            _come_or_go(story, chance)
        case 3 if here:
            reader = chance.choice(here).id
            story.deliver(reader)
            story.read(reader, talk)
        case 4:
            _member(story, talks[chance.randrange(2)], chance)
        case 5:
            _device(story, chance)
        case _:
            story.wait(chance.random() / 10)


def _come_or_go(story: Story, chance: random.Random) -> None:
    device = chance.choice([device for device in story.devices.values() if device.is_active])
    if device.socket:
        story.disconnect(device.id)
    else:
        story.connect(device.id)


def _member(story: Story, talk: str, chance: random.Random) -> None:
    """Alice and Bob stay: they are asked to change who is there."""
    by = next((device.id for device in story.audience(talk) if device.id in ("alice-1", "bob-1")), "")
    user = chance.choice(USERS[2:])
    if user in story.talks[talk].members:
        story.remove(by, talk, user)
    else:
        story.add(by, talk, user)


def _device(story: Story, chance: random.Random) -> None:
    user = chance.choice(USERS)
    others = [device.id for device in story.devices.values() if device.user == user and device.is_active][1:]
    if others and chance.random() < 0.5:
        story.unlink(others[0], f"{user}-1")
    else:
        story.register(story.new(f"{user}-"), user, what="link")


# --- breaking one ------------------------------------------------------------------------------------------------------------------

Events = list[AnyEvent]
Break = Callable[[Events, random.Random], None]
One = TypeVar("One", bound=AnyEvent)


def _any(events: Events, of: type[One], chance: random.Random, good: Callable[[One], bool] = lambda _: True) -> int:
    """Where one of these events stands."""
    found = [index for index, event in enumerate(events) if isinstance(event, of) and good(event)]
    return chance.choice(found)


def _active(events: Events) -> set[str]:
    return {event.device for event in events if isinstance(event, DeviceRow) and event.active}


def _promised(events: Events) -> set[tuple[str, int]]:
    """Places of messages whose senders were told `sent`."""
    calls = {event.call: event for event in events if isinstance(event, SendInvoked)}
    return {
        (calls[event.call].conversation, event.seq)
        for event in events
        if isinstance(event, SendAnswered) and event.outcome == "ok"
    }


def lose(events: Events, chance: random.Random) -> None:
    """A message never comes to one device."""
    active, promised = _active(events), _promised(events)
    index = _any(
        events,
        Shown,
        chance,
        lambda event: not event.own and event.device in active and (event.conversation, event.seq) in promised,
    )
    gone = events[index]
    assert isinstance(gone, Shown)
    events[:] = [
        event
        for event in events
        if not (
            isinstance(event, Shown | EnvelopeReceived)
            and (event.device, event.conversation, event.seq) == (gone.device, gone.conversation, gone.seq)
        )
    ]


def show_twice(events: Events, chance: random.Random) -> None:
    index = _any(events, Shown, chance)
    events.insert(index + 1, replace(events[index], at=events[index].at + 0.001))


def swap(events: Events, chance: random.Random) -> None:
    """Two that follow each other on one device are shown the other way round."""
    pairs = []
    last: dict[tuple[str, str], int] = {}
    for index, event in enumerate(events):
        if isinstance(event, Shown):
            key = event.device, event.conversation
            if key in last:
                pairs.append((last[key], index))
            last[key] = index
    first, second = chance.choice(pairs)
    one, other = events[first], events[second]
    events[first], events[second] = replace(other, at=one.at), replace(one, at=other.at)


def give_another_message(events: Events, chance: random.Random) -> None:
    """One device is told of another message in a place."""
    index = _any(events, EnvelopeReceived, chance)
    events[index] = replace(events[index], message_id="1")


def answer_another_seq(events: Events, chance: random.Random) -> None:
    index = _any(events, SendAnswered, chance, lambda event: event.outcome == "ok" and event.duplicate)
    events[index] = replace(events[index], seq=100_000, message_id="2")


def leak(events: Events, chance: random.Random) -> None:
    """Somebody who is no member gets a message."""
    alices = {row.conversation for row in events if isinstance(row, StayRow) and row.user == "alice"}
    bobs = {row.conversation for row in events if isinstance(row, StayRow) and row.user == "bob"}
    index = _any(events, EnvelopeReceived, chance, lambda event: event.conversation not in alices | bobs)
    strangers = [row.device for row in events if isinstance(row, DeviceRow) and row.user in ("alice", "bob")]
    events[index] = replace(events[index], device=chance.choice(strangers), addressed="")


def mix(events: Events, chance: random.Random) -> None:
    index = _any(events, EnvelopeReceived, chance, lambda event: event.kind == "message")
    events[index] = replace(events[index], digest="of something else")


def forge_sender(events: Events, chance: random.Random) -> None:
    index = _any(events, EnvelopeReceived, chance, lambda event: event.kind == "message")
    events[index] = replace(events[index], sender_user="mallory")


def store_refused(events: Events, chance: random.Random) -> None:
    """A message that was acknowledged was refused instead, each time."""
    message_id = events[_any(events, SendAnswered, chance, lambda event: event.outcome == "ok")].message_id  # type: ignore[union-attr]
    calls = {event.call: event.mid for event in events if isinstance(event, SendInvoked)}
    mids = {calls[event.call] for event in events if isinstance(event, SendAnswered) and event.message_id == message_id}
    for place, event in enumerate(events):
        if isinstance(event, SendAnswered) and calls[event.call] in mids:
            events[place] = SendAnswered(at=event.at, call=event.call, outcome="refused", code="NOT_FOUND")


def never_answer(events: Events, chance: random.Random) -> None:
    del events[_any(events, SendAnswered, chance, lambda event: event.outcome == "unknown")]


def leave_backlog(events: Events, chance: random.Random) -> None:
    index = _any(events, Dumped, chance)
    events[index] = replace(events[index], backlog=chance.randrange(1, 9))


def forget_committed(events: Events, chance: random.Random) -> None:
    """What was acknowledged is not in PostgreSQL."""
    promised = _promised(events)
    del events[_any(events, LedgerRow, chance, lambda row: (row.conversation, row.seq) in promised)]


def change_a_stay(events: Events, chance: random.Random) -> None:
    index = _any(events, StayRow, chance)
    events[index] = replace(events[index], joined_seq=events[index].joined_seq + 1)  # type: ignore[union-attr]


def forge_receipt(events: Events, chance: random.Random) -> None:
    """A device that never acknowledged it has it."""
    index = _any(events, ReceiptHeard, chance, lambda event: event.what == "delivered")
    events[index] = replace(events[index], by_device="mallory-1")


def end_early(events: Events, chance: random.Random) -> None:
    del events[_any(events, Dumped, chance)]


BREAKS: dict[Verdict, tuple[Break, ...]] = {
    Verdict.LOST: (lose, forget_committed),
    Verdict.DUPLICATED: (show_twice,),
    Verdict.REORDERED: (swap,),
    Verdict.DIVERGED: (give_another_message, answer_another_seq, change_a_stay),
    Verdict.LEAKED: (leak,),
    Verdict.MIXED: (mix, forge_sender),
    Verdict.TORN: (store_refused,),
    Verdict.HUNG: (never_answer,),
    Verdict.BACKLOG: (leave_backlog,),
    Verdict.RECEIPT: (forge_receipt,),
    Verdict.UNFINISHED: (end_early,),
}
