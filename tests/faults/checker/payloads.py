"""I7: what arrives is what was sent, by whom it says, and for this device (**mixed**). Ciphertexts end with their ack, and when they expire
(**resurrected**)."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from tests.faults import history as h
from tests.faults.checker.log import NEVER, Key
from tests.faults.checker.verdicts import Verdict, Violation

if TYPE_CHECKING:
    from tests.faults.checker.facts import Facts, Fault

# So long an ack may be on its way to the store; after a fault that it met, as long as recovery may take. One that comes behind what a fault has
# left begins to count when all is well.
ACK_SECONDS = 10.0
RECOVERY_SECONDS = 60.0
STORES = ("cassandra", "postgresql")
# What was sent just before it expired may be under way, as long as a socket lives that nobody reads.
LAST_COPY_SECONDS = 65.0
# Some of so many must come.
MANY = 20

Claim = tuple[str, str, str, str, str]
"""What a payload claims of a message: device and mid of the sender, conversation, digest, user of the sender."""


class Payloads:
    """Remembers what was claimed, once for each claim, however many devices got it."""

    def __init__(self) -> None:
        self._claims: dict[Claim, tuple[str, float]] = {}
        self._misaddressed: list[Violation] = []
        self._reads: list[tuple[h.HistoryRead, float]] = []
        self._acked_at: dict[str, dict[int, float]] = {}
        self._last_seen: dict[Key, float] = {}

    def received(self, event: h.EnvelopeReceived) -> None:
        if event.kind != "message" or (event.deleted and not event.digest):
            return
        claim = (event.sender_device, event.mid, event.conversation, event.digest, event.sender_user)
        self._claims.setdefault(claim, (event.device, event.at))
        if event.digest:
            self._last_seen[event.sender_device, event.conversation, event.mid] = event.at
        if event.addressed and event.addressed != event.device:
            what = f"device {event.device} got what was meant for {event.addressed}: {event.conversation} {event.seq}"
            self._misaddressed.append(Violation(Verdict.MIXED, what, event.at))

    def acked(self, event: h.Acked) -> None:
        acked_at = self._acked_at.setdefault(event.device, {})
        for message_id in event.message_ids:
            acked_at[int(message_id)] = event.at

    def history_read(self, event: h.HistoryRead) -> None:
        acked_at = self._acked_at.get(event.device, {}).get(int(event.message_id), float("inf"))
        self._reads.append((event, acked_at))

    def judge(self, facts: "Facts") -> Iterator[Violation]:
        yield from self._misaddressed
        for (device, mid, conversation, digest, user), (receiver, at) in self._claims.items():
            message = facts.logs.messages.get((device, conversation, mid))
            if message is None:
                what = f"device {receiver} got message {mid} of device {device}, who never sent it"
            elif message.digest != digest:
                what = f"device {receiver} got another payload under message {mid} of device {device}"
            elif message.user != user:
                what = f"device {receiver} was told that message {mid} is by user {user}, not {message.user}"
            else:
                continue
            yield Violation(Verdict.MIXED, what, at)
        for event, acked_at in self._reads:
            if event.digest and event.at > _settled_at(acked_at, facts):
                what = f"history gives device {event.device} the ciphertext it acknowledged: {event.conversation} {event.seq}"
                yield Violation(Verdict.RESURRECTED, what, event.at)
        yield from self._expired(facts)
        for search in facts.store:
            if search.with_content:
                what = f"{search.with_content} of {search.acknowledged} acknowledged rows still have their ciphertext"
                yield Violation(Verdict.RESURRECTED, what, search.at)

    def _expired(self, facts: "Facts") -> Iterator[Violation]:
        """A server whose clock is wrong, or that is stopped, does not know what has expired. That such messages come at all is asked, too."""
        blind = [fault for fault in facts.faults.values() if fault.on.freezes or "clock" in fault.on.kind]
        ends = dict(_ends(facts))
        for key in self._last_seen.keys() & ends.keys():
            seen_at, end = self._last_seen[key], ends[key]
            if seen_at > end + LAST_COPY_SECONDS and not any(
                fault.on.at < seen_at and fault.well_at > end for fault in blind
            ):
                what = f"message {key[2]} of device {key[0]} came {seen_at - end:.0f} s after it had expired"
                yield Violation(Verdict.RESURRECTED, what, seen_at)
        if len(ends) >= MANY and not self._last_seen.keys() & ends.keys():
            yield Violation(Verdict.LOST, f"of {len(ends)} messages that expire none has come to anybody")

    def reads(self) -> Iterator[h.HistoryRead]:
        for event, _ in self._reads:
            yield event


def _ends(facts: "Facts") -> Iterator[tuple[Key, float]]:
    """By when each message that expires, and is committed, has expired at the latest."""
    for conversation, _, entry in facts.logs.entries():
        key = (entry.sender_device, conversation, entry.mid)
        message = facts.logs.messages.get(key)
        if message is not None and message.expires_in and entry.seen_at != NEVER:
            yield key, entry.seen_at + message.expires_in


def _catching_up(fault: "Fault") -> float:
    """So long after its end a store may have a backlog that probes do not see: those who are connected are served without it."""
    is_a_stores = any(store in fault.on.target.lower() for store in STORES)
    return RECOVERY_SECONDS if is_a_stores else 0.0


def _settled_at(acked_at: float, facts: "Facts") -> float:
    """By when an ack has to be in the store."""
    ends = [acked_at + ACK_SECONDS]
    for fault in facts.faults.values():
        if fault.on.at < acked_at + ACK_SECONDS and fault.off_at > acked_at - _catching_up(fault):
            ends.append(fault.off_at + RECOVERY_SECONDS)
        elif fault.on.at < acked_at < fault.well_at:
            ends.append(fault.well_at + ACK_SECONDS)
    return max(ends)
