"""What people decide about each other, in tests that run on the loop."""

from typing import Any
from uuid import UUID

from asgiref.sync import sync_to_async

from accounts import preferences, relationships
from conversations.models import Conversation, Member
from tests.cast import Installation
from tests.conversations_of import PRESENT_ERA


async def blocks(one: Installation, other: Installation) -> None:
    await sync_to_async(relationships.block)(UUID(one.user_id), UUID(other.user_id))


async def sets(one: Installation, key: str, value: Any) -> None:
    await sync_to_async(preferences.change)(UUID(one.user_id), {key: value})


async def group(*people: Installation) -> UUID:
    """A group in which nobody has said anything."""
    conversation = await Conversation.objects.acreate(kind="group", last_position=PRESENT_ERA)
    for person in people:
        await Member.objects.acreate(conversation=conversation, user_id=person.user_id, joined_seq=1)
    return conversation.pk


async def leaves(person: Installation, conversation: UUID) -> None:
    await Member.objects.filter(conversation=conversation, user_id=person.user_id).aupdate(left_seq=1)
