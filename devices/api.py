"""HTTP: signing in, devices, keys."""

from typing import Annotated

from django.http import HttpRequest
from ninja import Query, Router

from accounts.wire import paging
from accounts.wire.paging import ListQuery, Page
from accounts.wire.refusals import NotFound
from accounts.wire.requests import JsonBody, Nothing, PrekeyBody
from accounts.wire.scalars import Dec, Uuid, parse_dec
from devices import bundles, deletion, holdings, own_keys, prekeys, push_tokens, registration, tokens, unlinking
from devices.current import DeviceRequest
from devices.models import Device
from devices.push_schemas import PushTokenIn
from devices.schemas import (
    BundlesOut,
    Comparison,
    CountOut,
    DeletedOut,
    Deletion,
    DeviceOut,
    Digest,
    IdentitiesOut,
    KeysIn,
    RefreshIn,
    RegistrationIn,
    RegistrationOut,
    Renaming,
    SignedPrekeyIn,
    TokensOut,
    Unlinking,
    show_bundle,
    show_device,
    show_identity,
    show_registration,
    show_tokens,
)
from devices.uploads import Upload

router = Router(exclude_none=True)

ALL_DEVICES = "*"


@router.post("/auth/register-device", auth=None, response={201: RegistrationOut}, tags=["Signing in"])
def register_device(request: HttpRequest, body: Annotated[RegistrationIn, PrekeyBody()]) -> RegistrationOut:
    """Sign this installation in. Asked again for the same `device_uuid` it gives the same ids and new tokens.

    With the registration lock on it needs the account's PIN (423).
    """
    new = body.device.value()
    return show_registration(
        registration.register(body.registration_token, new, pin=body.pin, unlink_device_id=body.unlink_device_id)
    )


@router.post("/auth/refresh", auth=None, response=TokensOut, tags=["Signing in"])
def refresh(request: HttpRequest, body: Annotated[RefreshIn, JsonBody()]) -> TokensOut:
    """The next pair of tokens. The old refresh token works until a token of a new pair is used, and is poison afterwards."""
    return show_tokens(tokens.refresh(body.refresh_token))


@router.post("/auth/logout", response={204: None}, tags=["Signing in"])
def log_out(request: DeviceRequest, body: Annotated[Nothing, JsonBody()]) -> None:
    """End this device's tokens and socket. The device stays listed and may sign in again."""
    unlinking.log_out(request.auth)


@router.delete("/account", response=DeletedOut, tags=["Devices"])
def delete_account(request: DeviceRequest, body: Annotated[Deletion, JsonBody()]) -> DeletedOut:
    """Delete the caller's account for good, with its PIN if it has one. All its tokens end with the answer; what is left is erased after it."""
    tombstone = deletion.delete_account(request.auth, body.pin)
    return DeletedOut(deleted_at=tombstone.deleted_at, tombstone_until=tombstone.until)


@router.get("/devices", response=Page[DeviceOut], tags=["Devices"])
def list_devices(request: DeviceRequest, query: Query[ListQuery]) -> Page[DeviceOut]:
    """The caller's active devices."""
    after = paging.position_of(query, "devices") or 0
    devices = Device.objects.filter(user_id=request.auth.user_id, active=True, pk__gt=after).order_by("pk")[
        : query.limit + 1
    ]
    return paging.page(
        list(devices),
        query,
        "devices",
        show=lambda device: show_device(device, request.auth),
        position=lambda device: device.pk,
    )


@router.patch("/devices/{device_id}", response=DeviceOut, tags=["Devices"])
def rename_device(request: DeviceRequest, device_id: Dec, body: Annotated[Renaming, JsonBody()]) -> DeviceOut:
    """Rename this device; the primary may rename any."""
    return show_device(unlinking.rename(request.auth, device_id, body.name), request.auth)


@router.delete("/devices/{device_id}", response={204: None}, tags=["Devices"])
def unlink_device(request: DeviceRequest, device_id: Dec, body: Annotated[Unlinking, JsonBody()]) -> None:
    """Unlink this device; the primary may unlink any but itself, with the PIN if there is one."""
    unlinking.unlink(request.auth, device_id, body.pin)


@router.put("/devices/me/push-token", response={204: None}, tags=["Devices"])
def put_push_token(request: DeviceRequest, body: Annotated[PushTokenIn, JsonBody()]) -> None:
    """Where this device is woken while it has no socket. It ends with the device's tokens; `none` ends it at once."""
    address = body.address()
    if address is None:
        push_tokens.forget(request.auth.device_id)
    else:
        push_tokens.register(request.auth, address)


@router.put("/keys", response=CountOut, tags=["Keys"])
def put_keys(request: DeviceRequest, body: Annotated[KeysIn, PrekeyBody()]) -> CountOut:
    """Add prekeys. One numbered at or below the highest ever uploaded is skipped, so a repeated upload does no harm.

    The first one-time prekeys of a kind after a restore are not kept: the count stays 0, and the next upload counts.
    """
    return _show_count(own_keys.upload(request.auth, body.upload()))


@router.get("/keys/count", response=CountOut, tags=["Keys"])
def count_keys(request: DeviceRequest) -> CountOut:
    """How many one-time prekeys are left."""
    return _show_count(prekeys.count(request.auth.device_id))


@router.put("/keys/signed", response={204: None}, tags=["Keys"])
def put_signed_prekey(request: DeviceRequest, body: Annotated[SignedPrekeyIn, JsonBody()]) -> None:
    """Replace the signed prekey. One that was replaced before does not come back."""
    own_keys.upload(request.auth, Upload(signed_prekey=body.signed_prekey.value()))


@router.post("/keys/check", response=Comparison, tags=["Keys"])
def check_keys(request: DeviceRequest, body: Annotated[Digest, JsonBody()]) -> Comparison:
    """Whether the server's idea of this device's keys is the client's."""
    return Comparison(result="same" if own_keys.is_same(request.auth, body.digest) else "differs")


@router.get("/keys/{user_id}/identities", response=IdentitiesOut, tags=["Keys"])
def list_identities(request: DeviceRequest, user_id: Uuid) -> IdentitiesOut:
    """A person's devices and identity keys, for safety numbers. Takes no prekey."""
    devices = holdings.devices_seen_by(request.auth.user_id, user_id)
    if not devices:
        raise NotFound
    return IdentitiesOut(user_id=user_id, devices=[show_identity(device) for device in devices])


@router.get("/keys/{user_id}/{device_id}", response=BundlesOut, tags=["Keys"])
def take_bundles(request: DeviceRequest, user_id: Uuid, device_id: str) -> BundlesOut:
    """The prekey bundle of one device, or with `*` of all. Each takes a one-time prekey, which nobody gets again."""
    if device_id == ALL_DEVICES:
        taken = bundles.bundles_of_user(request.auth, user_id)
    else:
        taken = bundles.bundles_of_device(request.auth, user_id, _device_id(device_id))
    return BundlesOut(user_id=user_id, devices=[show_bundle(bundle) for bundle in taken])


def _device_id(text: str) -> int:
    try:
        return parse_dec(text)
    except ValueError as failure:
        raise NotFound from failure


def _show_count(found: prekeys.PoolCount) -> CountOut:
    return CountOut(count=found.curve, pq_count=found.pq)
