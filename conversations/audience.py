"""Who gets an entry: the members of a conversation and their devices, at the moment its lock was taken."""

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

import msgspec

# Active devices of active members, and inactive ones that the log still believes to be there. A member without any such device is one all the same:
# which devices count is said where they are joined.
AUDIENCE = """
SELECT m.conversation_id, m.user_id, m.role, d.id, d.registration_id, d.device_number, d.active,
       d.mailbox_from, s.device_id IS NOT NULL AND (NOT d.active OR s.mailbox_from = d.mailbox_from),
       s.envelope_seq IS NOT NULL AND s.mailbox_from = d.mailbox_from, d.mailbox_full
FROM conversations_member m
LEFT JOIN devices_device d ON d.user_id = m.user_id AND (d.active OR EXISTS (
    SELECT FROM conversations_device_start t WHERE t.conversation_id = m.conversation_id AND t.device_id = d.id))
LEFT JOIN conversations_device_start s ON s.conversation_id = m.conversation_id AND s.device_id = d.id
WHERE m.conversation_id = ANY(%s) AND m.left_seq IS NULL
ORDER BY m.conversation_id, m.user_id, d.id
"""


class AudienceDevice(msgspec.Struct):
    """One device of a member. `started`: the log has named it; `greeted`: it has got its first envelope; `full`: its mailbox takes no more."""

    user_id: UUID
    device_id: int
    registration_id: int
    device_number: int
    active: bool
    mailbox_from: int
    started: bool
    greeted: bool
    full: bool = False


class Audience(msgspec.Struct):
    """Members by user id with their role, and devices by device id."""

    roles: dict[UUID, str]
    devices: dict[int, AudienceDevice]

    def active(self) -> list[AudienceDevice]:
        """Devices that get what is committed now."""
        return [device for device in self.devices.values() if device.active]


def audiences(rows: Iterable[Sequence[Any]]) -> dict[UUID, Audience]:
    """The audience of each conversation from the rows of `AUDIENCE`."""
    found: dict[UUID, Audience] = {}
    for conversation_id, user_id, role, device_id, *facts in rows:
        audience = found.get(conversation_id)
        if audience is None:
            audience = found[conversation_id] = Audience({}, {})
        audience.roles[user_id] = role
        if device_id is not None:
            audience.devices[device_id] = AudienceDevice(user_id, device_id, *facts)
    return found
