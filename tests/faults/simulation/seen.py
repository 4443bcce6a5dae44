"""What a client sees of the simulated installation, and of what it is answered over HTTP."""

from typing import TYPE_CHECKING, Any, Protocol
from uuid import UUID

import msgspec

from messaging.envelopes import Envelope
from messaging.frames import envelope_frame
from messaging.resolving import Resolved
from tests.faults import history
from tests.faults.simulation.network import Network
from tests.faults.simulation.time_of_its_own import SimulatedLoop
from tests.faults.simulation.workers import Worker

if TYPE_CHECKING:
    from tests.faults.simulation.people import Device

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder()


class Installation(Protocol):
    """What a client sees of the installation."""

    network: Network
    people: SimulatedLoop
    has_ended: bool

    def tell(self, event: history.AnyEvent) -> None: ...
    def any_worker(self) -> Worker | None: ...
    def next_number(self) -> int: ...
    def wall_ms(self) -> int: ...
    def uuid7(self, now_ms: int) -> UUID: ...
    def is_unlinked(self, device_id: int) -> bool: ...
    def is_member(self, user_id: UUID, conversation_id: UUID) -> bool: ...
    def believed_devices(self, device: "Device", conversation_id: UUID) -> list[tuple[int, int]]: ...
    def ask_devices(self, device: "Device", conversation_id: UUID) -> None: ...


def as_frame(envelope: Envelope) -> dict[str, Any]:
    """The envelope as it would have come over the socket."""
    return _decoder.decode(_encoder.encode(envelope_frame(envelope)))  # type: ignore[no-any-return]


def shown_of(item: Resolved) -> dict[str, Any] | None:
    """The envelope that came with an answer, if one did."""
    return None if item.envelope is None else as_frame(item.envelope)
