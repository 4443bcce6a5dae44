"""A client's account: who it is, its devices, keys, PIN and push."""

from . import maintenance
from .keyring import Keyring
from .keys import fingerprint
from .linking import Linking
from .listing import everything
from .pin import Pin
from .push import Push
from .running import Running
from .values import Deleted, Device, KeyCount, User


class Account(Running):
    """What concerns oneself."""

    @property
    def own_fingerprint(self) -> str:
        """What others compare with what they see of this device."""
        return fingerprint(Keyring(self._state).identity_key)

    def fingerprints(self, user_id: str) -> dict[str, str]:
        """The pinned identity keys of a user's devices, by device_id, to be compared over another channel."""
        return {peer.device_id: fingerprint(peer.identity_key) for peer in self._peers.of_user(user_id)}

    async def profile(self) -> User:
        return await self._api.call("GET", "profile", User)

    async def set_profile(self, **changes: str | None) -> User:
        """Change display_name, username or bio."""
        return await self._api.call("PATCH", "profile", User, body=changes)

    async def devices(self) -> list[Device]:
        """The active devices of this account."""
        return await everything(self._api, "devices", Device)

    async def rename_device(self, device_id: str, name: str) -> Device:
        return await self._api.call("PATCH", f"devices/{device_id}", Device, body={"name": name})

    @property
    def linking(self) -> Linking:
        """Letting other devices in."""
        return Linking(self._state, self._api)

    async def delete_account(self, *, pin: str | None = None) -> Deleted:
        """Delete the account for good. Afterwards this device is signed out; what it has on disk stays."""
        deleted = await self._api.call("DELETE", "account", Deleted, body={"pin": pin} if pin else None)
        self._state.remember(signed_out=1)
        return deleted

    @property
    def pin(self) -> Pin:
        """The account's PIN and registration lock."""
        return Pin(self._api)

    @property
    def push(self) -> Push:
        """Where this device is woken while it is not connected."""
        return Push(self._api)

    async def unlink_device(self, device_id: str, *, pin: str | None = None) -> None:
        """End a device's membership of this account; from then on nothing is sealed for it."""
        await self._api.call("DELETE", f"devices/{device_id}", body={"pin": pin} if pin else None)

    async def prekeys_left(self) -> KeyCount:
        """One-time prekeys that the server can still hand out for this device. It is topped up by itself while connected."""
        return await self._api.call("GET", "keys/count", KeyCount)

    async def check_keys(self) -> bool:
        """Whether the server has the keys of this device. If not, it has lost or rolled them back, and was given them again."""
        return await maintenance.check_keys(self._state, self._api)

    async def rotate_keys(self) -> None:
        """Publish a new signed prekey and a new last resort now. What was sealed for the former ones still opens."""
        await maintenance.rotate_keys(self._state, self._api, now=True)
