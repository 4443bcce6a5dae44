"""Where each device is woken while it has no socket: one address per device, encrypted, gone with the device's tokens."""

from dataclasses import dataclass

import msgspec
from django.db import close_old_connections

from accounts.encryption import decrypt, encrypt
from accounts.transactions import short_transaction
from devices.current import CurrentDevice
from devices.models import Device, PushToken

WEBPUSH = PushToken.Provider.WEBPUSH.value
_PURPOSE = "push"


class Address(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a provider needs to reach one installation. Web push: an endpoint and the keys of RFC 8291; the others: a token of their own."""

    provider: str
    endpoint: str = ""
    p256dh: bytes = b""
    auth: bytes = b""
    token: str = ""

    def __repr__(self) -> str:
        return f"Address({self.provider})"


@dataclass(frozen=True, slots=True)
class Kept:
    """An address as it is kept; `encrypted` tells it from whatever is registered later."""

    device_id: int
    encrypted: bytes

    def address(self) -> Address:
        """Raises `InvalidToken` of cryptography when the key it was encrypted with is gone."""
        return msgspec.json.decode(decrypt(_PURPOSE, self.encrypted), type=Address)


def register(caller: CurrentDevice, address: Address) -> None:
    """From now on the device is woken there, and nowhere else. One that has been signed out meanwhile stays without."""
    encrypted = encrypt(_PURPOSE, msgspec.json.encode(address))
    with short_transaction():
        device = Device.objects.select_for_update(no_key=True).get(pk=caller.device_id)
        if device.active and device.token_pairs.exists():
            fields = {"provider": address.provider, "address": encrypted, "woken_at": None}
            PushToken.objects.update_or_create(device=device, defaults=fields)


def forget(device_id: int) -> None:
    """The device is woken no more."""
    PushToken.objects.filter(device_id=device_id).delete()


def remove(kept: Kept) -> None:
    """The provider says that this address is gone. One that was registered meanwhile stays. For a thread of its own."""
    try:
        PushToken.objects.filter(device_id=kept.device_id, address=kept.encrypted).delete()
    finally:
        close_old_connections()
