"""Reading a log: what is committed and not yet deposited, and what the store keeps, as one."""

import asyncio
from collections.abc import Sequence

import msgspec

from accounts import clocks
from conversations import outbox
from conversations.access import LogView, Span
from conversations.entries import LogEntry, Recipient
from messaging.envelopes import Envelope, Mailbox, envelope_of
from messaging.store.protocol import MessageStore, StoreUnavailable


class Found(msgspec.Struct, frozen=True):
    """Envelopes by seq. `complete`: the store has answered, so what is not here is nowhere."""

    envelopes: dict[int, Envelope]
    complete: bool


async def read(view: LogView, spans: Sequence[Span], store: MessageStore) -> Found:
    """What there is of these seqs, as the view's device sees it. Raises StorageUnavailable.

    The outbox comes first: what leaves it while the store is read has been deposited before.
    """
    deleted = {seq for span in spans for seq in await outbox.deleted(view.conversation_id, span.first, span.last)}
    waiting = [
        entry for span in spans for entry in await outbox.of_conversation(view.conversation_id, span.first, span.last)
    ]
    seqs = {entry.seq for entry in waiting}
    are_all = all(seq in seqs for span in spans for seq in range(span.first, span.last + 1))
    acknowledged, (kept, complete) = await asyncio.gather(
        _acknowledged(view, waiting, store), _kept(view, () if are_all else spans, store)
    )
    found = {entry.seq: _seen(entry, view, is_acknowledged=entry.message_id in acknowledged) for entry in waiting}
    # What is in both may be in its mailbox or not yet; a deletion is known to the store alone.
    found |= {envelope.seq: envelope for envelope in kept if envelope.deleted or envelope.seq not in found}
    found |= {seq: _emptied(found[seq]) for seq in deleted & found.keys()}
    return Found(found, complete)


async def _kept(view: LogView, spans: Sequence[Span], store: MessageStore) -> tuple[list[Envelope], bool]:
    reader = Mailbox(view.user_id, view.device_id)
    kept: list[Envelope] = []
    try:
        for span in spans:
            kept += await store.history(reader, view.conversation_id, from_seq=span.first, to_seq=span.last)
    except StoreUnavailable:
        return kept, False
    return kept, True


async def _acknowledged(view: LogView, waiting: Sequence[LogEntry], store: MessageStore) -> set[int]:
    """The ids of those that the device has acknowledged, as far as the store can say: who is connected gets them before they are deposited."""
    own = [entry for entry in waiting if _own(entry, view) is not None]
    if not own:
        return set()
    try:
        return await store.acknowledged(Mailbox(view.user_id, view.device_id), own)
    except StoreUnavailable:
        return set()


def _own(entry: LogEntry, view: LogView) -> Recipient | None:
    return next((recipient for recipient in entry.recipients if recipient.device_id == view.device_id), None)


def _seen(entry: LogEntry, view: LogView, *, is_acknowledged: bool) -> Envelope:
    """The entry as the device's envelope, or without a ciphertext where the device is no recipient, or has acknowledged it."""
    own = None if is_acknowledged else _own(entry, view)
    envelope = envelope_of(entry, own or Recipient(view.user_id, view.device_id))
    is_expired = entry.expires_ms is not None and entry.expires_ms <= clocks.now_ms()
    return _emptied(envelope) if is_expired else envelope


def _emptied(envelope: Envelope) -> Envelope:
    return msgspec.structs.replace(envelope, ciphertext=None, shared=None, deleted=True)
