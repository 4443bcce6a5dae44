"""What the coordinator and the load generator say to each other, a JSON line each."""

import msgspec

from benchmarks.figures import Window


class Party(msgspec.Struct, frozen=True):
    """One device as the load generator needs to know it."""

    device_id: str
    registration_id: int
    access_token: str


class Pair(msgspec.Struct, frozen=True):
    """A direct conversation: one device sends, the other receives."""

    conversation_id: str
    sender: Party
    recipient: Party


class Load(msgspec.Struct, frozen=True):
    """What the load generator is to do. `processes`: whose CPU it counts, by group."""

    host: str
    port: int
    subprotocol: str
    pairs: list[Pair]
    in_flight: int
    size: int
    warm_up: float
    seconds: float
    windows: int
    processes: dict[str, list[int]]


class Connected(msgspec.Struct, frozen=True, tag="connected"):
    """All sockets are open."""

    sockets: int


class Warm(msgspec.Struct, frozen=True, tag="warm"):
    """The warm-up is over, the first window begins."""

    messages: int


class Measured(msgspec.Struct, frozen=True, tag="measured"):
    """One window is over."""

    window: Window


class Finished(msgspec.Struct, frozen=True, tag="finished"):
    """Everything that was sent has arrived once, in order.

    `early`: envelopes that had to be held back until one before them came; `slowest_ms`: the longest way from send to envelope of all.
    """

    messages: int
    early: int
    receipts: int
    slowest_ms: float


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """Something was lost, doubled, out of order or refused; the figures are worth nothing."""

    reason: str


Event = Connected | Warm | Measured | Finished | Failed
