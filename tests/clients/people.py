"""Alice, Bob and their devices, as profiles on disk that hand each other ciphertexts without a server between."""

import itertools
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from waypost_client.clock import uuid7
from waypost_client.events import Kept, Message
from waypost_client.inbox import Inbox
from waypost_client.keyring import Keyring
from waypost_client.payload import Text, pack
from waypost_client.peers import Peer, Peers
from waypost_client.sessions import Address, Sessions, binding
from waypost_client.state import State
from waypost_client.values import Bundle, Envelope, Sent

ALICE = str(uuid.UUID(int=0xA11CE))
BOB = str(uuid.UUID(int=0xB0B))
CONVERSATION = str(uuid.UUID(int=0xC0))
OTHER_CONVERSATION = str(uuid.UUID(int=0xC1))
NOON = datetime(2025, 11, 21, 12, 0, tzinfo=UTC)
_message_ids = itertools.count(7283947502931968)


@dataclass
class Phone:
    """One device: its profile, and what the client builds on it."""

    folder: Path
    user_id: str
    device_id: str

    def __post_init__(self) -> None:
        self.state = State(self.folder)
        self.keyring = Keyring(self.state)
        if self.state.fact("identity") is None:
            with self.state.transaction():
                self.keyring.create()
                self.state.remember(user_id=self.user_id, device_id=self.device_id)
        self.peers = Peers(self.state)
        self.sessions = Sessions(self.state, self.keyring, self.peers)
        self.inbox = Inbox(self.state, self.sessions, self.peers)
        self.inbox.watch(0)

    def restarted(self) -> "Phone":
        """The same device after its process ended; nothing but the disk is left."""
        self.state.close()
        return Phone(self.folder, self.user_id, self.device_id)

    @property
    def address(self) -> Address:
        return Address(self.user_id, self.device_id)

    def bundle(self, *, with_prekey: bool = True, with_last_resort: bool = False) -> Bundle:
        """What the server would hand out for this device, a fresh one-time prekey each time."""
        with self.state.transaction():
            prekey = self.keyring.one_time_prekeys()[0]
            self.keyring.uploaded([prekey])
        return Bundle(
            device_id=self.device_id,
            registration_id=self.keyring.registration_id,
            identity_key=self.keyring.identity_key,
            signed_prekey=self.keyring.signed_prekey(),
            one_time_prekey=prekey if with_prekey else None,
            last_resort_prekey=self.keyring.last_resort_prekey() if with_last_resort else None,
        )

    def seal(
        self, to: "Phone", text: str, seq: int, *, bundle: Bundle | None = None, start: bool | None = None
    ) -> Envelope:
        """An envelope for `to`, by a new session when a bundle is given."""
        client_message_id = str(uuid7(seq))
        peer = Peer(to.device_id, to.user_id, to.keyring.registration_id, to.keyring.identity_key)
        plaintext, bound_to = pack(Text(text=text, sent_at=NOON)), binding(CONVERSATION, client_message_id)
        with self.state.transaction():
            if bundle is not None:
                self.peers.meet(peer)
                ciphertext = self.sessions.start(peer, bundle, plaintext, bound_to)
            else:
                ciphertext = self.sessions.seal(peer, plaintext, bound_to)
        return Envelope(
            message_id=str(next(_message_ids)),
            conversation_id=CONVERSATION,
            seq=seq,
            kind="message",
            client_message_id=client_message_id,
            start=start,
            sender_user_id=self.user_id,
            sender_device_id=self.device_id,
            ciphertext=ciphertext,
            sent_at=NOON,
        )

    def receive(self, *envelopes: Envelope, now: float = 0) -> list[Kept]:
        """Take envelopes in; gives the events that are new since the last call."""
        self.inbox.receive(envelopes, now)
        return self.told()

    def accepted(self, envelope: Envelope, text: str = "", *, now: float = 0) -> None:
        """The server took an own envelope: its `sent` fills the seq."""
        assert envelope.client_message_id
        sent = Sent(
            conversation_id=envelope.conversation_id,
            client_message_id=envelope.client_message_id,
            message_id=envelope.message_id,
            seq=envelope.seq,
            sent_at=NOON,
        )
        message = Message(
            conversation_id=sent.conversation_id,
            seq=sent.seq,
            message_id=sent.message_id,
            client_message_id=sent.client_message_id,
            sender_user_id=self.user_id,
            sender_device_id=self.device_id,
            text=text,
            sent_at=NOON,
            own=True,
        )
        with self.state.transaction():
            self.inbox.accept(sent, message, now)

    def told(self) -> list[Kept]:
        events = self.inbox.events_after(0, 1000)
        if events:
            self.inbox.seen(events[-1][0])
        return [event for _, event in events]

    def sessions_with(self, other: "Phone") -> int:
        found = self.state.db.execute(
            "SELECT count(*) FROM sessions WHERE device_id = ?", (other.device_id,)
        ).fetchone()
        return int(found[0])
