"""The rows of the matrix: for each operation what is asked, and what somebody with a valid token is answered by whose ids they name.

Whoever has no valid token gets 401 from every operation that wants one; that needs no column. The admin is a person like any other here: what
staff may do is done in the web admin.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field

from accounts.ids import uuid7
from tests.cast import Installation, JsonObject, Keys, b64
from tests.security.world import Ids

Body = Callable[[Ids], JsonObject]


@dataclass(frozen=True)
class Row:
    """Expected statuses by column. None: the operation names nothing of anybody, so only `own` is asked.

    `shunned`: where it differs, another's for one whom the victim blocks. `admin`: where the own differs for staff. `public`: the answer about another
    is everybody's to see. `is_fresh`: the own is asked by somebody made for it, since it ends what the others need.
    """

    own: int
    another: int | None = None
    unknown: int | None = None
    ended: int | None = None
    shunned: int | None = None
    admin: int | None = None
    public: bool = False
    is_fresh: bool = False
    body: Body | None = None
    query: dict[str, str] = field(default_factory=dict)

    def expected(self, column: str, *, shunned: bool = False, admin: bool = False) -> int | None:
        if column == "own":
            return self.admin if admin and self.admin is not None else self.own
        if column == "another's":
            return self.shunned if shunned and self.shunned is not None else self.another
        return self.unknown if column == "unknown" else self.ended


def hidden(own: int, body: Body | None = None, *, is_fresh: bool = False, query: dict[str, str] | None = None) -> Row:
    """What is not the caller's is not there: the same 404 whether it is another's, nobody's, or was the caller's once."""
    return Row(own, 404, 404, 404, body=body, is_fresh=is_fresh, query=query or {})


def alone(own: int, body: Body | None = None, *, is_fresh: bool = False, admin: int | None = None) -> Row:
    """It is about the caller and nobody else."""
    return Row(own, body=body, is_fresh=is_fresh, admin=admin)


def fields(**values: object) -> Body:
    return lambda _: dict(values)


def _device() -> JsonObject:
    return Installation(name="nobody's").device_input(1)


def _send(ids: Ids) -> JsonObject:
    """To a device that does not have to get it: whoever is let in is told of the right ones."""
    addressed = [{"device_id": ids.device_id, "registration_id": ids.registration_id, "ciphertext": "eA=="}]
    return {"client_message_id": str(uuid7()), "kind": "message", "messages": addressed, "reply_to": ids.message_id}


def _approval(ids: Ids) -> JsonObject:
    return {"link_id": ids.link_id, "reject": True}


ROWS: dict[str, Row] = {
    # --- signing in: open to everybody, and each secret is looked up by itself ---
    "POST auth/request-otp": alone(200, lambda _: {"phone_number": Installation().phone_number}),
    "POST auth/verify-otp": alone(400, lambda ids: {"otp_session_id": ids.conversation_id, "code": "000000"}),
    "POST auth/register-device": alone(401, lambda _: {"registration_token": "none", "device": _device()}),
    "POST auth/refresh": alone(401, fields(refresh_token=secrets.token_urlsafe(32))),
    "POST auth/logout": alone(204, fields(), is_fresh=True),
    "DELETE account": alone(200, fields(), is_fresh=True, admin=403),
    # --- people ---
    "GET profile": alone(200),
    "PATCH profile": alone(200, fields(bio="about me")),
    "GET users/{user_id}": Row(200, 200, 404, 404, public=True),
    "POST users/lookup": Row(
        200, 200, 200, 200, body=lambda ids: {"usernames": ["planted_alice", ids.user_id[:8]]}, public=True
    ),
    "GET relationships": alone(200),
    "GET relationships/{user_id}": Row(200, 200, 404, 404, public=True),
    "PUT relationships/{user_id}": Row(400, 200, 404, 404, body=fields(state="friends"), public=True),
    "DELETE relationships/{user_id}": Row(204, 204, 404, 404, body=fields()),
    "GET settings/{key}": alone(200),
    "PUT settings/{key}": alone(200, fields(value="dark")),
    "GET notifications/preferences": alone(200),
    "PUT notifications/preferences": alone(200, fields(push_enabled=True)),
    # --- the PIN ---
    "GET auth/pin": alone(200),
    "POST auth/pin/verify": alone(404, fields(pin="1234")),
    "DELETE auth/pin": alone(404, fields(current_pin="1234")),
    "PUT auth/pin": alone(200, fields(pin="1234"), is_fresh=True),
    # --- devices and linking ---
    "GET devices": alone(200),
    "PATCH devices/{device_id}": hidden(200, fields(name="renamed")),
    "DELETE devices/{device_id}": hidden(409, fields()),
    "PUT devices/me/push-token": alone(204, fields(provider="none")),
    "POST devices/link": alone(201, fields()),
    "POST devices/link/claim": alone(404, lambda _: {"link_token": "none", "device": _device()}),
    "GET devices/link/{link_id}": Row(200, 404, 404, 200),
    "POST devices/link/approve": Row(409, 404, 404, 200, body=_approval),
    # --- keys ---
    "PUT keys": alone(200, lambda _: {"one_time_prekeys": [Keys().prekey(3)]}),
    "GET keys/count": alone(200),
    "PUT keys/signed": alone(422, lambda _: {"signed_prekey": Keys().signed_prekey(77)}),
    "POST keys/check": alone(200, fields(digest=b64(bytes(32)))),
    "GET keys/{user_id}/identities": Row(200, 200, 404, 404, public=True, shunned=404),
    "GET keys/{user_id}/{device_id}": Row(200, 200, 404, 404, public=True, shunned=404),
    # --- conversations ---
    "GET conversations": alone(200),
    "POST conversations": Row(
        400, 201, 404, 404, shunned=404, public=True, body=lambda ids: {"kind": "direct", "user_id": ids.user_id}
    ),
    "GET conversations/{conversation_id}": hidden(200),
    "PATCH conversations/{conversation_id}": hidden(200, fields(name="renamed")),
    "POST conversations/{conversation_id}/leave": hidden(409, fields()),
    "GET conversations/{conversation_id}/members": hidden(200),
    "POST conversations/{conversation_id}/members": hidden(409, lambda ids: {"user_ids": [ids.user_id]}),
    "PATCH conversations/{conversation_id}/members/{user_id}": hidden(200, fields(role="owner")),
    "DELETE conversations/{conversation_id}/members/{user_id}": hidden(409, fields()),
    "PUT conversations/{conversation_id}/mute": hidden(200, fields(muted_until=None, pinned=True)),
    "GET conversations/{conversation_id}/messages": hidden(200),
    "POST conversations/{conversation_id}/messages": hidden(409, _send),
    "GET conversations/{conversation_id}/resolve": hidden(200, query={"from": "1", "to": "2"}),
}
