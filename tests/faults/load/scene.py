"""What everybody in a run shares: the plan, the servers, the history, chance, and what is publicly known of people and conversations."""

import itertools
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.faults.history import AnyEvent, Writer
from tests.faults.load.figures import Figures
from tests.faults.load.identity import Codes
from tests.faults.load.plan import Plan
from tests.faults.load.session import Session
from tests.faults.load.web import Web

if TYPE_CHECKING:
    from tests.faults.load.device import Device


@dataclass
class Person:
    """Somebody with a number. `devices` are those that are signed in, oldest first; the last is the primary one."""

    name: str
    phone: str
    user_id: str = ""
    is_guest: bool = False
    # One change of somebody's devices at a time.
    is_changing: bool = False
    devices: list["Device"] = field(default_factory=list)


@dataclass
class Talk:
    """A conversation as the answers to changes say it is. It may be behind what the log says."""

    conversation: str
    kind: str
    roles: dict[str, str]
    # Changes of one conversation are asked for one after the other, so that an unknown outcome can be looked up before the next.
    is_changing: bool = False


class Scene:
    """One run."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.rng = random.Random(plan.seed)  # noqa: S311  (has to be repeatable)
        self.mark = f"WPFAULT{plan.seed:x}-{self.rng.getrandbits(48):012x}"
        self.history = Writer(Path(plan.history))
        self.figures = Figures()
        self.web = Web(plan.urls, plan.patience, self.record, self.figures.note_error)
        self.codes = Codes(Path(plan.sms))
        self.people: dict[str, Person] = {}
        self.talks: dict[str, Talk] = {}
        # What anybody may know: registration ids of devices by user, as last heard.
        self.directory: dict[str, dict[str, int]] = {}
        self.owners: dict[str, str] = {}
        self.is_sending = False
        self.is_living = False
        self.retired: list[Device] = []
        # All that may still have a connection, so that none is left at the end.
        self.sessions: set[Session] = set()
        self._urls = itertools.cycle(plan.urls)
        self._calls = itertools.count(1)

    def watch(self, session: Session) -> None:
        """It is about to connect. A connection that nobody reads is held by nobody else, and would be collected unclosed."""
        self.sessions = {each for each in self.sessions if not each.is_disconnected} | {session}

    def record(self, event: AnyEvent) -> None:
        self.history.write(event)

    def new_call(self) -> str:
        return f"c{next(self._calls)}"

    def next_url(self) -> str:
        return next(self._urls)

    def devices(self) -> list["Device"]:
        """All that are signed in."""
        return [device for person in self.people.values() for device in person.devices]

    def meet(self, user_id: str, device_id: str, registration_id: int) -> None:
        """Everybody may know of this device from now on."""
        self.directory.setdefault(user_id, {})[device_id] = registration_id
        self.owners[device_id] = user_id

    def part(self, user_id: str, device_id: str) -> None:
        self.directory.get(user_id, {}).pop(device_id, None)

    def learn(self, user_id: str, identities: list[dict[str, Any]]) -> None:
        """What the server says of a user's devices."""
        self.directory[user_id] = {}
        for identity in identities:
            self.meet(user_id, str(identity["device_id"]), int(identity["registration_id"]))
