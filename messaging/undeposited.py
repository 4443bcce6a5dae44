"""What is committed for a device and not in its mailbox yet: the outbox, read page by page on behalf of one socket."""

from uuid import UUID

from accounts.wire.refusals import StorageUnavailable
from conversations import outbox
from conversations.outbox import Look, Place, Waiting
from messaging.envelopes import Envelope, Mailbox, envelope_of
from messaging.store.protocol import ends_ms

LARGEST_LOOK = 1000
# An entry of a large group weighs more than a hundred kilobytes; every device of the group looks at it while the store is down.
LARGEST_LOOK_BYTES = 8 * 1024 * 1024


class Undeposited:
    """The outbox as one device sees it. What the device was sent is not read again, unless rows may yet appear in front of it."""

    def __init__(self, mailbox: Mailbox) -> None:
        self._user_id: UUID = mailbox.user_id
        self._device_id = mailbox.device_id
        # Behind the last row that was passed, and behind the last one that no row can appear in front of any more.
        self._after = Place()
        self._settled = Place()

    async def look(self) -> Look | None:
        """The next rows, oldest first; None while PostgreSQL is down. At the end of the outbox the next look begins anew."""
        try:
            return await outbox.of_user(
                self._user_id, after=self._after, limit=LARGEST_LOOK, most_bytes=LARGEST_LOOK_BYTES
            )
        except StorageUnavailable:
            return None

    def envelope(self, row: Waiting, now_ms: int) -> Envelope | None:
        """What the device gets of this row. None where it is no recipient, where the row cannot be read, and once the message has expired."""
        if row.entry is None or ends_ms(row.entry.kept_ms, row.entry.expires_ms) <= now_ms:
            return None
        mine = (recipient for recipient in row.entry.recipients if recipient.device_id == self._device_id)
        return next((envelope_of(row.entry, recipient) for recipient in mine), None)

    def passed(self, row: Waiting, look: Look) -> None:
        """The device has what it gets of this row."""
        self._after = row.place
        if row.place.position < look.oldest_open:
            self._settled = row.place

    def ended(self) -> None:
        """The last row was passed."""
        self._after = self._settled
