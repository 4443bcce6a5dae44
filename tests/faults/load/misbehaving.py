"""Those who do not keep the rules: devices that read a byte a second or never acknowledge, and clients that send nonsense."""

import asyncio
import contextlib
import random
import time
from typing import Any

import msgspec

from tests.faults.load import changes
from tests.faults.load.device import Device, Manner
from tests.faults.load.identity import SignedOut
from tests.faults.load.scene import Person, Scene
from tests.faults.load.session import JSON, MSGPACK, Session
from tests.faults.load.web import NoAnswer

CHECK_SECONDS = 5.0
MAD_PAUSE = 0.05
REMEMBERED = 50


class Misbehaving:
    """Runs for ever. `wanted` is how many devices should be of which bad manner; it may be changed at any time."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self.wanted: dict[Manner, int] = {"slow": scene.plan.slow, "silent": scene.plan.silent}

    async def run(self) -> None:
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            for manner, count in self.wanted.items():
                self._spoil(manner, count if self._scene.is_living else 0)

    def mend(self) -> None:
        """Everybody behaves from now on."""
        for device in self._scene.devices():
            if device.manner != "good":
                device.manner = "good"
                device.come_back()

    def _spoil(self, manner: Manner, count: int) -> None:
        those = [device for device in self._scene.devices() if device.manner == manner]
        good = [device for device in self._scene.devices() if device.manner == "good" and not device.is_away]
        for device in those[count:]:
            device.manner = "good"
            device.come_back()
        for device in self._scene.rng.sample(good, k=min(max(count - len(those), 0), len(good))):
            device.manner = manner
            device.come_back()


class Mad:
    """One mad client: signed in like everybody, member of nothing, and never in the history."""

    def __init__(self, scene: Scene, number: int) -> None:
        self._scene = scene
        self._rng = random.Random(scene.plan.seed * 1000 + number)  # noqa: S311  (has to be repeatable)
        self._person = Person(f"mad{number}", f"+6688{scene.plan.seed % 1000:03d}{number:04d}")
        self._device: Device | None = None
        self._heard: list[dict[str, Any]] = []
        self._said: list[bytes] = []
        self.is_on = True

    async def run(self) -> None:
        while True:
            await asyncio.sleep(1)
            if self.is_on and self._scene.is_living:
                with contextlib.suppress(OSError, TimeoutError, NoAnswer, SignedOut, AssertionError):
                    await self._rave()

    async def _rave(self) -> None:
        device = self._device = self._device or await self._sign_in()
        if device is None:
            return
        session = Session("mad", self._rng.choice([JSON, MSGPACK]), lambda _, frame: self._hear(frame), lambda _: None)
        self._scene.watch(session)
        await session.open(self._scene.next_url(), await device.access_token())
        try:
            until = time.monotonic() + self._rng.uniform(2, 15)
            while time.monotonic() < until and not session.ended.is_set() and self.is_on and self._scene.is_living:
                session.wire.send([self._nonsense(session)])
                self._scene.figures.count("mad")
                await asyncio.sleep(self._rng.expovariate(1 / MAD_PAUSE))
        finally:
            session.hang_up(cut=self._rng.random() < 0.5)

    async def _sign_in(self) -> Device | None:
        """A mad client is nobody's recipient, so the history does not know it."""
        return await changes.sign_in(self._scene, self._person, is_known=False)

    def _hear(self, frame: dict[str, Any]) -> None:
        self._heard = [*self._heard[-REMEMBERED:], frame]
        if frame["type"] == "envelope":
            self._scene.figures.strange("a mad client got an envelope")

    def _nonsense(self, session: Session) -> bytes:
        kind = self._rng.random()
        if kind < 0.1:
            return self._rng.randbytes(self._rng.randint(0, 300))
        if kind < 0.2 and self._said:
            return self._rng.choice(self._said)
        encode = msgspec.json.encode if session.is_json else msgspec.msgpack.encode
        frame = encode(self._frame())
        self._said = [*self._said[-REMEMBERED:], frame]
        return frame if kind < 0.9 else frame[: self._rng.randint(0, len(frame))]

    def _frame(self) -> dict[str, Any]:
        """Well-formed, and none of its business: others' conversations, others' messages, values of the wrong type."""
        rng, scene = self._rng, self._scene
        conversation = rng.choice([*scene.talks, "not-a-uuid", None, {"$gt": ""}])
        match rng.randrange(5):
            case 0:
                return {
                    "type": "ack",
                    "message_ids": [str(rng.getrandbits(rng.choice([10, 62, 64]))) for _ in range(5)],
                }
            case 1:
                return {"type": "read", "conversation_id": conversation, "seq": rng.choice([1, 10**6, 2**63, -1, "1"])}
            case 2:
                return {
                    "type": rng.choice(["ping", "authenticate", "typing", "sent", "", 7]),
                    "ref": rng.choice(["a", 1]),
                }
            case _:
                return self._send(conversation)

    def _send(self, conversation: Any) -> dict[str, Any]:
        rng, scene = self._rng, self._scene
        devices = rng.sample(sorted(scene.owners), k=min(3, len(scene.owners)))
        copies = [{"device_id": one, "registration_id": rng.randint(0, 20000), "ciphertext": "bWFk"} for one in devices]
        assert self._device is not None
        mid = self._device.clock.new_mid()
        return {
            "type": "send",
            "conversation_id": conversation,
            "client_message_id": rng.choice([mid, mid, "x"]),
            "kind": rng.choice(["message", "key_distribution", "system"]),
            "messages": copies,
        }
