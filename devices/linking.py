"""Linking: the primary lets another installation in, and signs for it.

The primary opens a link and shows its token in a QR code. The installation claims the link with its public keys, and gets a secret. The primary sees
whose key that is, and approves with a signature over it; from that commit on the installation is a device of the account, and the log of every
conversation addresses it. With its secret it then fetches its tokens, once.

Each step is one decision about one row of PostgreSQL, made under that row's lock: nothing here is lost with Redis, and of any number of claims,
approvals and fetches at once exactly one takes effect. Only the hashes of the two secrets are kept.
"""

import base64
import hashlib
import hmac
import secrets
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import msgspec
from django.db.models.functions import Now

from accounts.clocks import postgresql_now
from accounts.limits import Limit, WithoutRedis, spend
from accounts.security_events import Kind, note
from accounts.transactions import short_transaction
from accounts.wire.refusals import Conflict, InvalidSignature, NotFound
from devices import eras, holdings, prekeys, tokens, xed25519
from devices.current import CurrentDevice
from devices.models import Device, Link
from devices.public_keys import require_curve_key
from devices.registration import NewDevice, Registration, describe
from devices.signals import Reason
from devices.uploads import Upload, require_valid

LASTS = timedelta(seconds=300)
# How long approved tokens wait for the new device.
FETCHED_WITHIN = timedelta(seconds=300)
MOST_AT_ONCE = 100
STATEMENT = b"waypost-device-v1"
PER_HOUR = Limit("LINKS_PER_HOUR", 3600, WithoutRedis.COUNT_HERE)

_State = Link.State


@dataclass(frozen=True, slots=True)
class Opened:
    """A link, and the token the QR code carries."""

    link_id: UUID
    link_token: str


@dataclass(frozen=True, slots=True)
class Claimed:
    """A claimed link, and the secret that fetches its outcome."""

    link_id: UUID
    claim_secret: str


@dataclass(frozen=True, slots=True)
class Fetched:
    """A link as its claimant sees it. The registration is there once."""

    link: Link
    registration: Registration | None = None


def open_link(caller: CurrentDevice) -> Opened:
    """A new link of the caller's account. Raises Forbidden for any but the primary, DeviceLimit, RateLimited."""
    holdings.require_primary(caller.device_id)
    holdings.require_room(holdings.active_devices(caller.user_id))
    spend(PER_HOUR, str(caller.user_id))
    token = secrets.token_urlsafe(32)
    with short_transaction():
        holdings.lock_holder(caller.user_id)
        holdings.require_primary(caller.device_id)
        now = postgresql_now()
        link = Link.objects.create(
            user_id=caller.user_id, token_hash=_hash(token), created_at=now, expires_at=now + LASTS
        )
    return Opened(link.pk, token)


def claim(link_token: str, new: NewDevice) -> Claimed:
    """Be the one installation this token is for.

    Raises NotFound when the token is unknown or expired, Conflict when it was claimed before or the account has this installation as a device,
    InvalidSignature for bad keys: then the token is still there to be claimed.
    """
    link = Link.objects.filter(token_hash=_hash(link_token), user__is_active=True).first()
    if link is None or status(link) is _State.EXPIRED:
        raise NotFound
    if link.state != _State.NEW:
        raise Conflict("This link was claimed before.")
    require_curve_key(new.identity_key, "device.identity_key")
    require_valid(new.keys, new.identity_key, "device.")
    if _is_listed(link.user_id, new.device_uuid):
        raise Conflict("This installation is a device already: unlink it first.", field="device.device_uuid")
    secret = secrets.token_urlsafe(32)
    untouched = Link.objects.filter(pk=link.pk, state=_State.NEW, expires_at__gt=Now())
    if not untouched.update(state=_State.CLAIMED, claim_hash=_hash(secret), offer=msgspec.json.encode(new)):
        raise Conflict("This link was claimed before.")
    return Claimed(link.pk, secret)


def access_link(caller: CurrentDevice, link_id: UUID) -> Link:
    """A link of the caller's account, for its primary. Raises NotFound for everybody else."""
    link = Link.objects.filter(pk=link_id, user_id=caller.user_id).first()
    if link is None or not holdings.is_primary(caller.device_id):
        raise NotFound
    return link


def approve(caller: CurrentDevice, link_id: UUID, signature: bytes) -> Link:
    """Make the claimant a device, vouched for by the caller. Approved again, by whatever signature, it stays as it is.

    Raises NotFound, Forbidden, Conflict with the `status` that stands in the way, InvalidSignature, DeviceLimit.
    """
    with short_transaction():
        link = _lock_own(caller, link_id)
        if link.state in (_State.APPROVED, _State.COMPLETED) and status(link) is not _State.EXPIRED:
            return link
        _require_claimed(link)
        new, approver = offer(link), Device.objects.get(pk=caller.device_id)
        signed = STATEMENT + link.user_id.bytes + new.identity_key + new.device_uuid.bytes
        if not xed25519.verify(bytes(approver.identity_key)[1:], signed, signature):
            raise InvalidSignature(field="signature")
        holdings.require_room(holdings.active_devices(link.user_id))
        if _is_listed(link.user_id, new.device_uuid):
            raise Conflict("This installation is a device already.", status=link.state)
        device = _admit(link, new, approver, signature)
        link.state, link.device_id, link.expires_at = _State.APPROVED, device.pk, postgresql_now() + FETCHED_WITHIN
        _end(link)
        note(Kind.DEVICE_LINKED, user_id=link.user_id, device_id=device.pk, facts={"by_device_id": str(approver.pk)})
    return link


def reject(caller: CurrentDevice, link_id: UUID) -> Link:
    """Refuse the claimant. Rejected again it stays so. Raises NotFound, Forbidden, Conflict with the `status` that stands in the way."""
    with short_transaction():
        link = _lock_own(caller, link_id)
        if link.state != _State.REJECTED:
            _require_claimed(link)
            link.state = _State.REJECTED
            _end(link)
            note(Kind.LINK_REJECTED, user_id=link.user_id, device_id=caller.device_id)
    return link


def fetch(link_id: UUID, claim_secret: str) -> Fetched:
    """What became of a claim; the first time after the approval with the registration. Raises NotFound for whoever did not claim this link."""
    link = Link.objects.filter(pk=link_id).first()
    if link is None or not hmac.compare_digest(bytes(link.claim_hash or b""), _hash(claim_secret)):
        raise NotFound
    return _deliver(link.pk, link.user_id) if link.state == _State.APPROVED else Fetched(link)


def lapse() -> int:
    """Write down which links have expired, and unlink every device that was approved and has not fetched its tokens in time. How many of those."""
    over = Link.objects.filter(expires_at__lte=Now())
    over.filter(state__in=(_State.NEW, _State.CLAIMED)).update(state=_State.EXPIRED, offer=None)
    unfetched = over.filter(state=_State.APPROVED).values_list("pk", "user_id")[:MOST_AT_ONCE]
    return len([_deliver(link_id, user_id) for link_id, user_id in unfetched])


def status(link: Link) -> Link.State:
    """The state as it is now: a time that has run out, on PostgreSQL's clock, ends it, whether or not anybody has written that down."""
    is_open = link.state in (_State.NEW, _State.CLAIMED, _State.APPROVED)
    return _State.EXPIRED if is_open and link.expires_at <= postgresql_now() else Link.State(link.state)


def offer(link: Link) -> NewDevice:
    """What the claimant says about itself. The link has one."""
    return msgspec.json.decode(bytes(link.offer or b""), type=NewDevice)


def _deliver(link_id: UUID, user_id: UUID) -> Fetched:
    """Of all who ask at once one gets the tokens; a device whose time is over is unlinked instead."""
    with short_transaction():
        user = holdings.lock_holder(user_id)
        link = Link.objects.select_for_update().get(pk=link_id)
        if link.state != _State.APPROVED:
            return Fetched(link)
        device = Device.objects.select_for_update(no_key=True).filter(pk=link.device_id or 0, active=True).first()
        is_over = device is None or not user.is_active or status(link) is _State.EXPIRED
        link.state = _State.EXPIRED if is_over else _State.COMPLETED
        link.save(update_fields=["state"])
        if device is not None and is_over:
            holdings.unlink(device)
            note(Kind.DEVICE_UNLINKED, user_id=user_id, device_id=device.pk, facts={"why": "not fetched"})
        return Fetched(link, None if device is None or is_over else Registration(device, tokens.begin(device)))


def _admit(link: Link, new: NewDevice, approver: Device, signature: bytes) -> Device:
    device = Device(
        user_id=link.user_id,
        device_uuid=new.device_uuid,
        device_number=holdings.next_number(link.user_id),
        linked_by=_vouched(approver, signature),
    )
    describe(device, new)
    eras.skip_device_ids()
    device.save()
    prekeys.store(device, new.keys)
    holdings.note_change(device, Reason.LINKED)
    return device


def _vouched(approver: Device, signature: bytes) -> dict[str, Any]:
    """LinkedBy, as the wire has it."""
    return {
        "device_id": str(approver.pk),
        "identity_key": base64.b64encode(bytes(approver.identity_key)).decode(),
        "signature": base64.b64encode(signature).decode(),
    }


def _end(link: Link) -> None:
    """Save the link; the prekeys it carried are with the device by now, or nobody's."""
    link.offer = msgspec.json.encode(replace(offer(link), keys=Upload()))
    link.save(update_fields=["state", "device_id", "expires_at", "offer"])


def _lock_own(caller: CurrentDevice, link_id: UUID) -> Link:
    holdings.lock_holder(caller.user_id)
    link = Link.objects.select_for_update().filter(pk=link_id, user_id=caller.user_id).first()
    if link is None:
        raise NotFound
    holdings.require_primary(caller.device_id)
    return link


def _require_claimed(link: Link) -> None:
    if status(link) is not _State.CLAIMED:
        raise Conflict("This link is not waiting for an approval.", status=status(link).value)


def _is_listed(user_id: UUID, device_uuid: UUID) -> bool:
    return Device.objects.filter(user_id=user_id, device_uuid=device_uuid, active=True).exists()


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
