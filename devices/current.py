"""Who is calling."""

from dataclasses import dataclass
from uuid import UUID

from django.http import HttpRequest


@dataclass(frozen=True, slots=True)
class CurrentDevice:
    """The device a valid access token belongs to, as it was when the token was checked."""

    user_id: UUID
    device_id: int
    device_number: int
    registration_id: int
    is_primary: bool


class DeviceRequest(HttpRequest):
    """A request that has passed `devices.bearer`."""

    auth: CurrentDevice
