"""History as HTTP gives it, compared with what the device was shown."""

from collections import OrderedDict
from typing import Any

from tests.faults.history import HistoryRead
from tests.faults.load import payload
from tests.faults.load.inbox import has_content
from tests.faults.load.scene import Scene
from tests.faults.load.session import Session, raw_bytes

REMEMBERED = 200


class Pages:
    """The last messages a device was shown in each conversation, by seq."""

    def __init__(self, scene: Scene, device_id: str) -> None:
        self._scene = scene
        self._device_id = device_id
        self._shown: dict[str, OrderedDict[int, str]] = {}

    def note(self, conversation: str, seq: int, message_id: str) -> None:
        shown = self._shown.setdefault(conversation, OrderedDict())
        shown[seq] = message_id
        if len(shown) > REMEMBERED:
            shown.popitem(last=False)

    def compare(self, conversation: str, page: dict[str, Any], session: Session | None) -> None:
        """Whatever was shown and lies on the page has to be there, as it was."""
        for item in page["items"]:
            self._tell(conversation, item, session.acknowledged if session is not None and session.is_usable else set())
        items = {int(item["seq"]): str(item["message_id"]) for item in page["items"]}
        if not items:
            return
        missing = [(int(gap["from_seq"]), int(gap["to_seq"])) for gap in page.get("sources_missing") or ()]
        for seq, message_id in self._shown.get(conversation, {}).items():
            if not min(items) <= seq <= max(items) or any(first <= seq <= last for first, last in missing):
                continue
            if items.get(seq) != message_id:
                self._scene.figures.strange(
                    f"history of {conversation} for {self._device_id}: seq {seq} was {message_id}, is {items.get(seq)}"
                )

    def _tell(self, conversation: str, item: dict[str, Any], acknowledged: set[str]) -> None:
        """A ciphertext is only worth telling where the server has heard its ack: that of a socket that was cut it may never hear."""
        message_id = str(item["message_id"])
        seen = payload.unpack(raw_bytes(item.get("ciphertext")))
        self._scene.record(
            HistoryRead(
                device=self._device_id,
                conversation=conversation,
                seq=int(item["seq"]),
                message_id=message_id,
                digest=seen.digest if message_id in acknowledged else "",
                deleted=bool(item.get("deleted")),
                has_content=has_content(item),
            )
        )
