"""Whom a device believes it has to address: per conversation, device ids with their registration ids, mended by events and by refusals."""

import asyncio
from typing import TYPE_CHECKING, Any

from tests.faults.load.scene import Scene
from tests.faults.load.web import NoAnswer

if TYPE_CHECKING:
    from tests.faults.load.device import Device

Frame = dict[str, Any]
GONE = ("member_removed", "member_left")


class Roster:
    """The lists of one device."""

    def __init__(self, scene: Scene, device: "Device") -> None:
        self._scene = scene
        self._device = device
        self._lists: dict[str, dict[str, int]] = {}
        # The conversations it believes to be in.
        self.talks: set[str] = set()

    def of(self, conversation: str) -> dict[str, int]:
        """The devices to address there, with what registration ids."""
        found = self._lists.get(conversation)
        if found is None:
            found = self._lists[conversation] = self._first(conversation)
        return found

    def forget(self, conversation: str) -> None:
        self.talks.discard(conversation)
        self._lists.pop(conversation, None)

    def _first(self, conversation: str) -> dict[str, int]:
        talk = self._scene.talks.get(conversation)
        members = talk.roles if talk is not None else {}
        found: dict[str, int] = {}
        for user_id in members:
            found |= self._scene.directory.get(user_id, {})
        found.pop(self._device.device_id, None)
        return found

    def heed(self, conversation: str, system: Frame | None) -> None:
        """An envelope came from there; a system entry may change who is to be addressed."""
        event = str((system or {}).get("event", ""))
        user_id = str((system or {}).get("user_id") or "")
        if event in GONE and user_id == self._device.user_id:
            self.forget(conversation)
            return
        self.talks.add(conversation)
        listed = self._lists.get(conversation)
        if system is None or listed is None:
            return
        if event in GONE:
            for device_id in [one for one in listed if self._scene.owners.get(one) == user_id]:
                del listed[device_id]
        elif event == "member_added":
            listed |= {
                device_id: number
                for device_id, number in self._scene.directory.get(user_id, {}).items()
                if device_id != self._device.device_id
            }
        elif event == "device_unlinked":
            listed.pop(str(system.get("device_id")), None)
        elif event == "device_linked":
            self._add(listed, user_id, str(system.get("device_id")))

    async def correct(self, conversation: str, refusal: Frame) -> None:
        """Make the list what the server said it has to be. What cannot be learned now will be named again."""
        listed = self.of(conversation)
        for device_id in refusal.get("extra") or ():
            listed.pop(str(device_id), None)
        for device_id in refusal.get("stale") or ():
            await self._learn_again(listed, str(device_id))
        for entry in refusal.get("missing") or ():
            user_id, device_id = str(entry["user_id"]), str(entry["device_id"])
            if not self._add(listed, user_id, device_id):
                await self._ask(user_id)
                self._add(listed, user_id, device_id)

    async def _learn_again(self, listed: dict[str, int], device_id: str) -> None:
        user_id = self._scene.owners.get(device_id, "")
        known = self._scene.directory.get(user_id, {}).get(device_id)
        if known is None or known == listed.get(device_id):
            await self._ask(user_id)
        self._add(listed, user_id, device_id)

    def _add(self, listed: dict[str, int], user_id: str, device_id: str) -> bool:
        known = self._scene.directory.get(user_id, {}).get(device_id)
        if known is not None and device_id != self._device.device_id:
            listed[device_id] = known
        return known is not None

    async def _ask(self, user_id: str) -> None:
        try:
            answer = await self._device.call("GET", f"keys/{user_id}/identities")
        except NoAnswer:
            await asyncio.sleep(0.2)
            return
        if not answer.code:
            self._scene.learn(user_id, answer.body["devices"])
