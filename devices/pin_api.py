"""HTTP: one's PIN."""

from typing import Annotated
from uuid import UUID

from ninja import Router

from accounts import pins
from accounts.schemas import PinCheck, PinIn, PinOut, PinRemoval, PinVerified
from accounts.wire.requests import JsonBody
from devices import holdings
from devices.current import DeviceRequest

router = Router(exclude_none=True, tags=["PIN"])


@router.get("/auth/pin", response=PinOut)
def get_pin(request: DeviceRequest) -> PinOut:
    """Whether a PIN and the registration lock are set, and how many tries are left."""
    return _show(request.auth.user_id)


@router.put("/auth/pin", response=PinOut)
def put_pin(request: DeviceRequest, body: Annotated[PinIn, JsonBody()]) -> PinOut:
    """Set a PIN, which the primary device alone may (403); or change it and the registration lock, which takes the current one (401)."""
    caller = request.auth
    pins.set_pin(
        caller.user_id,
        body.pin,
        current_pin=body.current_pin,
        registration_lock=body.registration_lock,
        require_right=lambda: holdings.require_primary(caller.device_id),
    )
    return _show(request.auth.user_id)


@router.delete("/auth/pin", response={204: None})
def delete_pin(request: DeviceRequest, body: Annotated[PinRemoval, JsonBody()]) -> None:
    """Remove the PIN, and the registration lock with it."""
    pins.remove_pin(request.auth.user_id, body.current_pin)


@router.post("/auth/pin/verify", response=PinVerified)
def verify_pin(request: DeviceRequest, body: Annotated[PinCheck, JsonBody()]) -> PinVerified:
    """Check the PIN. A wrong one is 401 and uses a try, which all checks of the account share; without any left it is 429."""
    pins.verify_pin(request.auth.user_id, body.pin)
    return PinVerified(verified=True)


def _show(user_id: UUID) -> PinOut:
    found = pins.state(user_id)
    if found is None:
        return PinOut(has_pin=False, registration_lock=False, attempts_remaining=pins.tries())
    return PinOut(
        has_pin=True,
        registration_lock=found.registration_lock,
        attempts_remaining=found.attempts_remaining,
        locked_until=found.locked_until,
    )
