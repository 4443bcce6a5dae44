"""Conversations and sends for tests of the log: rows made directly, so that these tests need no HTTP."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from accounts.ids import uuid7
from accounts.positions import XID_BITS
from conversations.models import Conversation, Member
from conversations.sends import Addressed, Send, Sender
from tests.cast import Installation

# Timeline 1, as on every server that was never restored: nothing to catch up with.
PRESENT_ERA = 1 << XID_BITS


def direct(first: Installation, second: Installation) -> UUID:
    """A direct conversation nobody has said anything in."""
    low, high = sorted([UUID(first.user_id), UUID(second.user_id)])
    conversation = Conversation.objects.create(
        kind="direct", direct_low=low, direct_high=high, last_position=PRESENT_ERA
    )
    for user_id in (low, high):
        Member.objects.create(conversation=conversation, user_id=user_id, joined_seq=1)
    return conversation.pk


def sender(device: Installation) -> Sender:
    return Sender(UUID(device.user_id), int(device.device_id), device.device_number)


def send(conversation_id: UUID, device: Installation, to: Sequence[Installation], **changes: Any) -> Send:
    """A message of 20 bytes from `device` to each of `to`."""
    fields: dict[str, Any] = {
        "conversation_id": conversation_id,
        "sender": sender(device),
        "client_message_id": uuid7(),
        "kind": "message",
        "messages": tuple(
            Addressed(int(other.device_id), other.registration_id, b"twenty bytes of text") for other in to
        ),
    }
    return Send(**(fields | changes))
