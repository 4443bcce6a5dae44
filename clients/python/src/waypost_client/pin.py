"""The PIN of one's account, and the registration lock that it opens."""

from datetime import datetime

from .api import Api
from .values import Value


class PinStatus(Value, frozen=True, kw_only=True):
    """What the server says of the PIN. `locked_until`: no try is left before."""

    has_pin: bool
    registration_lock: bool = False
    attempts_remaining: int = 0
    locked_until: datetime | None = None


class Pin:
    """Wrong PINs are Refused with the `attempts_remaining` of 24 hours among the facts; without any left, RATE_LIMITED."""

    def __init__(self, api: Api) -> None:
        self._api = api

    async def status(self) -> PinStatus:
        return await self._api.call("GET", "auth/pin", PinStatus)

    async def set(self, pin: str, *, current: str | None = None, registration_lock: bool | None = None) -> PinStatus:
        """Set a PIN of 4 to 32 characters, or change it with the current one. A lock that is not named stays as it is, first off.

        The first one is set by the primary device alone; others are Refused with FORBIDDEN.
        """
        wanted = {"pin": pin, "current_pin": current, "registration_lock": registration_lock}
        body = {name: value for name, value in wanted.items() if value is not None}
        return await self._api.call("PUT", "auth/pin", PinStatus, body=body)

    async def verify(self, pin: str) -> None:
        """Return when this is the PIN."""
        await self._api.call("POST", "auth/pin/verify", body={"pin": pin})

    async def remove(self, current: str) -> None:
        """Remove the PIN, and the lock with it."""
        await self._api.call("DELETE", "auth/pin", body={"current_pin": current})
