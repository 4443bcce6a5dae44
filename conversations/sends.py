"""What goes into the log and what comes back: the values of one send."""

from uuid import UUID

import msgspec

from conversations.entries import LogEntry


class Sender(msgspec.Struct, frozen=True):
    """The device a send comes from, as its token says."""

    user_id: UUID
    device_id: int
    device_number: int


class Addressed(msgspec.Struct, frozen=True):
    """One device a send is addressed to, and what the sender believes its registration id to be."""

    device_id: int
    registration_id: int
    ciphertext: bytes | None = None


class Send(msgspec.Struct, frozen=True, kw_only=True):
    """One send, well-formed but not yet checked against the conversation."""

    conversation_id: UUID
    sender: Sender
    client_message_id: UUID
    kind: str
    messages: tuple[Addressed, ...]
    shared: bytes | None = None
    reply_to: int | None = None
    deletes: int | None = None
    expires_in: int | None = None
    urgent: bool = True

    @property
    def key(self) -> tuple[UUID, int, UUID]:
        """The idempotency key."""
        return self.conversation_id, self.sender.device_id, self.client_message_id

    @property
    def chain(self) -> tuple[UUID, int]:
        """Sends of one chain keep their order."""
        return self.conversation_id, self.sender.device_id

    @property
    def size(self) -> int:
        """Bytes this send brings to the outbox."""
        return len(self.shared or b"") + sum(64 + len(item.ciphertext or b"") for item in self.messages)


class Sent(msgspec.Struct, frozen=True):
    """A committed send: its place in the log. `duplicate`: it was committed before."""

    message_id: int
    seq: int
    sent_ms: int
    duplicate: bool = False


class Skipped(msgspec.Struct, frozen=True):
    """Somebody else holds the conversation's row, or it has to catch up with its store first; nothing was decided."""


SKIPPED = Skipped()


class Committed(msgspec.Struct, frozen=True):
    """What one transaction did: an outcome per send, in their order, and every entry it wrote, system entries included.

    `behind`: skipped conversations whose heads are of an earlier era and have to catch up with their store first.
    """

    outcomes: tuple[Sent | Exception | Skipped, ...]
    entries: tuple[LogEntry, ...] = ()
    behind: frozenset[UUID] = frozenset()
