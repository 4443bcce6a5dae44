"""Resolving a gap: what has become of each seq, for the device that asks."""

from collections.abc import Mapping
from enum import StrEnum

import msgspec

from accounts.wire.refusals import StorageUnavailable
from conversations import ledger
from conversations.access import LogView
from conversations.entries import SYSTEM
from conversations.ledger import Fact
from messaging.envelopes import Envelope
from messaging.reading import Found, read
from messaging.store.protocol import MessageStore, ends_ms

# What a socket was sent just before it expired may still be under way, as long as a socket lives that nobody reads.
LAST_COPY_MS = 60_000


class State(StrEnum):
    """What a device has to do about a seq: wait for it (it also comes by mailbox), skip it, skip it as lost, expired or too old."""

    COMMITTED = "committed"
    NOT_FOR_YOU = "not_for_you"
    UNAVAILABLE = "unavailable"


class Resolved(msgspec.Struct, frozen=True):
    """The answer for one seq."""

    seq: int
    state: State
    envelope: Envelope | None = None


async def resolve(view: LogView, from_seq: int, to_seq: int, store: MessageStore) -> list[Resolved]:
    """An answer for each of these seqs that is not above the head.

    While the store is down the ledger alone says what is committed: "unavailable" would make a device skip what is only late. Raises
    StorageUnavailable for what is older than the ledger then.
    """
    spans = list(view.spans(from_seq, to_seq))
    found = await read(view, spans, store)
    facts = await ledger.facts(view.conversation_id, from_seq, to_seq) if spans else {}
    facts |= {seq: _fact(envelope) for seq, envelope in found.envelopes.items() if seq not in facts}
    return [_resolved(seq, view, found, facts) for seq in range(from_seq, min(to_seq, view.head) + 1)]


def _resolved(seq: int, view: LogView, found: Found, facts: Mapping[int, Fact]) -> Resolved:
    if view.is_lost(seq):
        return Resolved(seq, State.UNAVAILABLE)
    fact = facts.get(seq)
    if not any(seq in stay for stay in view.stays) or (fact is None and view.is_before_start(seq)):
        return Resolved(seq, State.NOT_FOR_YOU)
    if fact is None:
        return _lost(seq, found)
    if fact.sender_device_id == view.device_id or not view.had_device(seq, fact.position, fact.kept_ms):
        return Resolved(seq, State.NOT_FOR_YOU)
    envelope = found.envelopes.get(seq)
    is_gone = found.complete and (envelope is None or _has_ended(envelope, view.now_ms))
    return Resolved(seq, State.UNAVAILABLE if is_gone else State.COMMITTED, envelope)


def _has_ended(envelope: Envelope, now_ms: int) -> bool:
    """No mailbox has it any more, because it expired or is too old: whoever waits for it would wait for ever."""
    return ends_ms(envelope.kept_ms, envelope.expires_ms) + LAST_COPY_MS <= now_ms


def _lost(seq: int, found: Found) -> Resolved:
    if not found.complete:
        raise StorageUnavailable
    return Resolved(seq, State.UNAVAILABLE)


def _fact(envelope: Envelope) -> Fact:
    sender = 0 if envelope.kind == SYSTEM else envelope.sender_device_id
    return Fact(sender, envelope.position, envelope.kept_ms)
