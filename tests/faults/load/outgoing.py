"""The sending side of a device: messages made, addressed, put on the socket or on HTTP; and signing in again when that has to be."""

import base64
import time
from typing import TYPE_CHECKING, Any

from tests.faults.history import ReadSaid
from tests.faults.load import payload, registering
from tests.faults.load.chain import GAVE_UP, Chain, Outgoing
from tests.faults.load.scene import Scene
from tests.faults.load.web import NoAnswer

if TYPE_CHECKING:
    from tests.faults.load.device import Device

Json = dict[str, Any]
NOT_THERE = ("NOT_FOUND", "FORBIDDEN")


class Posting:
    """What one device sends."""

    def __init__(self, scene: Scene, device: "Device") -> None:
        self._scene = scene
        self._device = device
        self._numbers: dict[str, int] = {}
        self._last_mid: dict[str, str] = {}
        # By conversation, the last message with a content for everybody that is neither deleted nor expires: mid and message_id.
        self._shared: dict[str, tuple[str, str]] = {}

    def count_on(self, former: "Posting") -> None:
        self._numbers = dict(former._numbers)

    def new_chain(self, conversation: str) -> Chain:
        plan = self._scene.plan
        return Chain(
            conversation,
            self._device,
            record=self._scene.record,
            new_call=self._scene.new_call,
            accepted=lambda item, seq, message_id, duplicate: self._accepted(
                conversation, item, seq, message_id, duplicate=duplicate
            ),
            refused=lambda item, answer: self._refused(conversation, item, answer),
            width=self._scene.rng.randint(1, plan.pipelining),
            give_up=plan.give_up,
        )

    def say_something(self, conversation: str) -> bool:
        """Want one more message there. False when there is no room for it, or no clock yet."""
        device, now = self._device, time.monotonic()
        chain = device.chain(conversation)
        if not chain.has_room or not device.clock.is_set or device.manner == "slow":
            return False
        number = self._numbers[conversation] = self._numbers.get(conversation, 0) + 1
        mid = device.clock.new_mid()
        digest = payload.digest_of(self._scene.mark, device.device_id, conversation, mid, number)
        over_http = self._scene.rng.random() < self._scene.plan.http_share
        self._scene.figures.wanted(mid, now)
        chain.want(Outgoing(mid, number, digest, now, over_http, *self._fate(conversation, number)), now)
        return True

    def _fate(self, conversation: str, number: int) -> tuple[int, tuple[str, str] | None]:
        """In how many seconds a message expires, and what it deletes."""
        plan = self._scene.plan
        expires_in = plan.expires_in if self._is_every_nth(number, plan.expiring_every) else 0
        is_deletion = self._is_every_nth(number, plan.deleting_every)
        return expires_in, self._shared.pop(conversation, None) if is_deletion else None

    def post(self, conversation: str, item: Outgoing) -> bool:
        """Put an attempt on its way."""
        if item.over_http:
            return self._begin_over_http(conversation, item)
        session = self._device.session
        if session is None or not session.is_usable or self._device.manner == "slow":
            return False
        fields = self._fields(conversation, item, as_text=session.is_json)
        session.say([{"type": "send", "ref": item.call, "conversation_id": conversation} | fields])
        return True

    def read(self, conversation: str, seq: int) -> None:
        session = self._device.session
        if session is not None and session.is_usable:
            device = self._device
            said = ReadSaid(user=device.user_id, device=device.device_id, conversation=conversation, seq=seq)
            self._scene.record(said)
            session.say([{"type": "read", "conversation_id": conversation, "seq": seq}])

    def _fields(self, conversation: str, item: Outgoing, *, as_text: bool) -> Json:
        """Sealed anew for each attempt, as after a correction; the same id and digest all the same."""
        mark, size, me = self._scene.mark, self._scene.plan.size, self._device.device_id

        def content(device_id: str) -> str | bytes:
            raw = payload.pack(mark, me, conversation, item.mid, item.number, device_id, size=size)
            return base64.b64encode(raw).decode() if as_text else raw

        roster = self._device.roster.of(conversation)
        copies: list[Json] = [{"device_id": one, "registration_id": installed} for one, installed in roster.items()]
        fields: Json = {"client_message_id": item.mid, "kind": "message", "messages": copies}
        if item.expires_in:
            fields["expires_in"] = item.expires_in
        if item.deletes:
            fields["deletes"] = item.deletes[1]
        if self._is_every_nth(item.number, self._scene.plan.shared_every):
            return fields | {"shared": content(payload.EVERYBODY)}
        for copy in copies:
            copy["ciphertext"] = content(copy["device_id"])
        return fields

    def _is_every_nth(self, number: int, every: int) -> bool:
        return bool(every) and number % every == 0

    def _begin_over_http(self, conversation: str, item: Outgoing) -> bool:
        """Not without a token: the time to get one is no part of the attempt."""
        if not self._device.has_token:
            self._device.errand(self._device.freshen())
            return False
        self._device.errand(self._post_over_http(conversation, item, item.call))
        return True

    async def _post_over_http(self, conversation: str, item: Outgoing, call: str) -> None:
        body = self._fields(conversation, item, as_text=True)
        if (before := self._last_mid.get(conversation)) is not None:
            body["after_client_message_id"] = before
        try:
            answer = await self._device.call("POST", f"conversations/{conversation}/messages", body)
        except NoAnswer:
            frame: Json = {"type": "error", "error_code": "gone"}
        else:
            frame = {"type": "error" if answer.code else "sent"} | answer.body
        self._device.chain(conversation).answered(call, frame, time.monotonic())

    def _accepted(self, conversation: str, item: Outgoing, seq: int, message_id: str, *, duplicate: bool) -> None:
        now = time.monotonic()
        self._last_mid[conversation] = item.mid
        if self._is_every_nth(item.number, self._scene.plan.shared_every) and not item.expires_in:
            self._shared[conversation] = item.mid, message_id
        self._scene.figures.accepted(item.mid, now)
        self._scene.figures.count("duplicates", duplicate)
        self._device.inbox.sent(conversation, seq, message_id, item.mid, item.digest, now)

    def _refused(self, conversation: str, item: Outgoing, answer: Json) -> None:
        code = str(answer["error_code"])
        self._scene.figures.count("gave_up" if code == GAVE_UP else "refused")
        if code in NOT_THERE:
            self._device.roster.forget(conversation)
        elif "server_time" in answer:
            # The id is ahead of the server's clock, which is not what it was when the socket was opened.
            self._device.clock.set(str(answer["server_time"]))
        elif code != GAVE_UP:
            self._scene.figures.strange(f"{item.mid} was refused with {code}")

    async def sign_in_again(self) -> None:
        """The tokens have ended although nobody ended them: sign the same installation in again."""
        device, scene = self._device, self._scene
        if device.is_retired:
            return
        if device.is_leaving:
            device.has_left = True
            return
        scene.figures.count("signed_out")
        scene.figures.strange(f"device {device.device_id} was signed out")
        answer = await registering.register(scene, device.me, "register")
        if answer is not None:
            device.me.take_tokens(answer.body)
