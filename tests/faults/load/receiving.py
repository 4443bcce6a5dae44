"""The receiving side of a device: what came is noted, shown when it is its turn, acknowledged sooner or later; gaps are asked about."""

import time
from typing import TYPE_CHECKING

from waypost_client.ordering import Verdict
from waypost_client.partings import Partings

from tests.faults.history import Acked
from tests.faults.load.inbox import has_content
from tests.faults.load.scene import Scene
from tests.faults.load.session import Frame, Session, content_of
from tests.faults.load.web import NoAnswer

if TYPE_CHECKING:
    from tests.faults.load.device import Device

ASK_SECONDS = 0.5
MOST_ACKS = 500
READ_SHARE = 0.03
RESOLVED = "resolve"


class Receiving:
    """What one device gets."""

    def __init__(self, scene: Scene, device: "Device") -> None:
        self._scene = scene
        self._device = device
        self._acks: list[tuple[float, Session, str]] = []
        self._asking: set[str] = set()
        self._ask_at = 0.0
        self.is_prompt = False
        self.partings = Partings()

    def take(self, session: Session, frame: Frame) -> None:
        """An envelope came by socket."""
        now = time.monotonic()
        figures = self._scene.figures
        figures.count("received")
        is_new = self._device.inbox.receive(frame, content_of(frame), session.name, now)
        if is_new:
            figures.delivered(str(frame.get("client_message_id", "")), now, session.opened_at)
        else:
            figures.count("repeated")
        self._device.roster.heed(str(frame["conversation_id"]), frame.get("system"))
        if self._device.manner != "silent":
            self._acks.append((now + self._delay(), session, str(frame["message_id"])))

    def tick(self, now: float) -> None:
        """Acknowledge what is due, ask about gaps that are old enough."""
        if self._acks:
            self._acknowledge(now)
        if now >= self._ask_at:
            self._ask_at = now + ASK_SECONDS
            self.ask()

    @property
    def has_acked(self) -> bool:
        return not self._acks

    def ask(self, *, at_once: bool = False) -> None:
        if self._device.is_retired:
            return
        for conversation, first, last in self._device.inbox.questions(time.monotonic(), at_once=at_once):
            if conversation not in self._asking:
                self._asking.add(conversation)
                self._device.errand(self._resolve(conversation, first, last))

    def maybe_read(self, conversation: str, seq: int) -> None:
        if self._scene.rng.random() < READ_SHARE:
            self._device.posting.read(conversation, seq)

    def _delay(self) -> float:
        """Mostly at once, sometimes after a while, as a phone does that has something else to do."""
        if self.is_prompt:
            return 0.0
        kind = self._scene.rng.random()
        if kind < 0.7:
            return 0.0
        return self._scene.rng.uniform(0.1, 1.0) if kind < 0.95 else self._scene.rng.uniform(1.0, 4.0)

    def _acknowledge(self, now: float) -> None:
        due: dict[Session, list[str]] = {}
        later = []
        for entry in self._acks:
            if entry[0] > now:
                later.append(entry)
            elif not entry[1].ended.is_set():
                due.setdefault(entry[1], []).append(entry[2])
        self._acks = later
        for session, message_ids in due.items():
            for at in range(0, len(message_ids), MOST_ACKS):
                self._say_ack(session, message_ids[at : at + MOST_ACKS])

    def _say_ack(self, session: Session, message_ids: list[str]) -> None:
        self._scene.record(Acked(device=self._device.device_id, socket=session.name, message_ids=tuple(message_ids)))
        session.acknowledged.update(message_ids)
        session.say([{"type": "ack", "message_ids": message_ids}])

    async def _resolve(self, conversation: str, first: int, last: int) -> None:
        try:
            await self._ask_server(conversation, first, last)
        except NoAnswer:
            return
        finally:
            self._asking.discard(conversation)

    async def _ask_server(self, conversation: str, first: int, last: int) -> None:
        self._scene.figures.count("resolves")
        query: Frame = {"from": first, "to": last}
        answer = await self._device.call("GET", f"conversations/{conversation}/resolve", **query)
        if answer.status == 404:
            items = self._of_a_former_member(conversation, first, last)
        elif answer.code:
            return
        else:
            items = answer.body["items"]
            self.partings.admitted(conversation)
        came = [self._take_resolved(item["envelope"]) for item in items if has_content(item.get("envelope") or {})]
        self._device.inbox.answer(conversation, items, time.monotonic())
        session = self._device.session
        if came and session is not None and session.is_usable and self._device.manner != "silent":
            self._say_ack(session, came)

    def _of_a_former_member(self, conversation: str, first: int, last: int) -> list[Frame]:
        """As the reference client's link has it."""
        is_over = self.partings.refused(conversation)
        session = self._device.session
        has_asked = self._device.inbox.asked_enough(conversation) and self.partings.only_a_new_connection_tells
        if has_asked and not is_over and session is not None:
            session.hang_up(cut=False)
        state = Verdict.NOT_FOR_YOU if is_over else Verdict.COMMITTED
        return [{"seq": seq, "state": state} for seq in range(first, last + 1)]

    def _take_resolved(self, envelope: Frame) -> str:
        self._device.inbox.receive(envelope, content_of(envelope), RESOLVED, time.monotonic())
        return str(envelope["message_id"])
