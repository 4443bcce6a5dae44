"""Telling a device what it does not get: its gaps, as system envelopes of its own."""

import logging
from collections.abc import Iterable
from uuid import NAMESPACE_OID, uuid5

from accounts.wire.refusals import StorageUnavailable
from conversations import gaps
from conversations.entries import SYSTEM
from conversations.gaps import Gap
from messaging.counts import counts
from messaging.envelopes import Envelope, Mailbox, Unreadable

logger = logging.getLogger(__name__)

# The id of a gap's envelope is that of its last message with this bit turned over: no message of the same years has it.
_OF_A_GAP = 1 << 62


class GapTeller:
    """The gaps of one device, as far as its socket knows them."""

    def __init__(self, mailbox: Mailbox) -> None:
        self._device_id = mailbox.device_id
        self._skipped: set[int] = set()
        self._untold: list[Gap] = []
        self._offered: dict[int, Gap] = {}
        self._acknowledged: list[Gap] = []
        self._reported: set[int] = set()
        self.mailbox_full = False

    async def load(self) -> None:
        """Write down what was acknowledged, and read what is to be told. While PostgreSQL is down, what is known stays."""
        try:
            if self._acknowledged:
                await gaps.told(self._device_id, self._acknowledged)
                self._acknowledged = []
            known = await gaps.of_device(self._device_id)
        except StorageUnavailable:
            return
        self._skipped = {gap.message_id for gap in known.gaps if gap.skips}
        self._untold = [gap for gap in known.gaps if not gap.told]
        self.mailbox_full = known.mailbox_full

    def is_skipped(self, message_id: int) -> bool:
        """Whether the device does not get past this message: it is not sent any more."""
        return message_id in self._skipped

    def envelopes(self) -> list[Envelope]:
        """What is to be told."""
        return [self._envelope(gap) for gap in self._untold]

    def of_unreadable(self, rows: Iterable[Unreadable]) -> list[Envelope]:
        """The gaps that rows leave which nobody can read. Each is reported once a socket; the rows stay, and are read when somebody can."""
        told = []
        for row in rows:
            if row.message_id not in self._reported:
                self._reported.add(row.message_id)
                counts.unreadable += 1
                logger.error(
                    "Mailbox row left out, it cannot be read: device %s, conversation %s, seq %s, message %s",
                    self._device_id,
                    row.conversation_id,
                    row.seq,
                    row.message_id,
                )
            gap = Gap(row.conversation_id, row.seq, row.seq, row.message_id, row.position, row.kept_ms, told=True)
            told.append(self._envelope(gap))
        return told

    def acknowledged(self, envelope: Envelope) -> bool:
        """Whether this was a gap, and not a message; the device has it now."""
        gap = self._offered.pop(envelope.message_id, None)
        if gap is None:
            return False
        self._untold = [one for one in self._untold if one != gap]
        if not gap.told:
            self._acknowledged.append(gap)
        return True

    async def drained(self) -> None:
        """All that was in the mailbox has been sent: a full one takes messages again."""
        if self.mailbox_full:
            await gaps.drained(self._device_id)
            self.mailbox_full = False
            logger.info("A full mailbox has been drained: device %s", self._device_id)

    async def stuck_at(self, envelope: Envelope) -> None:
        """The device does not acknowledge this envelope. The same one a few times running is skipped, also by other processes."""
        offered = self._offered.get(envelope.message_id)
        at = offered or Gap(
            envelope.conversation_id,
            envelope.seq,
            envelope.seq,
            envelope.message_id,
            envelope.position,
            envelope.kept_ms,
        )
        try:
            if offered is None:
                counts.skipped += await gaps.note_stuck(self._device_id, at)
            else:
                # Nobody is told for ever what it does not want to hear.
                await gaps.told(self._device_id, [offered])
        except StorageUnavailable:
            logger.info("it could not be noted that device %s is stuck", self._device_id)

    def _envelope(self, gap: Gap) -> Envelope:
        message_id = gap.message_id ^ _OF_A_GAP
        self._offered[message_id] = gap
        return Envelope(
            message_id=message_id,
            conversation_id=gap.conversation_id,
            seq=gap.to_seq,
            client_message_id=uuid5(NAMESPACE_OID, f"{gap.conversation_id}:{gap.from_seq}-{gap.to_seq}"),
            position=gap.position,
            kept_ms=gap.kept_ms,
            kind=SYSTEM,
            system={"event": "gap", "from_seq": gap.from_seq, "to_seq": gap.to_seq},
            urgent=False,
        )
