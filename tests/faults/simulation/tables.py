"""What the simulated PostgreSQL keeps: as much of each row as the service asks for."""

from collections.abc import Iterator
from uuid import UUID

import msgspec


class Conversation(msgspec.Struct):
    kind: str
    source: str = "default"
    next_seq: int = 1
    last_message_id: int = 0
    last_position: int = 0
    blocked: bool = False


class Member(msgspec.Struct):
    conversation_id: UUID
    user_id: UUID
    role: str
    joined_seq: int
    left_seq: int | None = None
    last_read_seq: int = 0


class Device(msgspec.Struct):
    id: int
    user_id: UUID
    registration_id: int
    number: int
    created_ms: int
    active: bool = True
    mailbox_from: int = 0
    conn_id: int = 0
    tokens: bool = True
    mailbox_full: bool = False
    pending_rows: int = 0
    pending_bytes: int = 0
    stuck_message_id: int = 0
    stuck_times: int = 0


class Start(msgspec.Struct, frozen=True):
    from_seq: int
    envelope_seq: int | None
    mailbox_from: int


class Entry(msgspec.Struct, frozen=True):
    """A ledger row."""

    conversation_id: UUID
    seq: int
    sender_device_id: int
    client_message_id: UUID
    sender_user_id: UUID | None
    kind: str
    urgent: bool
    message_id: int
    position: int
    kept_ms: int
    expires_ms: int | None
    source: str


class Gap(msgspec.Struct):
    device_id: int
    conversation_id: UUID
    from_seq: int
    to_seq: int
    message_id: int
    position: int
    kept_ms: int
    skips: bool = False
    told: bool = False


class Waiting(msgspec.Struct):
    """An outbox row."""

    source: str
    position: int
    kept_ms: int
    claimed_until_ms: float
    bundle: bytes
    deletes_seq: int | None = None
    failures: int = 0


class Tables:
    """What is committed."""

    def __init__(self) -> None:
        self.users: set[UUID] = set()
        self.devices: dict[int, Device] = {}
        self.conversations: dict[UUID, Conversation] = {}
        self.members: list[Member] = []
        self.starts: dict[tuple[UUID, int], Start] = {}
        self.ledger: dict[tuple[UUID, int], Entry] = {}
        self.known: dict[tuple[UUID, int, UUID], Entry] = {}
        self.outbox: dict[tuple[UUID, int], Waiting] = {}
        self.gaps: list[Gap] = []
        self.beat = 0
        # The run of the server in which it was last compared with the message store.
        self.compared_run = 0

    def stays(self, conversation_id: UUID) -> Iterator[Member]:
        """Those who are in the conversation now."""
        return (m for m in self.members if m.conversation_id == conversation_id and m.left_seq is None)

    def devices_of(self, user_id: UUID) -> list[Device]:
        """Also those that are unlinked, by id."""
        return [device for _, device in sorted(self.devices.items()) if device.user_id == user_id]
