"""Whatever people do, in any order: nobody gets what is not theirs, nobody misses what is. The pure decisions alone, without a database."""

from collections.abc import Iterable
from functools import partial
from itertools import count
from uuid import UUID

from hypothesis import example, given, settings
from hypothesis import strategies as st

from accounts.ids import uuid7
from accounts.wire.refusals import ChatError
from conversations import membership, planning
from conversations.allocation import Head, Moment
from conversations.audience import Audience, AudienceDevice
from conversations.changes import Change, Decision, Description, Scene
from conversations.entries import SYSTEM, LogEntry
from conversations.invitees import Invitees
from conversations.planning import Plan, Reading
from conversations.sends import Addressed, Send, Sender, Sent

CONVERSATION = UUID(int=99)
PEOPLE = [UUID(int=number) for number in range(1, 5)]
NOW_MS = 1_800_000_000_000
ROLES = ("member", "admin", "owner")


class Device:
    def __init__(self, owner: UUID, device_id: int) -> None:
        self.owner = owner
        self.device_id = device_id
        self.active = True
        self.mailbox_from = 0


class Tables:
    """What PostgreSQL would hold between the transactions."""

    def __init__(self) -> None:
        self.devices: list[Device] = []
        for person in PEOPLE:
            self.link(person)
        self.head = Head(CONVERSATION, "group", "default", 2, 0, 0)
        self.roles = {PEOPLE[0]: "owner"}
        # device -> whether it has an envelope, and its mailbox_from then. The first one is of the founding.
        self.starts = {1: (True, 0)}
        self.is_archived = False

    def link(self, person: UUID) -> None:
        self.devices.append(Device(person, len(self.devices) + 1))

    def of(self, people: Iterable[UUID]) -> list[Device]:
        """Active devices."""
        return [device for device in self.devices if device.active and device.owner in people]

    def seen(self, device: Device) -> AudienceDevice:
        start = self.starts.get(device.device_id)
        is_own = start is not None and start[1] == device.mailbox_from
        return AudienceDevice(
            user_id=device.owner,
            device_id=device.device_id,
            registration_id=1,
            device_number=1,
            active=device.active,
            mailbox_from=device.mailbox_from,
            started=start is not None and (is_own or not device.active),
            greeted=start is not None and start[0] and is_own,
        )

    def audience(self) -> Audience:
        mine = [device for device in self.devices if device.owner in self.roles]
        found = [device for device in mine if device.active or device.device_id in self.starts]
        return Audience(dict(self.roles), {device.device_id: self.seen(device) for device in found})

    def scene(self, actor: UUID) -> Scene:
        strangers = [person for person in PEOPLE if person not in self.roles]
        return Scene(
            actor=Sender(actor, 0, 0),
            head=self.head,
            audience=self.audience(),
            description=Description(),
            invitees=Invitees(frozenset(PEOPLE), frozenset()),
            newcomers={
                person: {device.device_id: self.seen(device) for device in self.of([person])} for person in strangers
            },
            moment=Moment(NOW_MS, 1, count(1)),
            made=Change(),
        )

    def write(self, made: Plan) -> None:
        assert not set(made.ended) & made.starts.keys()
        for _, device_id in made.ended:
            self.starts.pop(device_id, None)
        for start in made.starts.values():
            self.starts[start.device_id] = (start.envelope_seq is not None, start.mailbox_from)
        if isinstance(made, Change):
            self.roles |= {join.user_id: join.role for join in made.joins} | made.roles
            for user_id, _ in made.departures:
                del self.roles[user_id]
            self.is_archived = made.archives


class Witness:
    """Follows the log and knows, from nothing but what happened, who must get what."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables
        self.present = {PEOPLE[0]}
        # Devices the log has named; of these, those it has named since they were last installed; those that got an envelope since then.
        self.known = {1}
        self.named = {1}
        self.greeted = {1}
        self.next_seq = 2

    def name(self, device_id: int) -> None:
        self.known.add(device_id)
        self.named.add(device_id)

    def installed_again(self, device_id: int) -> None:
        self.named.discard(device_id)
        self.greeted.discard(device_id)

    def forget(self, device_id: int) -> None:
        self.installed_again(device_id)
        self.known.discard(device_id)

    def watch(self, entries: Iterable[LogEntry]) -> None:
        wrote = False
        for entry in entries:
            wrote = True
            assert entry.seq == self.next_seq
            self.next_seq += 1
            self._before(entry)
            self._recipients(entry)
            self._after(entry)
        if wrote:
            assert self.known == self.named == {device.device_id for device in self.tables.of(self.present)}

    def _before(self, entry: LogEntry) -> None:
        system = entry.system or {}
        if system.get("event") == "member_added":
            newcomer = UUID(system["user_id"])
            assert newcomer not in self.present
            self.present.add(newcomer)
            for device in self.tables.of([newcomer]):
                self.name(device.device_id)

    def _recipients(self, entry: LogEntry) -> None:
        expected = {device.device_id for device in self.tables.of(self.present)}
        if entry.kind != SYSTEM:
            expected -= {entry.sender_device_id}
        assert {recipient.device_id for recipient in entry.recipients} == expected
        assert len(entry.recipients) == len(expected)
        for recipient in entry.recipients:
            assert recipient.start == (recipient.device_id not in self.greeted)
        self.greeted |= expected

    def _after(self, entry: LogEntry) -> None:
        system = entry.system or {}
        match system.get("event"):
            case "device_linked":
                assert int(system["device_id"]) not in self.named
                self.name(int(system["device_id"]))
            case "device_unlinked":
                assert int(system["device_id"]) in self.known
                self.forget(int(system["device_id"]))
            case "member_removed" | "member_left":
                goer = UUID(system["user_id"])
                self.present.remove(goer)
                for device in self.tables.devices:
                    if device.owner == goer:
                        self.forget(device.device_id)


def decision(kind: str, actor: UUID, other: UUID, number: int) -> Decision:
    role = ROLES[number % 3]
    match kind:
        case "add":
            people = sorted({other, PEOPLE[number % len(PEOPLE)]})
            return Decision(partial(membership._refuse_adding, people), partial(membership._add, people), people)
        case "remove" if other != actor:
            return Decision(partial(membership._refuse_removing, other), partial(membership._remove, other))
        case "role":
            return Decision(partial(membership._refuse_role, other, role), partial(membership._give_role, other, role))
        case _:
            successor = other if number % 2 and other != actor else None
            return Decision(partial(membership._refuse_leaving, successor), partial(membership._leave, successor))


def change(tables: Tables, what: Decision, actor: UUID) -> list[LogEntry]:
    scene = tables.scene(actor)
    try:
        what.check(scene)
    except ChatError:
        return []
    what.act(scene)
    tables.write(scene.made)
    return scene.made.entries


def say(tables: Tables, device: Device) -> list[LogEntry]:
    others = [other for other in tables.of(tables.roles) if other is not device]
    send = Send(
        conversation_id=CONVERSATION,
        sender=Sender(device.owner, device.device_id, 1),
        client_message_id=uuid7(NOW_MS),
        kind="message",
        messages=tuple(Addressed(other.device_id, 1, b"x") for other in others),
    )
    reading = Reading(
        heads={CONVERSATION: tables.head},
        audiences={CONVERSATION: tables.audience()},
        known={},
        targets={},
        moment=Moment(NOW_MS, 1, count(1)),
    )
    made = planning.plan([send], reading)
    [outcome] = made.outcomes
    assert isinstance(outcome, Sent) == (device.active and device.owner in tables.roles)
    tables.write(made)
    return made.entries


STEPS = st.tuples(
    st.sampled_from(["add", "add", "remove", "leave", "role", "say", "say", "link", "unlink", "reinstall"]),
    st.integers(0, len(PEOPLE) - 1),
    st.integers(0, len(PEOPLE) - 1),
    st.integers(0, 11),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(STEPS, max_size=25))
@example([("link", 0, 0, 0), ("leave", 0, 0, 0)])
@example([("reinstall", 0, 0, 0), ("unlink", 0, 0, 0), ("remove", 0, 0, 0)])
def test_everybody_gets_exactly_what_is_theirs_and_every_device_is_told_once_where_it_begins(
    steps: list[tuple[str, int, int, int]],
) -> None:
    tables = Tables()
    witness = Witness(tables)
    for kind, one, two, number in steps:
        actor, other = PEOPLE[one], PEOPLE[two]
        device = tables.devices[number % len(tables.devices)]
        match kind:
            case "link":
                tables.link(actor)
            case "unlink":
                device.active = False
            case "reinstall" if device.active:
                device.mailbox_from += 1
                witness.installed_again(device.device_id)
            case "say" if tables.roles:
                witness.watch(say(tables, device))
            case "add" | "remove" | "leave" | "role" if actor in tables.roles:
                witness.watch(change(tables, decision(kind, actor, other, number), actor))
        assert witness.present == tables.roles.keys()
        assert not tables.roles or set(tables.roles.values()) & {"admin", "owner"}
        assert list(tables.roles.values()).count("owner") <= 1
        assert tables.is_archived == (not tables.roles)
