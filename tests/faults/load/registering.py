"""Registration written into the history: each attempt is a call of its own, and the same installation again gets the same ids."""

from tests.faults.history import ChangeAnswered, ChangeInvoked, ChangeKind, Outcome
from tests.faults.load.identity import Identity, Refused, again, device_input, registration_token
from tests.faults.load.scene import Scene
from tests.faults.load.web import Answer, Json, NoAnswer


async def register(scene: Scene, me: Identity, what: ChangeKind, *, is_known: bool = True) -> Answer | None:
    """The registration, or None when the servers did not give one in time. `is_known`: the history is told."""
    give_up = scene.plan.give_up
    try:
        token = await registration_token(scene.web, scene.codes, me.phone, give_up)
        body: Json = {"registration_token": token, "device": device_input(me)}
        answer = await again(lambda: _attempt(scene, me, what, body, is_known=is_known), give_up)
    except (NoAnswer, Refused):
        return None
    return None if answer.code else answer


async def _attempt(scene: Scene, me: Identity, what: ChangeKind, body: Json, *, is_known: bool) -> Answer:
    if not is_known:
        return await scene.web.call("POST", "auth/register-device", body)
    call = scene.new_call()
    scene.record(ChangeInvoked(call=call, what=what, by_user=me.user_id, device=me.device_id))
    try:
        answer = await scene.web.call("POST", "auth/register-device", body)
    except NoAnswer:
        scene.record(ChangeAnswered(call=call, outcome="unknown"))
        raise
    user, device = str(answer.body.get("user_id", "")), str(answer.body.get("device_id", ""))
    scene.record(ChangeAnswered(call=call, outcome=outcome_of(answer), code=answer.code, user=user, device=device))
    return answer


def outcome_of(answer: Answer) -> Outcome:
    """What an answer says of whether it happened."""
    if not answer.code and answer.status < 400:
        return "ok"
    return "unknown" if answer.code in ("STORAGE_UNAVAILABLE", "") else "refused"
