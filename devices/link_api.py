"""HTTP: letting another installation in. Stands before `devices.api` among the routers: `devices/link` is no device."""

from typing import Annotated

from django.http import HttpRequest
from ninja import Router

from accounts.wire.requests import JsonBody, Nothing, PrekeyBody
from accounts.wire.scalars import Uuid
from devices import linking
from devices.bearer import bearer
from devices.claim_secret import ClaimSecret, link_secret
from devices.current import CurrentDevice, DeviceRequest
from devices.link_schemas import (
    ApprovalIn,
    ApprovalOut,
    ClaimIn,
    ClaimOut,
    LinkOut,
    LinkStateOut,
    show_decision,
    show_opened,
    show_to_claimant,
    show_to_primary,
)

router = Router(exclude_none=True, tags=["Linking"])


class LinkRequest(HttpRequest):
    """A request of the account's device, or of a claimant."""

    auth: CurrentDevice | ClaimSecret


@router.post("/devices/link", response={201: LinkOut})
def open_link(request: DeviceRequest, body: Annotated[Nothing, JsonBody()]) -> LinkOut:
    """Open a link for 300 s, as the primary. Its token goes into a QR code that the new installation reads."""
    return show_opened(linking.open_link(request.auth))


@router.post("/devices/link/claim", auth=None, response={201: ClaimOut})
def claim_link(request: HttpRequest, body: Annotated[ClaimIn, PrekeyBody()]) -> ClaimOut:
    """Claim a link with this installation's public keys. One claim is ever taken; the secret fetches what becomes of it."""
    claimed = linking.claim(body.link_token, body.device.value())
    return ClaimOut(link_id=claimed.link_id, claim_secret=claimed.claim_secret)


@router.post("/devices/link/approve", response=ApprovalOut)
def decide_link(request: DeviceRequest, body: Annotated[ApprovalIn, JsonBody()]) -> ApprovalOut:
    """Approve the claimant with a signature over `waypost-device-v1`, user_id, its identity key and its device_uuid; or reject it."""
    if body.signature is None:
        return show_decision(linking.reject(request.auth, body.link_id))
    return show_decision(linking.approve(request.auth, body.link_id, body.signature))


@router.get("/devices/link/{link_id}", auth=[bearer, link_secret], response=LinkStateOut)
def get_link(request: LinkRequest, link_id: Uuid) -> LinkStateOut:
    """How a link stands: for the account's primary, or for the claimant (`Authorization: Link <claim_secret>`), who gets the registration once."""
    caller = request.auth
    if isinstance(caller, ClaimSecret):
        return show_to_claimant(linking.fetch(link_id, caller.text))
    return show_to_primary(linking.access_link(caller, link_id))
