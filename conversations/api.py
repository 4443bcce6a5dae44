"""HTTP: conversations and their members.

What is written into a log is asynchronous: it uses the connections of the hot path, on the process's own loop. What only reads is Django's ORM.
"""

from collections.abc import Sequence
from typing import Annotated
from uuid import UUID

from asgiref.sync import sync_to_async
from ninja import Query, Router, Status

from accounts.wire import paging
from accounts.wire.paging import ListQuery, Page
from accounts.wire.refusals import NotFound
from accounts.wire.requests import JsonBody, Nothing
from accounts.wire.scalars import Uuid
from conversations import describing, founding, inbox, membership, own_view
from conversations.schemas import (
    Additions,
    ConversationChanges,
    ConversationOut,
    Leaving,
    MemberOut,
    MembersOut,
    NewConversation,
    OwnView,
    OwnViewOut,
    RoleChange,
    show_conversation,
    show_member,
    show_own_view,
)
from conversations.sends import Sender
from devices.current import CurrentDevice, DeviceRequest

router = Router(exclude_none=True, tags=["Conversations"])


@router.post("/conversations", response={201: ConversationOut, 200: ConversationOut})
async def create_conversation(
    request: DeviceRequest, body: Annotated[NewConversation, JsonBody()]
) -> Status[ConversationOut]:
    """A direct conversation is one per pair of people: asked for again it is answered with 200. Of groups there is a new one each time."""
    actor = _sender(request.auth)
    if body.kind == "group":
        conversation_id = await founding.found_group(actor, body.group())
        return Status(201, await sync_to_async(_detail)(actor.user_id, conversation_id))
    conversation_id, is_new = await founding.open_direct(actor, body.peer())
    return Status(201 if is_new else 200, await sync_to_async(_overview)(actor.user_id, conversation_id))


@router.get("/conversations", response=Page[ConversationOut])
def list_conversations(request: DeviceRequest, query: Query[ListQuery]) -> Page[ConversationOut]:
    """The caller's conversations, last activity first. Direct ones that were left stay hidden until their next message."""
    after = paging.position_of(query, "conversations")
    seen = inbox.listed(request.auth.user_id, after=after, most=query.limit + 1)
    return paging.page(seen, query, "conversations", show=show_conversation, position=inbox.position)


@router.get("/conversations/{conversation_id}", response=ConversationOut)
def get_conversation(request: DeviceRequest, conversation_id: Uuid) -> ConversationOut:
    """One conversation with its members."""
    return _detail(request.auth.user_id, conversation_id)


@router.patch("/conversations/{conversation_id}", response=ConversationOut)
async def change_conversation(
    request: DeviceRequest, conversation_id: Uuid, body: Annotated[ConversationChanges, JsonBody()]
) -> ConversationOut:
    """Rename a group, change its picture or metadata: its admins may."""
    actor = _sender(request.auth)
    await describing.describe(actor, conversation_id, body.model_dump(exclude_unset=True))
    return await sync_to_async(_overview)(actor.user_id, conversation_id)


@router.post("/conversations/{conversation_id}/leave", response={204: None})
async def leave_conversation(
    request: DeviceRequest, conversation_id: Uuid, body: Annotated[Leaving, JsonBody()]
) -> None:
    """Leave a group; its last admin names a successor. A direct conversation is hidden until its next message."""
    await membership.leave(_sender(request.auth), conversation_id, body.successor_user_id)


@router.get("/conversations/{conversation_id}/members", response=Page[MemberOut])
def list_members(request: DeviceRequest, conversation_id: Uuid, query: Query[ListQuery]) -> Page[MemberOut]:
    """The members, in the order they came."""
    after = paging.position_of(query, "members") or 0
    members = inbox.members(request.auth.user_id, conversation_id, after=after, most=query.limit + 1)
    return paging.page(members, query, "members", show=show_member, position=lambda seen: seen.member.pk)


@router.post("/conversations/{conversation_id}/members", response={201: MembersOut})
async def add_members(
    request: DeviceRequest, conversation_id: Uuid, body: Annotated[Additions, JsonBody()]
) -> Status[MembersOut]:
    """Add people to a group, all or none: its admins may."""
    await membership.add(_sender(request.auth), conversation_id, body.user_ids)
    return Status(201, MembersOut(items=await _members(request.auth.user_id, conversation_id, body.user_ids)))


@router.patch("/conversations/{conversation_id}/members/{user_id}", response=MemberOut)
async def change_role(
    request: DeviceRequest, conversation_id: Uuid, user_id: Uuid, body: Annotated[RoleChange, JsonBody()]
) -> MemberOut:
    """Change what a member may do: admins may. The owner alone gives "owner", and becomes an admin."""
    await membership.give_role(_sender(request.auth), conversation_id, user_id, body.role)
    for member in await _members(request.auth.user_id, conversation_id, [user_id]):
        return member
    # They have left in the meantime.
    raise NotFound


@router.delete("/conversations/{conversation_id}/members/{user_id}", response={204: None})
async def remove_member(
    request: DeviceRequest, conversation_id: Uuid, user_id: Uuid, body: Annotated[Nothing, JsonBody()]
) -> None:
    """Remove a member other than the owner: admins may. Oneself: leave."""
    await membership.remove(_sender(request.auth), conversation_id, user_id)


@router.put("/conversations/{conversation_id}/mute", response=OwnViewOut)
def mute_conversation(
    request: DeviceRequest, conversation_id: Uuid, body: Annotated[OwnView, JsonBody()]
) -> OwnViewOut:
    """How the caller keeps the conversation."""
    kept = own_view.keep(
        request.auth.user_id,
        conversation_id,
        muted_until=body.muted_until,
        pinned=body.pinned,
        archived=body.archived,
    )
    return show_own_view(kept)


def _sender(device: CurrentDevice) -> Sender:
    return Sender(device.user_id, device.device_id, device.device_number)


def _overview(user_id: UUID, conversation_id: UUID) -> ConversationOut:
    return show_conversation(inbox.one(user_id, conversation_id))


def _detail(user_id: UUID, conversation_id: UUID) -> ConversationOut:
    seen = inbox.one(user_id, conversation_id)
    members = inbox.members(user_id, conversation_id)
    return show_conversation(seen, [show_member(member) for member in members])


async def _members(user_id: UUID, conversation_id: UUID, chosen: Sequence[UUID]) -> list[MemberOut]:
    found = await sync_to_async(inbox.chosen_members)(user_id, conversation_id, chosen)
    return [show_member(member) for member in found]
