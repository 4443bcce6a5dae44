"""Linking on the wire."""

from typing import Any, Self

from pydantic import BaseModel, model_validator
from pydantic_core import PydanticCustomError

from accounts.wire.requests import Fields
from accounts.wire.scalars import Base64, Base64Out, DecOut, TimeOut, Uuid, UuidOut
from devices import linking
from devices.models import Link
from devices.public_keys import fingerprint
from devices.schemas import DeviceIn, LinkedBy, RegistrationOut, show_registration


class ClaimIn(Fields):
    """An installation that wants in, with the token of a QR code."""

    link_token: str
    device: DeviceIn


class ApprovalIn(Fields):
    """What the primary says to a claim: its signature over the new device, or no."""

    link_id: Uuid
    signature: Base64 | None = None
    reject: bool = False

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.signature is None) != self.reject:
            raise _EITHER
        return self


_EITHER = PydanticCustomError("approval", "give a signature, or reject: true")


class LinkOut(BaseModel):
    """A link to be claimed."""

    link_id: UuidOut
    link_token: str
    expires_in_seconds: int


class ClaimOut(BaseModel):
    """A claimed link, and what fetches its outcome."""

    link_id: UuidOut
    claim_secret: str


class ClaimantOut(BaseModel):
    """The installation that has claimed a link."""

    name: str
    platform: str
    device_uuid: UuidOut
    identity_key: Base64Out
    fingerprint: str


class LinkStateOut(BaseModel):
    """A link: `device_id` and `claimant` for the primary, `registration` and `linked_by` for the claimant, once."""

    link_id: UuidOut
    status: str
    expires_at: TimeOut
    device_id: DecOut | None = None
    claimant: ClaimantOut | None = None
    registration: RegistrationOut | None = None
    linked_by: LinkedBy | None = None


class ApprovalOut(BaseModel):
    """What the primary has decided."""

    link_id: UuidOut
    status: str
    device_id: DecOut | None = None


def show_opened(opened: linking.Opened) -> LinkOut:
    """A link to be claimed."""
    return LinkOut(
        link_id=opened.link_id,
        link_token=opened.link_token,
        expires_in_seconds=int(linking.LASTS.total_seconds()),
    )


def show_to_primary(link: Link) -> LinkStateOut:
    """A link, as the account's primary sees it."""
    return LinkStateOut(**_state(link), device_id=link.device_id, claimant=_claimant(link))


def show_to_claimant(fetched: linking.Fetched) -> LinkStateOut:
    """A link, as whoever has claimed it sees it."""
    got = fetched.registration
    return LinkStateOut(
        **_state(fetched.link),
        registration=show_registration(got) if got else None,
        linked_by=got.device.linked_by if got else None,
    )


def show_decision(link: Link) -> ApprovalOut:
    """What was decided. That the tokens were fetched since is not part of it: the same question gets the same answer."""
    is_approved = link.device_id is not None
    return ApprovalOut(
        link_id=link.pk,
        status=Link.State.APPROVED if is_approved else Link.State.REJECTED,
        device_id=link.device_id,
    )


def _state(link: Link) -> dict[str, Any]:
    return {"link_id": link.pk, "status": linking.status(link), "expires_at": link.expires_at}


def _claimant(link: Link) -> ClaimantOut | None:
    if not link.offer:
        return None
    new = linking.offer(link)
    return ClaimantOut(
        name=new.name,
        platform=new.platform,
        device_uuid=new.device_uuid,
        identity_key=new.identity_key,
        fingerprint=fingerprint(new.identity_key),
    )
