"""The scripted life: two people, three devices, a few messages, and nothing left of them."""

from functools import partial
from pathlib import Path
from uuid import UUID

from chatproject.checkup import codes, stores
from chatproject.checkup.server import JsonObject, Server
from chatproject.checkup.table import StepFailed, Table, Unwell
from chatproject.checkup.visitors import Visitor
from messaging.close_codes import UNAUTHENTICATED
from messaging.envelopes import Mailbox


class Life:
    """Alice with a phone and a laptop, Bob with a phone. `live` is the life, `end` what is done after it, however it went."""

    def __init__(self, server: Server, table: Table, code_file: Path | None) -> None:
        self._server = server
        self._table = table
        self._codes = code_file
        self.alice = Visitor(server, "Alice's phone")
        self.laptop = Visitor(server, "Alice's laptop")
        self.bob = Visitor(server, "Bob's phone")
        self._conversation_id = ""

    def live(self) -> None:
        """Every step in its order. Raises StepFailed at the first that fails."""
        step = self._table.step
        step(f"the server at {self._server.url} is ready", self._is_ready)
        for visitor in (self.alice, self.bob):
            step(f"{visitor.name} proves a number and registers", partial(self._register, visitor))
        step("PostgreSQL here has what the server has registered", lambda: stores.has_device(self.bob.device_id))
        step("Alice's phone links a laptop", lambda: self.alice.let_in(self.laptop))
        step("Bob fetches the prekey bundles of both", self._fetch_bundles)
        step("all three open their sockets", self._connect)
        sent = step(
            "Bob sends; each device gets its own ciphertext", lambda: self._talk(self.bob, [self.alice, self.laptop])
        )
        step("the laptop answers; phone and Bob get it", lambda: self._talk(self.laptop, [self.alice, self.bob]))
        step("the history has it", lambda: self._read_history(sent))
        step("the message store here has it", lambda: self._is_kept(sent))
        step("the laptop is unlinked; its socket closes", self._unlink)
        step("Bob sends on to the phone alone", lambda: self._talk(self.bob, [self.alice]))

    def end(self) -> None:
        """Delete the accounts there are. Whatever cannot be deleted is named in the table."""
        for visitor in (self.alice, self.laptop, self.bob):
            visitor.disconnect()
        for visitor in (self.alice, self.bob):
            if visitor.user_id:
                self._delete(visitor)

    def _delete(self, visitor: Visitor) -> None:
        try:
            self._table.step(f"{visitor.name} deletes the account", visitor.delete_account)
        except StepFailed:
            self._table.note("left behind", f"the account {visitor.user_id}")

    def _is_ready(self) -> None:
        answer = self._server.answer("GET", "/health/ready")
        try:
            found = answer.json()
            unwell = [name for name, state in found["checks"].items() if state != "ok"]
        except (ValueError, KeyError, TypeError, AttributeError):
            raise Unwell("something else answers there") from None
        if unwell:
            sentence = f"it does without {', '.join(unwell)}"
            raise Unwell(sentence)

    def _register(self, visitor: Visitor) -> None:
        number = codes.any_number()
        if self._codes is None:
            visitor.register(codes.vouched_for(number))
        else:
            visitor.register(codes.proven_by_code(self._server, number, self._codes))

    def _fetch_bundles(self) -> None:
        found = self.bob.call("GET", f"keys/{self.alice.user_id}/*")["devices"]
        if {bundle["device_id"] for bundle in found} != {self.alice.device_id, self.laptop.device_id}:
            raise Unwell("the bundles are not those of Alice's two devices")
        if not all("one_time_prekey" in bundle for bundle in found):
            raise Unwell("a bundle has no one-time prekey, though five were uploaded")

    def _connect(self) -> None:
        for visitor in (self.alice, self.laptop, self.bob):
            visitor.connect()
        opened = self.bob.call("POST", "conversations", {"kind": "direct", "user_id": self.alice.user_id}, status=201)
        self._conversation_id = opened["conversation_id"]

    def _talk(self, sender: Visitor, to: list[Visitor]) -> JsonObject:
        sent, texts = sender.send(self._conversation_id, to)
        for other in to:
            other.receive(sent, texts[other.device_id])
        return sent

    def _read_history(self, sent: JsonObject) -> None:
        page = self.alice.call("GET", f"conversations/{self._conversation_id}/messages")
        if not any(item["message_id"] == sent["message_id"] and item["seq"] == sent["seq"] for item in page["items"]):
            raise Unwell("the message that was sent is not in it")

    def _is_kept(self, sent: JsonObject) -> None:
        reader = Mailbox(UUID(self.alice.user_id), int(self.alice.device_id))
        stores.has_message(reader, self._conversation_id, sent["seq"], sent["message_id"])

    def _unlink(self) -> None:
        self.alice.call("DELETE", f"devices/{self.laptop.device_id}", {}, status=204)
        code = self.laptop.socket.close_code()
        if code != UNAUTHENTICATED:
            sentence = f"the socket was closed with {code} instead of {UNAUTHENTICATED}"
            raise Unwell(sentence)
        self.laptop.is_refused()
