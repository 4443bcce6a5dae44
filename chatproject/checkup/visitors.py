"""Those who live the scripted life: devices of people who are gone when it is over."""

import secrets
import uuid
from typing import Any

from accounts.ids import uuid7
from chatproject.checkup import keys
from chatproject.checkup.keys import IdentityKey, b64
from chatproject.checkup.server import JsonObject, Server, Socket
from chatproject.checkup.table import Unwell
from devices.linking import STATEMENT

CIPHERTEXT_BYTES = 64


class Visitor:
    """One device. Signed in it has ids and tokens; connected it has a socket."""

    def __init__(self, server: Server, name: str) -> None:
        self.name = name
        self.user_id = ""
        self.device_id = ""
        self.identity = IdentityKey()
        self.device_uuid = str(uuid.uuid4())
        self.registration_id = keys.any_registration_id()
        self._server = server
        self._token = ""
        self._socket: Socket | None = None

    @property
    def socket(self) -> Socket:
        if self._socket is None:
            raise Unwell("the device is not connected")
        return self._socket

    def call(self, method: str, path: str, body: JsonObject | None = None, *, status: int = 200) -> JsonObject:
        """As `Server.call`, with this device's token."""
        return self._server.call(method, path, body, authorization=f"Bearer {self._token}", status=status)

    # --- signing in and out --------------------------------------------------------------------------------------------------

    def register(self, registration_token: str) -> None:
        body = {"registration_token": registration_token, "device": self.device_input()}
        self.sign_in(self._server.call("POST", "auth/register-device", body, status=201))

    def let_in(self, other: "Visitor") -> None:
        """Link the other installation, as the primary: it claims, this device signs, it fetches its tokens."""
        link = self.call("POST", "devices/link", {}, status=201)
        claim = {"link_token": link["link_token"], "device": other.device_input()}
        claimed = self._server.call("POST", "devices/link/claim", claim, status=201)
        named = uuid.UUID(self.user_id).bytes, other.identity.public, uuid.UUID(other.device_uuid).bytes
        signed = b"".join((STATEMENT, *named))
        approval = {"link_id": link["link_id"], "signature": b64(self.identity.sign(signed))}
        self.call("POST", "devices/link/approve", approval)
        secret = f"Link {claimed['claim_secret']}"
        completed = self._server.call("GET", f"devices/link/{link['link_id']}", authorization=secret)
        other.sign_in(completed["registration"])

    def delete_account(self) -> None:
        """Afterwards this account is no more: its token is refused."""
        self.call("DELETE", "account", {})
        self.is_refused()

    def is_refused(self) -> None:
        """Raises Unwell unless this device's token is worth nothing any more."""
        self.call("GET", "profile", status=401)

    def sign_in(self, registration: JsonObject) -> None:
        self.user_id, self.device_id = registration["user_id"], registration["device_id"]
        self._token = registration["access_token"]

    def device_input(self) -> JsonObject:
        return keys.device_input(
            self.identity, device_uuid=self.device_uuid, name=self.name, registration_id=self.registration_id
        )

    # --- talking ---------------------------------------------------------------------------------------------------------------

    def connect(self) -> None:
        self._socket = self._server.socket(self._token)

    def disconnect(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def send(self, conversation_id: str, to: list["Visitor"]) -> tuple[JsonObject, dict[str, str]]:
        """The `sent` frame of a message to these devices, and what each of them is to get."""
        texts = {other.device_id: b64(secrets.token_bytes(CIPHERTEXT_BYTES)) for other in to}
        messages: list[dict[str, Any]] = [
            {
                "device_id": other.device_id,
                "registration_id": other.registration_id,
                "ciphertext": texts[other.device_id],
            }
            for other in to
        ]
        frame = {"type": "send", "ref": "checkup", "conversation_id": conversation_id, "kind": "message"}
        self.socket.say(frame | {"client_message_id": str(uuid7()), "messages": messages})
        return self.socket.expect("sent", ref="checkup"), texts

    def receive(self, sent: JsonObject, ciphertext: str) -> None:
        """Get the message as it was meant for this device, and acknowledge it. Raises Unwell when it is not."""
        envelope = self.socket.expect("envelope", message_id=sent["message_id"])
        if envelope["ciphertext"] != ciphertext or envelope["seq"] != sent["seq"]:
            raise Unwell("the envelope is not what was sent to this device")
        self.socket.say({"type": "ack", "message_ids": [envelope["message_id"]]})
