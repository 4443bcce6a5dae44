"""Reading a log: what is committed and not yet deposited, and what the store keeps, as one."""

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
    found = {entry.seq: _seen(entry, view) for entry in waiting}
    complete = all(seq in found for span in spans for seq in range(span.first, span.last + 1))
    if not complete:
        kept, complete = await _kept(view, spans, store)
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


def _seen(entry: LogEntry, view: LogView) -> Envelope:
    """The entry as the device's envelope, or without a ciphertext where the device is no recipient."""
    mine = (recipient for recipient in entry.recipients if recipient.device_id == view.device_id)
    envelope = envelope_of(entry, next(mine, Recipient(view.user_id, view.device_id)))
    is_expired = entry.expires_ms is not None and entry.expires_ms <= clocks.now_ms()
    return _emptied(envelope) if is_expired else envelope


def _emptied(envelope: Envelope) -> Envelope:
    return msgspec.structs.replace(envelope, ciphertext=None, shared=None, deleted=True)
