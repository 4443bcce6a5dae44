"""Conversations on the wire."""

from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Literal
from uuid import UUID

import msgspec
from pydantic import AfterValidator, BaseModel, Field
from pydantic_core import PydanticCustomError

from accounts.schemas import UserOut, show_user
from accounts.wire.refusals import InvalidRequest, TooLarge
from accounts.wire.requests import Changes, Fields
from accounts.wire.scalars import DecOut, Name, Time, TimeOut, Uuid, UuidOut
from conversations.changes import Description
from conversations.founding import NewGroup
from conversations.inbox import Seen, SeenMember
from conversations.models import Conversation, Member

MOST_NAMED = 255
MOST_ADDED = 100
METADATA_BYTES = 4 * 1024


def _small(metadata: dict[str, Any]) -> dict[str, Any]:
    """Small enough, and without numbers that an entry of the log cannot hold."""
    try:
        msgspec.msgpack.encode(metadata)
    except OverflowError as failure:
        kind, sentence = "metadata", "must not contain integers of more than 64 bits"
        raise PydanticCustomError(kind, sentence) from failure
    if len(msgspec.json.encode(metadata)) > METADATA_BYTES:
        raise TooLarge("The metadata is too large.", limit="metadata", max=METADATA_BYTES)
    return metadata


Metadata = Annotated[dict[str, Any], AfterValidator(_small)]
Role = Literal["member", "admin", "owner"]


class NewConversation(Fields):
    """Begin a direct conversation with `user_id`, or a group with `member_ids`."""

    kind: Literal["direct", "group"]
    user_id: Uuid | None = None
    name: Name | None = None
    avatar: Uuid | None = None
    metadata: Metadata | None = None
    member_ids: Annotated[list[Uuid], Field(max_length=MOST_NAMED)] | None = None
    source: str | None = None

    def peer(self) -> UUID:
        """The other side of a direct conversation."""
        if self.user_id is None:
            raise InvalidRequest("user_id: is required", field="user_id")
        return self.user_id

    def group(self) -> NewGroup:
        """The group that is asked for."""
        if self.member_ids is None:
            raise InvalidRequest("member_ids: is required", field="member_ids")
        if self.source is not None:
            raise InvalidRequest("source: this one is not offered", field="source")
        return NewGroup(Description(self.name or "", self.avatar, self.metadata), frozenset(self.member_ids))


class ConversationChanges(Changes):
    """What is left out stays; null clears."""

    name: Name | None = None
    avatar: Uuid | None = None
    metadata: Metadata | None = None


class Leaving(Fields):
    """Leave; whom the group is left to."""

    successor_user_id: Uuid | None = None


class Additions(Fields):
    """People to add."""

    user_ids: Annotated[list[Uuid], Field(min_length=1, max_length=MOST_ADDED)]


class RoleChange(Fields):
    """A member's new role."""

    role: Role


class OwnView(Fields):
    """How the caller keeps the conversation; null ends a mute, what is left out stays."""

    nullable: ClassVar[frozenset[str]] = frozenset({"muted_until"})

    muted_until: Time | None
    pinned: bool | None = None
    archived: bool | None = None


class OwnViewOut(BaseModel):
    """How the caller keeps the conversation."""

    muted_until: TimeOut | None = None
    pinned: bool
    archived: bool


class LastMessageOut(BaseModel):
    """What was said last, system entries included."""

    seq: int
    message_id: DecOut
    sender_user_id: UuidOut | None = None
    sent_at: TimeOut
    kind: str


class MemberOut(BaseModel):
    """A member as the others see them."""

    user_id: UuidOut
    username: str | None = None
    display_name: str | None = None
    avatar: UuidOut | None = None
    role: Role
    joined_at: TimeOut
    joined_seq: int
    last_read_seq: int | None = None


class ConversationOut(BaseModel):
    """A conversation as one of its members sees it."""

    conversation_id: UuidOut
    kind: Literal["direct", "group"]
    name: str | None = None
    avatar: UuidOut | None = None
    metadata: dict[str, Any] | None = None
    created_at: TimeOut
    member_count: int
    peer: UserOut | None = None
    role: Role
    last_seq: int
    last_activity_at: TimeOut
    last_message: LastMessageOut | None = None
    last_read_seq: int
    unread_count: int
    muted_until: TimeOut | None = None
    pinned: bool
    archived: bool
    retention_seconds: int | None = None
    members: list[MemberOut] | None = Field(
        default=None, description="In the answer to a new group and to a single conversation."
    )


class MembersOut(BaseModel):
    """Members who were just added."""

    items: list[MemberOut]


def show_conversation(seen: Seen, members: list[MemberOut] | None = None) -> ConversationOut:
    """The conversation, with its members if they are given."""
    member, conversation = seen.member, seen.member.conversation
    return ConversationOut(
        **_about(conversation),
        member_count=seen.member_count,
        peer=show_user(seen.peer) if seen.peer else None,
        role=_role(member),
        last_read_seq=member.last_read_seq,
        unread_count=seen.unread,
        muted_until=member.muted_until,
        pinned=member.pinned,
        archived=member.archived,
        members=members,
    )


def show_member(seen: SeenMember) -> MemberOut:
    """The member, with the public side of the person."""
    member, user = seen.member, seen.member.user
    return MemberOut(
        user_id=user.pk,
        username=user.username,
        display_name=user.display_name or None,
        avatar=user.avatar,
        role=_role(member),
        joined_at=member.joined_at,
        joined_seq=member.joined_seq,
        last_read_seq=seen.last_read_seq,
    )


def show_own_view(member: Member) -> OwnViewOut:
    """The caller's own view."""
    return OwnViewOut(muted_until=member.muted_until, pinned=member.pinned, archived=member.archived)


def _about(conversation: Conversation) -> dict[str, Any]:
    return {
        "conversation_id": conversation.pk,
        "kind": conversation.kind,
        "name": conversation.name or None,
        "avatar": conversation.avatar,
        "metadata": conversation.metadata,
        "created_at": conversation.created_at,
        "last_seq": conversation.next_seq - 1,
        "last_activity_at": _moment(conversation.last_kept_ms),
        "last_message": _last_message(conversation),
        "retention_seconds": conversation.retention_seconds,
    }


def _last_message(conversation: Conversation) -> LastMessageOut | None:
    if conversation.next_seq == 1:
        return None
    return LastMessageOut(
        seq=conversation.next_seq - 1,
        message_id=conversation.last_message_id,
        sender_user_id=conversation.last_sender_user_id,
        sent_at=_moment(conversation.last_kept_ms),
        kind=conversation.last_kind,
    )


def _moment(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)


def _role(member: Member) -> Role:
    role: Role = member.role  # type: ignore[assignment]  # the column holds nothing else
    return role
