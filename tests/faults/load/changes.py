"""Changes of people, devices and conversations, each asked for by a device and written down with its answer."""

import asyncio
from typing import Any

from tests.faults.history import ChangeAnswered, ChangeInvoked, ChangeKind
from tests.faults.load.device import Device
from tests.faults.load.identity import SignedOut, installation
from tests.faults.load.registering import outcome_of, register
from tests.faults.load.scene import Person, Scene, Talk
from tests.faults.load.web import Answer, NoAnswer

Json = dict[str, Any]
UNLINK_TRIES = 10
# Longer than a server goes on with what the former installation asked for.
APART_SECONDS = 6.0


async def ask(
    scene: Scene, actor: Device, what: ChangeKind, method: str, path: str, body: Json | None = None, **facts: Any
) -> Answer | None:
    """One attempt at a change. None when it may or may not have happened."""
    try:
        await actor.access_token()
    except (NoAnswer, SignedOut):
        return None
    call = scene.new_call()
    scene.figures.count("changes")
    scene.record(ChangeInvoked(call=call, what=what, by_user=actor.user_id, by_device=actor.device_id, **facts))
    try:
        answer = await actor.call(method, path, body)
    except NoAnswer:
        scene.record(ChangeAnswered(call=call, outcome="unknown"))
        return None
    outcome = outcome_of(answer)
    conversation = str(answer.body.get("conversation_id", "")) if outcome == "ok" else ""
    scene.record(ChangeAnswered(call=call, outcome=outcome, code=answer.code, conversation=conversation))
    return None if outcome == "unknown" else answer


# --- devices ---------------------------------------------------------------------------------------------------------------------


async def sign_in(
    scene: Scene, person: Person, *, skew: float = 0.0, former: Device | None = None, is_known: bool = True
) -> Device | None:
    """A new device of somebody, or `former` installed again. None when the servers did not take it in time.

    Who is not `is_known` is not in the history, and nobody knows of them.
    """
    me = installation(scene.rng, person.phone, former.me.device_uuid if former is not None else _uuid(scene))
    me.user_id, me.device_id = person.user_id, former.device_id if former is not None else ""
    what: ChangeKind = "reinstall" if former is not None else "link" if person.devices else "register"
    answer = await register(scene, me, what, is_known=is_known)
    if answer is None:
        return None
    me.user_id, me.device_id = str(answer.body["user_id"]), str(answer.body["device_id"])
    me.take_tokens(answer.body)
    person.user_id = me.user_id
    if is_known:
        scene.people[me.user_id] = person
        scene.meet(me.user_id, me.device_id, me.registration_id)
    return Device(scene, person, me, skew=skew)


def _uuid(scene: Scene) -> str:
    raw = f"{scene.rng.getrandbits(128):032x}"
    return f"{raw[:8]}-{raw[8:12]}-4{raw[13:16]}-8{raw[17:20]}-{raw[20:]}"


async def link(scene: Scene, person: Person) -> None:
    """One more device, which becomes the primary one."""
    device = await sign_in(scene, person)
    if device is not None:
        device.roster.talks = set(person.devices[0].roster.talks) if person.devices else set()
        person.devices.append(device)
        device.start()


async def unlink(scene: Scene, actor: Device, victim: Device) -> None:
    """Asked again until it is known: the victim goes on as long as it may be signed in."""
    victim.is_leaving = True
    try:
        await _unlinked(scene, actor, victim)
    finally:
        victim.is_leaving = False


async def _unlinked(scene: Scene, actor: Device, victim: Device) -> None:
    for _ in range(UNLINK_TRIES):
        path = f"devices/{victim.device_id}"
        answer = await ask(scene, actor, "unlink", "DELETE", path, device=victim.device_id)
        if answer is not None and (answer.status < 400 or answer.status == 404 or actor is victim):
            _moved_out(scene, victim)
            return
        if answer is not None:
            return
        if victim.has_left and actor is victim:
            # Its tokens have ended, and it cannot ask any more.
            _moved_out(scene, victim)
            return
        await asyncio.sleep(1)


def _moved_out(scene: Scene, device: Device) -> None:
    device.person.devices.remove(device)
    scene.part(device.user_id, device.device_id)
    scene.retired.append(device)
    device.retire()


async def reinstall(scene: Scene, former: Device) -> None:
    """The app is deleted with everything it had, and some time later installed again on the same phone."""
    person = former.person
    await former.vanish()
    await asyncio.sleep(APART_SECONDS)
    while (device := await sign_in(scene, person, former=former)) is None:  # noqa: ASYNC110  (asked again)
        await asyncio.sleep(1)
    device.succeed(former)
    person.devices[person.devices.index(former)] = device
    scene.retired.append(former)
    device.start()


# --- conversations ---------------------------------------------------------------------------------------------------------------


async def found(scene: Scene, creator: Device, others: list[Person]) -> Talk | None:
    """A conversation with these: direct with one, else a group in which two of them become admins."""
    users = [person.user_id for person in others]
    body: Json = {"kind": "direct", "user_id": users[0]}
    if len(users) > 1:
        body = {"kind": "group", "name": "under load", "member_ids": users}
    everybody = (creator.user_id, *users)
    answer = await ask(scene, creator, "create", "POST", "conversations", body, users=everybody)
    if answer is None or answer.code:
        return None
    conversation = str(answer.body["conversation_id"])
    roles = {creator.user_id: "owner"} | dict.fromkeys(users, "member")
    talk = scene.talks[conversation] = Talk(conversation, str(body["kind"]), roles)
    for person in [creator.person, *others]:
        for device in person.devices:
            device.roster.talks.add(conversation)
    for user_id in users[:2] if talk.kind == "group" else ():
        await give_role(scene, creator, talk, user_id, "admin")
    return talk


async def add(scene: Scene, actor: Device, talk: Talk, person: Person) -> None:
    path = f"conversations/{talk.conversation}/members"
    body = {"user_ids": [person.user_id]}
    facts: Json = {"conversation": talk.conversation, "users": (person.user_id,)}
    answer = await ask(scene, actor, "add", "POST", path, body, **facts)
    if answer is not None and not answer.code:
        talk.roles[person.user_id] = "member"
        for device in person.devices:
            device.roster.talks.add(talk.conversation)
    else:
        await look_up(scene, actor, talk)


async def remove(scene: Scene, actor: Device, talk: Talk, user_id: str) -> None:
    path = f"conversations/{talk.conversation}/members/{user_id}"
    facts: Json = {"conversation": talk.conversation, "users": (user_id,)}
    answer = await ask(scene, actor, "remove", "DELETE", path, **facts)
    if answer is not None and not answer.code:
        talk.roles.pop(user_id, None)
    else:
        await look_up(scene, actor, talk)


async def leave(scene: Scene, actor: Device, talk: Talk) -> None:
    path = f"conversations/{talk.conversation}/leave"
    facts: Json = {"conversation": talk.conversation, "users": (actor.user_id,)}
    answer = await ask(scene, actor, "leave", "POST", path, {}, **facts)
    if answer is None or not answer.code:
        talk.roles.pop(actor.user_id, None)


async def give_role(scene: Scene, actor: Device, talk: Talk, user_id: str, role: str) -> None:
    path = f"conversations/{talk.conversation}/members/{user_id}"
    facts: Json = {"conversation": talk.conversation, "users": (user_id,)}
    answer = await ask(scene, actor, "role", "PATCH", path, {"role": role}, **facts)
    if answer is not None and not answer.code:
        talk.roles[user_id] = role


async def look_up(scene: Scene, actor: Device, talk: Talk) -> None:
    """What the members really are, after an answer that leaves it open. It is asked for once; the next change asks again."""
    try:
        answer = await actor.call("GET", f"conversations/{talk.conversation}")
    except NoAnswer:
        return
    if not answer.code:
        talk.roles = {str(member["user_id"]): str(member["role"]) for member in answer.body["members"]}
