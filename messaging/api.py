"""HTTP: a conversation's messages. The one place where HTTP calls the hot path: everything here is asynchronous."""

from typing import Annotated
from uuid import UUID

from ninja import Query, Router, Status

from accounts.wire.refusals import Conflict, InvalidRequest
from accounts.wire.requests import SEND_BODY_BYTES, SendBody
from accounts.wire.scalars import Uuid
from conversations import ledger
from conversations.access import access_log
from conversations.sends import Sender
from devices.current import CurrentDevice, DeviceRequest
from messaging import history, resolving
from messaging.runtime import running
from messaging.schemas import (
    HistoryOut,
    HistoryQuery,
    ResolutionOut,
    ResolveQuery,
    SendIn,
    SentOut,
    show_history,
    show_resolved,
    show_sent,
)

router = Router(exclude_none=True, tags=["Messages"])

MOST_RESOLVED = 500


@router.get("/conversations/{conversation_id}/messages", response=HistoryOut)
async def read_history(request: DeviceRequest, conversation_id: Uuid, query: Query[HistoryQuery]) -> HistoryOut:
    """The conversation's history, newest first, with the ciphertext for the calling device while the server has it."""
    view = await access_log(request.auth.user_id, request.auth.device_id, conversation_id)
    store = (await running()).store
    page = await history.page(view, before=query.before, after=query.after, limit=query.limit, store=store)
    return show_history(page)


@router.get("/conversations/{conversation_id}/resolve", response=ResolutionOut)
async def resolve_gap(request: DeviceRequest, conversation_id: Uuid, query: Query[ResolveQuery]) -> ResolutionOut:
    """What has become of each seq of a gap, at most 500."""
    if not 1 <= query.first <= query.last:
        raise InvalidRequest("from: must be at least 1 and not above `to`", field="from")
    if query.last - query.first >= MOST_RESOLVED:
        raise InvalidRequest("to: is too far from `from`", field="to")
    view = await access_log(request.auth.user_id, request.auth.device_id, conversation_id)
    store = (await running()).store
    resolved = await resolving.resolve(view, query.first, query.last, store)
    return ResolutionOut(items=[show_resolved(item) for item in resolved])


@router.post("/conversations/{conversation_id}/messages", response={201: SentOut, 200: SentOut})
async def send_message(
    request: DeviceRequest, conversation_id: Uuid, body: Annotated[SendIn, SendBody()]
) -> Status[SentOut]:
    """Send a message, as on the socket. One that was committed before is answered with 200 and its first place."""
    device = request.auth
    send = body.send(Sender(device.user_id, device.device_id, device.device_number), conversation_id)
    if body.after_client_message_id is not None:
        await _require_predecessor(device, conversation_id, body.after_client_message_id)
    sent = await (await running()).sending.send_message(send, largest=SEND_BODY_BYTES)
    return Status(200 if sent.duplicate else 201, show_sent(send, sent))


async def _require_predecessor(device: CurrentDevice, conversation_id: UUID, client_message_id: UUID) -> None:
    """Raise NotFound for a stranger, Conflict while that send of the device is not committed."""
    await access_log(device.user_id, device.device_id, conversation_id)
    if not await ledger.is_committed(conversation_id, device.device_id, client_message_id):
        raise Conflict("The message this one comes after is not committed.", reason="predecessor_missing")
