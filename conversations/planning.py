"""Deciding a batch of sends: pure, after everything was read and before anything is written.

The caller has locked the conversations it could, and read audiences and known sends *after* that; so what is decided here is true at the commit.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import NAMESPACE_OID, UUID, uuid5

import msgspec

from accounts.ids import uuid7_ms
from accounts.wire.refusals import (
    ChatError,
    Forbidden,
    InvalidRequest,
    MismatchedDevices,
    NotFound,
    RetryInOrder,
    StaleDevices,
    StaleKey,
    StorageUnavailable,
    TooLarge,
)
from conversations import device_list
from conversations.allocation import Head, Moment, allocate
from conversations.audience import Audience, AudienceDevice
from conversations.entries import MESSAGE, SYSTEM, LogEntry, Recipient
from conversations.sends import SKIPPED, Send, Sender, Sent, Skipped

IDEMPOTENCY_MS = 14 * 24 * 3600 * 1000
LARGEST_PAIRWISE_AUDIENCE = 32


class Target(msgspec.Struct, frozen=True):
    """A message that a send wants to delete."""

    conversation_id: UUID
    seq: int
    sender_user_id: UUID | None


class Start(msgspec.Struct, frozen=True):
    """A device's view of a conversation begins (or, `envelope_seq` set, has got its first envelope)."""

    conversation_id: UUID
    device_id: int
    from_seq: int
    envelope_seq: int | None
    mailbox_from: int


class Reading(msgspec.Struct):
    """What a transaction read: heads of the locked conversations, audiences of all that exist, sends known already, messages to delete."""

    heads: Mapping[UUID, Head]
    audiences: Mapping[UUID, Audience]
    known: dict[tuple[UUID, int, UUID], Sent]
    targets: Mapping[int, Target]
    moment: Moment


class Plan(msgspec.Struct):
    """What a transaction is going to write. `omitted`: by conversation and device the first and the last seq that a full mailbox does not get."""

    outcomes: list[Sent | Exception | Skipped] = []
    entries: list[LogEntry] = []
    starts: dict[tuple[UUID, int], Start] = {}
    ended: list[tuple[UUID, int]] = []
    omitted: dict[tuple[UUID, int], tuple[int, int]] = {}


def plan(sends: Sequence[Send], reading: Reading) -> Plan:
    """Decide each send in order. Behind one that has to be sent again, the later ones of its chain are to be retried in order."""
    made = Plan()
    broken: set[tuple[UUID, int]] = set()
    for send in sends:
        outcome = RetryInOrder() if send.chain in broken else _decide(send, reading, made)
        if is_resendable(outcome):
            broken.add(send.chain)
        made.outcomes.append(outcome)
    return made


def is_resendable(outcome: object) -> bool:
    """Whether the sender is going to send the same message again, so that nothing behind it may overtake it."""
    return isinstance(outcome, ChatError) and (
        outcome.retryable or isinstance(outcome, MismatchedDevices | StaleDevices)
    )


def _decide(send: Send, reading: Reading, made: Plan) -> Sent | Exception | Skipped:
    audience = reading.audiences.get(send.conversation_id)
    head = reading.heads.get(send.conversation_id)
    known = reading.known.get(send.key)
    if audience is not None and known is not None:
        # Committed is committed, whoever has the row now and whether or not its sender is still there.
        return msgspec.structs.replace(known, duplicate=True)
    if audience is None or (head is None and send.sender.user_id not in audience.roles):
        return NotFound()
    if head is None:
        return SKIPPED
    refused = _refusal(send, head, audience, reading)
    if refused is not None:
        return refused
    return _append(send, head, audience, reading, made)


def _refusal(send: Send, head: Head, audience: Audience, reading: Reading) -> ChatError | None:
    if send.sender.user_id not in audience.roles or not _is_active(send.sender, audience):
        return NotFound()
    if head.blocked:
        return Forbidden("One of you has blocked the other.")
    if _is_stale(uuid7_ms(send.client_message_id), reading.moment):
        return StaleKey()
    if send.deletes is not None and (refused := _deletion_refusal(send, audience, reading)) is not None:
        return refused
    if send.kind == MESSAGE and send.shared is None and len(audience.roles) > LARGEST_PAIRWISE_AUDIENCE:
        return TooLarge(
            "A group this large needs one shared ciphertext.",
            limit="members_without_shared",
            max=LARGEST_PAIRWISE_AUDIENCE,
        )
    return device_list.refusal(send.messages, _others(send.sender, audience))


def _is_stale(made_ms: int | None, moment: Moment) -> bool:
    """Whether a send with such an id may have been committed and forgotten since."""
    return made_ms is None or moment.now_ms - made_ms > IDEMPOTENCY_MS or made_ms <= moment.forgotten_ms


def _is_active(sender: Sender, audience: Audience) -> bool:
    device = audience.devices.get(sender.device_id)
    return device is not None and device.active


def _others(sender: Sender, audience: Audience) -> dict[int, AudienceDevice]:
    return {
        device_id: device
        for device_id, device in audience.devices.items()
        if device.active and device_id != sender.device_id
    }


def _deletion_refusal(send: Send, audience: Audience, reading: Reading) -> ChatError | None:
    target = reading.targets.get(send.deletes or 0)
    if target is None or target.conversation_id != send.conversation_id:
        return InvalidRequest(
            "There is no such message in this conversation, or it is too old to be deleted for everybody.",
            field="deletes",
        )
    if target.sender_user_id != send.sender.user_id and audience.roles[send.sender.user_id] == "member":
        return Forbidden()
    return None


def _append(send: Send, head: Head, audience: Audience, reading: Reading, made: Plan) -> Sent:
    write_device_changes(head, audience, reading.moment, made)
    place = allocate(head, reading.moment)
    ciphertexts = {item.device_id: item.ciphertext for item in send.messages}
    target = reading.targets.get(send.deletes or 0)
    entry = LogEntry(
        conversation_id=send.conversation_id,
        seq=place.seq,
        message_id=place.message_id,
        position=place.position,
        kept_ms=reading.moment.now_ms,
        client_message_id=send.client_message_id,
        sender_user_id=send.sender.user_id,
        sender_device_id=send.sender.device_id,
        sender_device_number=send.sender.device_number,
        kind=send.kind,
        urgent=send.urgent,
        shared=send.shared,
        reply_to=send.reply_to,
        deletes=send.deletes,
        deletes_seq=target.seq if target else None,
        expires_ms=reading.moment.now_ms + 1000 * send.expires_in if send.expires_in else None,
        recipients=address(_others(send.sender, audience).values(), place.seq, head, made, ciphertexts),
    )
    _begin_without_envelope(audience.devices[send.sender.device_id], place.seq, head, made)
    made.entries.append(entry)
    sent = Sent(place.message_id, place.seq, entry.kept_ms)
    reading.known[send.key] = sent
    return sent


def address(
    devices: Iterable[AudienceDevice],
    seq: int,
    head: Head,
    made: Plan,
    ciphertexts: Mapping[int, bytes | None] | None = None,
) -> tuple[Recipient, ...]:
    """The recipients of an entry; a device that gets its first envelope here is told so, and is remembered as greeted.

    One whose mailbox is full is no recipient. The plan says that it is left out.
    """
    recipients = []
    for device in devices:
        if device.full:
            first, _ = made.omitted.get((head.conversation_id, device.device_id), (seq, seq))
            made.omitted[head.conversation_id, device.device_id] = first, seq
            _begin_without_envelope(device, seq, head, made)
            continue
        recipients.append(
            Recipient(
                device.user_id, device.device_id, (ciphertexts or {}).get(device.device_id), start=not device.greeted
            )
        )
        if not device.greeted:
            _remember(device, seq, seq, head, made)
    return tuple(recipients)


def _begin_without_envelope(device: AudienceDevice, seq: int, head: Head, made: Plan) -> None:
    if not device.started:
        _remember(device, seq, None, head, made)


def _remember(device: AudienceDevice, from_seq: int, envelope_seq: int | None, head: Head, made: Plan) -> None:
    key = (head.conversation_id, device.device_id)
    made.starts[key] = Start(*key, from_seq, envelope_seq, device.mailbox_from)
    device.started = True
    device.greeted = envelope_seq is not None


def write_device_changes(head: Head, audience: Audience, moment: Moment, made: Plan) -> None:
    """Devices linked and unlinked since the last entry become entries of their own, just before this one."""
    if head.next_seq == 1:
        return
    # Decided before any of these entries is addressed: addressing an entry starts every device it reaches.
    linked = [device for device in audience.devices.values() if device.active and not device.started]
    unlinked = [device for device in audience.devices.values() if not device.active]
    for event, devices in (("device_unlinked", unlinked), ("device_linked", linked)):
        for device in devices:
            facts = {"user_id": str(device.user_id), "device_id": str(device.device_id)}
            made.entries.append(
                system_entry(event, facts, head, audience, moment, made, actor=Sender(device.user_id, 0, 0))
            )
    for device in unlinked:
        made.ended.append((head.conversation_id, device.device_id))
        del audience.devices[device.device_id]


def system_entry(
    event: str,
    facts: Mapping[str, Any],
    head: Head,
    audience: Audience,
    moment: Moment,
    made: Plan,
    *,
    actor: Sender,
) -> LogEntry:
    """An entry the server writes, for every active device of the audience, the acting one included."""
    place = allocate(head, moment)
    return LogEntry(
        conversation_id=head.conversation_id,
        seq=place.seq,
        message_id=place.message_id,
        position=place.position,
        kept_ms=moment.now_ms,
        client_message_id=uuid5(NAMESPACE_OID, f"{head.conversation_id}:{place.seq}"),
        sender_user_id=actor.user_id,
        sender_device_id=actor.device_id,
        sender_device_number=actor.device_number,
        kind=SYSTEM,
        urgent=False,
        system={"event": event, "actor_user_id": str(actor.user_id), **facts},
        recipients=address(audience.active(), place.seq, head, made),
    )


def refuse_all(sends: Sequence[Send], failure: ChatError | None = None) -> tuple[Exception, ...]:
    """The same refusal for every send of a batch."""
    refusal = failure or StorageUnavailable()
    return tuple(refusal for _ in sends)
