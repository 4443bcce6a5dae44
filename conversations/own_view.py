"""How a member keeps a conversation for themselves: muted, pinned, archived. Nobody else sees it."""

from datetime import datetime
from uuid import UUID

from conversations.access import access_conversation
from conversations.models import Member


def keep(
    user_id: UUID, conversation_id: UUID, *, muted_until: datetime | None, pinned: bool | None, archived: bool | None
) -> Member:
    """The member's row after the change; what is None stays, save for the mute. Raises NotFound."""
    member = access_conversation(user_id, conversation_id)
    member.muted_until = muted_until
    member.pinned = member.pinned if pinned is None else pinned
    member.archived = member.archived if archived is None else archived
    member.save(update_fields=["muted_until", "pinned", "archived"])
    return member
