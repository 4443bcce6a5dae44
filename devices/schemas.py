"""Devices and keys on the wire."""

from datetime import date, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from accounts.wire.requests import Fields
from accounts.wire.scalars import Base64, Base64Of32, Base64Out, DayOut, Dec, DecOut, Name, TimeOut, Uuid, UuidOut
from devices import public_keys
from devices.bundles import Bundle
from devices.current import CurrentDevice
from devices.models import Device
from devices.registration import NewDevice, Registration
from devices.tokens import Tokens
from devices.uploads import Upload

MOST_PREKEYS = 100
_GREATEST_KEY_ID = 2**24 - 1

KeyId = Annotated[int, Field(ge=0, le=_GREATEST_KEY_ID)]
RegistrationId = Annotated[int, Field(ge=1, le=16383)]


class PrekeyIn(Fields):
    """A public key and its number."""

    key_id: KeyId
    public_key: Base64

    def value(self) -> public_keys.Prekey:
        """The same without the wire."""
        return public_keys.Prekey(self.key_id, self.public_key)


class SignedIn(Fields):
    """A public key, its number, and the identity key's signature over it."""

    key_id: KeyId
    public_key: Base64
    signature: Base64

    def value(self) -> public_keys.Prekey:
        """The same without the wire."""
        return public_keys.Prekey(self.key_id, self.public_key, self.signature)


Pool = Annotated[list[PrekeyIn], Field(max_length=MOST_PREKEYS)]
SignedPool = Annotated[list[SignedIn], Field(max_length=MOST_PREKEYS)]


class KeysIn(Fields):
    """Keys to add."""

    one_time_prekeys: Pool = []
    last_resort_prekey: SignedIn | None = None
    pq_prekeys: SignedPool = []
    pq_last_resort_prekey: SignedIn | None = None

    def upload(self, signed_prekey: public_keys.Prekey | None = None) -> Upload:
        """The same without the wire."""
        return Upload(
            signed_prekey=signed_prekey,
            one_time_prekeys=[prekey.value() for prekey in self.one_time_prekeys],
            last_resort_prekey=self.last_resort_prekey.value() if self.last_resort_prekey else None,
            pq_prekeys=[prekey.value() for prekey in self.pq_prekeys],
            pq_last_resort_prekey=self.pq_last_resort_prekey.value() if self.pq_last_resort_prekey else None,
        )


class DeviceIn(KeysIn):
    """An installation that signs in."""

    device_uuid: Uuid
    name: Name
    platform: Literal["ios", "android", "web", "desktop", "bot"]
    registration_id: RegistrationId
    identity_key: Base64
    signed_prekey: SignedIn
    one_time_prekeys: Pool

    def value(self) -> NewDevice:
        """The same without the wire."""
        return NewDevice(
            device_uuid=self.device_uuid,
            name=self.name,
            platform=self.platform,
            registration_id=self.registration_id,
            identity_key=self.identity_key,
            keys=self.upload(self.signed_prekey.value()),
        )


class RegistrationIn(Fields):
    """Sign in with the token of a proven phone number."""

    registration_token: str
    pin: str | None = None
    device: DeviceIn
    unlink_device_id: Dec | None = None


class RefreshIn(Fields):
    """Exchange a refresh token."""

    refresh_token: str


class Renaming(Fields):
    """A device's new name."""

    name: Name


class Unlinking(Fields):
    """Unlink a device."""

    pin: str | None = None


class Deletion(Fields):
    """Delete one's account."""

    pin: str | None = None


class SignedPrekeyIn(Fields):
    """A new signed prekey."""

    signed_prekey: SignedIn


class Digest(Fields):
    """A digest of one's keys."""

    digest: Base64Of32


class TokensOut(BaseModel):
    """A pair of tokens."""

    access_token: str
    access_expires_in_seconds: int
    refresh_token: str
    refresh_expires_in_seconds: int


class RegistrationOut(TokensOut):
    """A device that is signed in."""

    user_id: UuidOut
    device_id: DecOut
    device_number: int
    is_primary: bool


class LinkedBy(BaseModel):
    """The device that let another one in, the identity key it had then, and its signature."""

    device_id: str
    identity_key: str
    signature: str


class DeviceOut(BaseModel):
    """One of the caller's devices."""

    device_id: DecOut
    device_number: int
    device_uuid: UuidOut
    name: str
    platform: str
    is_primary: bool
    is_current: bool
    registration_id: int
    identity_key: Base64Out
    linked_by: LinkedBy | None = None
    created_at: TimeOut
    last_seen_at: DayOut | None = None


class DeletedOut(BaseModel):
    """An account that is no more, and until when that is remembered."""

    deleted_at: TimeOut
    tombstone_until: TimeOut


class CountOut(BaseModel):
    """One-time prekeys that are left."""

    count: int
    pq_count: int


class PrekeyOut(BaseModel):
    """A public key, its number, and its signature if it has one."""

    key_id: int
    public_key: Base64Out
    signature: Base64Out | None = None


class IdentityOut(BaseModel):
    """Who a device is."""

    device_id: DecOut
    device_number: int
    registration_id: int
    identity_key: Base64Out
    is_primary: bool
    linked_by: LinkedBy | None = None


class IdentitiesOut(BaseModel):
    """A person's devices."""

    user_id: UuidOut
    devices: list[IdentityOut]


class BundleOut(IdentityOut):
    """What is needed to begin a session with a device."""

    device_uuid: UuidOut
    signed_prekey: PrekeyOut
    one_time_prekey: PrekeyOut | None = None
    last_resort_prekey: PrekeyOut | None = None
    pq_prekey: PrekeyOut | None = None


class BundlesOut(BaseModel):
    """Bundles of a person's devices."""

    user_id: UuidOut
    devices: list[BundleOut]


class Comparison(BaseModel):
    """Whether the server has the keys the client believes it has."""

    result: Literal["same", "differs"]


def show_tokens(tokens: Tokens) -> TokensOut:
    """A pair of tokens."""
    return TokensOut(**_tokens(tokens))


def show_registration(registration: Registration) -> RegistrationOut:
    """Ids and tokens of a device."""
    device = registration.device
    return RegistrationOut(
        user_id=device.user_id,
        device_id=device.pk,
        device_number=device.device_number,
        is_primary=device.is_primary,
        **_tokens(registration.tokens),
    )


def show_device(device: Device, caller: CurrentDevice) -> DeviceOut:
    """One of the caller's devices."""
    created_at: datetime = device.created_at
    last_seen: date | None = device.last_seen
    return DeviceOut(
        **_identity(device),
        device_uuid=device.device_uuid,
        name=device.name,
        platform=device.platform,
        is_current=device.pk == caller.device_id,
        created_at=created_at,
        last_seen_at=last_seen,
    )


def show_identity(device: Device) -> IdentityOut:
    """Who a device is."""
    return IdentityOut(**_identity(device))


def show_bundle(bundle: Bundle) -> BundleOut:
    """What is needed to begin a session."""
    return BundleOut(
        **_identity(bundle.device),
        device_uuid=bundle.device.device_uuid,
        signed_prekey=_prekey(bundle.signed_prekey),
        one_time_prekey=_prekey_or_none(bundle.one_time_prekey),
        last_resort_prekey=_prekey_or_none(bundle.last_resort_prekey),
        pq_prekey=_prekey_or_none(bundle.pq_prekey),
    )


def _identity(device: Device) -> dict[str, Any]:
    return {
        "device_id": device.pk,
        "device_number": device.device_number,
        "registration_id": device.registration_id,
        "identity_key": bytes(device.identity_key),
        "is_primary": device.is_primary,
        "linked_by": device.linked_by,
    }


def _tokens(tokens: Tokens) -> dict[str, Any]:
    return {name: getattr(tokens, name) for name in TokensOut.model_fields}


def _prekey(prekey: public_keys.Prekey) -> PrekeyOut:
    return PrekeyOut(key_id=prekey.key_id, public_key=prekey.public_key, signature=prekey.signature)


def _prekey_or_none(prekey: public_keys.Prekey | None) -> PrekeyOut | None:
    return _prekey(prekey) if prekey else None
