"""Gateway: what wakes a device through one provider, and what it promises.

Implementations stand beside this file: `console`, `webpush`, `fcm`, `apns`. The last two want packages of their own, imported when they are configured.
"""

from typing import Protocol

import msgspec

from devices.push_tokens import Address

# All that a provider is ever given for a device to read. Always the same: not even its length tells anything.
WAKE_UP = b'{"wake":true}'
# How long a provider keeps a wake-up for a device that is off. A call that nobody could take is over soon.
MESSAGE_LASTS_SECONDS = 7 * 24 * 3600
CALL_LASTS_SECONDS = 45


class Knock(msgspec.Struct, frozen=True):
    """One wake-up. `is_call`: somebody is waiting for it now."""

    device_id: int
    address: Address
    is_call: bool = False

    @property
    def lasts_seconds(self) -> int:
        """How long it is worth anything."""
        return CALL_LASTS_SECONDS if self.is_call else MESSAGE_LASTS_SECONDS


class PushFailure(Exception):
    """The provider did not take it. No text: it might name an endpoint or a token."""


class Gone(PushFailure):
    """Nobody is at this address any more, and nobody will be: the provider says so of this one, and would not if a setting of the server were wrong."""


class Refused(PushFailure):
    """The provider does not take it from this server, however often it is asked."""


class TryAgain(PushFailure):
    """The provider does not take it now. `after_seconds` is its own advice, if it gave any."""

    def __init__(self, after_seconds: float | None = None) -> None:
        super().__init__()
        self.after_seconds = after_seconds


class Gateway(Protocol):
    """One provider. Coroutines of one event loop, may run concurrently."""

    def lane(self, address: Address) -> str:
        """Whom this address keeps busy: what hangs or fails in one lane is not waited for in another."""

    async def wake(self, knock: Knock) -> None:
        """Return when the provider has taken it. Raises Gone, Refused or TryAgain within 5 s, and nothing else for a fault of the provider."""

    async def close(self) -> None:
        """Release connections. Idempotent."""
