"""Members of a group: adding, removing, leaving, roles. One system entry for each person concerned."""

import contextlib
from collections.abc import Sequence
from functools import partial
from uuid import UUID

from asgiref.sync import sync_to_async
from django.conf import settings

from accounts import statements
from accounts.limits import Limit, WithoutRedis, spend
from accounts.wire.refusals import Conflict, Forbidden, InvalidRequest, NotFound, TooLarge
from conversations import changes
from conversations.changes import Decision, Join, Scene
from conversations.models import Conversation, Member
from conversations.sends import Sender

ADDS = Limit("ADDS_PER_HOUR", 3600, WithoutRedis.COUNT_HERE)

SENIORITY = """
SELECT user_id FROM conversations_member WHERE conversation_id = %s AND user_id <> %s AND left_seq IS NULL ORDER BY joined_seq, id
"""
DIRECT = Conversation.Kind.DIRECT.value
MEMBER, ADMIN, OWNER = Member.Role.MEMBER.value, Member.Role.ADMIN.value, Member.Role.OWNER.value


async def add(actor: Sender, conversation_id: UUID, user_ids: Sequence[UUID]) -> None:
    """Bring these people in, all or none. Raises NotFound, Forbidden, Conflict, TooLarge (each with its facts), RateLimited."""
    people = sorted(set(user_ids))
    adding = Decision(partial(_refuse_adding, people), partial(_add, people), people)
    # What is refused costs nothing: a large list with one mistake in it would use up the hour.
    await changes.rehearse(actor, conversation_id, adding)
    await sync_to_async(spend)(ADDS, str(actor.user_id), cost=len(people))
    await changes.commit(actor, conversation_id, adding)


async def remove(actor: Sender, conversation_id: UUID, user_id: UUID) -> None:
    """Take somebody out; oneself: leave. Raises NotFound, Forbidden, or Conflict for the last admin."""
    if user_id == actor.user_id:
        await leave(actor, conversation_id)
    else:
        removing = Decision(partial(_refuse_removing, user_id), partial(_remove, user_id))
        await changes.change(actor, conversation_id, removing)


async def leave(actor: Sender, conversation_id: UUID, successor_id: UUID | None = None) -> None:
    """Go. The last one to go archives the group; a direct conversation is only hidden until its next message.

    Raises Conflict when the others would be without an admin and no successor is named.
    """
    if successor_id == actor.user_id:
        raise InvalidRequest("Nobody succeeds themselves.", field="successor_user_id")
    leaving = Decision(partial(_refuse_leaving, successor_id), partial(_leave, successor_id))
    await changes.change(actor, conversation_id, leaving)


async def leave_for_good(user_id: UUID, conversation_id: UUID) -> None:
    """Go although nobody is there to name a successor: the account is deleted. A direct conversation is left too. Repeated, it changes nothing.

    What the leaver was, if the others are to have an owner or an admin, is whoever has been there longest: an admin if there is one.
    """
    seniority = [row[0] for row in await statements.rows(SENIORITY, [conversation_id, user_id])]
    leaving = Decision(_refuse_nothing, partial(_leave_for_good, seniority))
    with contextlib.suppress(NotFound):
        await changes.change(Sender(user_id, 0, 0), conversation_id, leaving)


async def give_role(actor: Sender, conversation_id: UUID, user_id: UUID, role: str) -> None:
    """Change what a member may do. The owner who gives "owner" away becomes an admin. Raises NotFound, Forbidden, or Conflict."""
    giving = Decision(partial(_refuse_role, user_id, role), partial(_give_role, user_id, role))
    await changes.change(actor, conversation_id, giving)


def require_admin(scene: Scene) -> None:
    """Raise Forbidden unless the actor is an admin of a group."""
    if scene.head.kind == DIRECT or scene.audience.roles[scene.actor.user_id] == MEMBER:
        raise Forbidden


def _add(user_ids: Sequence[UUID], scene: Scene) -> None:
    scene.begin()
    for user_id in user_ids:
        scene.audience.roles[user_id] = MEMBER
        scene.audience.devices |= scene.newcomers.get(user_id, {})
        seq = scene.say("member_added", user_id=str(user_id))
        scene.made.joins.append(Join(user_id, MEMBER, seq))


def _refuse_adding(user_ids: Sequence[UUID], scene: Scene) -> None:
    scene.invitees.require_known(user_ids)
    require_admin(scene)
    present = sorted(str(user_id) for user_id in user_ids if user_id in scene.audience.roles)
    if present:
        raise Conflict("Some of them are members already.", user_ids=present)
    require_room(len(scene.audience.roles) + len(user_ids))
    scene.invitees.require_room()


def require_room(members: int) -> None:
    """Raise TooLarge when a group may not have as many members."""
    [most] = settings.LIMITS["MEMBERS"]
    if most and members > most:
        raise TooLarge("The group would have more members than it may have.", limit="members", max=most)


def _refuse_removing(user_id: UUID, scene: Scene) -> None:
    if user_id not in scene.audience.roles:
        raise NotFound
    require_admin(scene)
    if scene.audience.roles[user_id] == OWNER:
        raise Forbidden


def _remove(user_id: UUID, scene: Scene) -> None:
    scene.begin()
    _depart(scene, user_id, "member_removed")


def _leave(successor_id: UUID | None, scene: Scene) -> None:
    if scene.head.kind == DIRECT:
        scene.made.hidden_at = scene.head.next_seq - 1
        return
    scene.begin()
    if successor_id is not None:
        _promote(scene, successor_id)
    if len(scene.audience.roles) == 1:
        # Before the last departure, which nobody would hear of: a member who goes gets that entry last.
        scene.say("conversation_archived")
        scene.made.archives = True
    _depart(scene, scene.actor.user_id, "member_left")


def _refuse_nothing(_scene: Scene) -> None:
    pass


def _leave_for_good(seniority: Sequence[UUID], scene: Scene) -> None:
    if scene.head.next_seq == 1:
        # Nothing was ever said there: nobody has to hear of it.
        scene.made.departures.append((scene.actor.user_id, 0))
        return
    if scene.head.kind == DIRECT:
        scene.begin()
        _depart(scene, scene.actor.user_id, "member_left")
    else:
        _leave(_heir([user_id for user_id in seniority if user_id in scene.audience.roles], scene), scene)


def _heir(others: Sequence[UUID], scene: Scene) -> UUID | None:
    """Who takes over what the leaver was; None where that is not needed."""
    roles, leaver = scene.audience.roles, scene.actor.user_id
    if roles[leaver] != OWNER and not _is_last_admin(scene, leaver):
        return None
    admins = [user_id for user_id in others if roles[user_id] != MEMBER]
    return next(iter(admins or others), None)


def _refuse_leaving(successor_id: UUID | None, scene: Scene) -> None:
    roles, leaver = scene.audience.roles, scene.actor.user_id
    if scene.head.kind == DIRECT:
        return
    if successor_id is not None:
        if successor_id not in roles:
            raise NotFound(user_ids=[str(successor_id)])
        require_admin(scene)
    elif len(roles) > 1 and _is_last_admin(scene, leaver):
        raise Conflict("Name a successor first.", reason="last_admin")


def _promote(scene: Scene, successor_id: UUID) -> None:
    """What the leaver was, the successor is; never less than before."""
    roles = scene.audience.roles
    if roles[scene.actor.user_id] == OWNER:
        _assign(scene, successor_id, OWNER)
    elif roles[successor_id] == MEMBER:
        _assign(scene, successor_id, ADMIN)


def _give_role(user_id: UUID, role: str, scene: Scene) -> None:
    if scene.audience.roles[user_id] == role:
        return
    scene.begin()
    _assign(scene, user_id, role)
    if role == OWNER:
        _assign(scene, scene.actor.user_id, ADMIN)


def _refuse_role(user_id: UUID, role: str, scene: Scene) -> None:
    roles = scene.audience.roles
    if user_id not in roles:
        raise NotFound
    require_admin(scene)
    if OWNER in (role, roles[user_id]) and roles[scene.actor.user_id] != OWNER:
        raise Forbidden
    if role == MEMBER and _is_last_admin(scene, user_id):
        raise Conflict("The group needs an admin.", reason="last_admin")


def _assign(scene: Scene, user_id: UUID, role: str) -> None:
    scene.audience.roles[user_id] = scene.made.roles[user_id] = role
    scene.say("role_changed", user_id=str(user_id), role=role)


def _is_last_admin(scene: Scene, user_id: UUID) -> bool:
    admins = {member for member, role in scene.audience.roles.items() if role != MEMBER}
    return admins == {user_id}


def _depart(scene: Scene, user_id: UUID, event: str) -> None:
    """The member gets this entry and nothing after it; nothing of their devices' starts remains, not even one planned just now."""
    seq = scene.say(event, user_id=str(user_id))
    scene.made.departures.append((user_id, seq))
    del scene.audience.roles[user_id]
    for device in [device for device in scene.audience.devices.values() if device.user_id == user_id]:
        start = scene.head.conversation_id, device.device_id
        scene.made.starts.pop(start, None)
        scene.made.ended.append(start)
        del scene.audience.devices[device.device_id]
