"""Purging: nothing is kept for a device that was unlinked an hour ago.

Until then sends that were under way when it was unlinked have landed. What lands later is in a mailbox nobody reads, and ends by itself. An id is never
given to another device, and a client that is installed again keeps its device, which stays active.
"""

from accounts import statements
from accounts.chores import Chore, Chunk
from accounts.wire.refusals import StorageUnavailable
from messaging.envelopes import Mailbox
from messaging.store.protocol import RETENTION_MS, MessageStore, StoreUnavailable

# After a device was unlinked; and the largest difference of two processes' clocks.
LATEST_MS = 3600 * 1000

NEXT = """
SELECT id, user_id, (extract(epoch FROM created_at) * 1000)::bigint, (extract(epoch FROM unlinked_at) * 1000)::bigint FROM devices_device
WHERE NOT active AND purged_at IS NULL AND id > %s AND unlinked_at < clock_timestamp() - make_interval(secs => %s) ORDER BY id LIMIT 1
"""
# Last of all, so that it is tried again as long as anything is left.
FORGET = """
WITH gaps AS (DELETE FROM conversations_gap WHERE device_id = %s), keys AS (DELETE FROM devices_one_time_prekey WHERE device_id = %s)
UPDATE devices_device SET purged_at = clock_timestamp() WHERE id = %s AND NOT active RETURNING id
"""


def purging(store: MessageStore, now_ms: int) -> Chore:
    """The chore of purging, one mailbox or a part of it at a time. Its chunks raise StorageUnavailable when either of the two databases is away."""

    async def chunk(after: int | None, size: int) -> Chunk:
        found = await statements.rows(NEXT, (after or 0, LATEST_MS // 1000))
        if not found:
            return Chunk(0, None)
        [[device_id, user_id, created_ms, unlinked_ms]] = found
        if not await purge_mailbox(store, Mailbox(user_id, device_id), created_ms, unlinked_ms, now_ms, size):
            return Chunk(0, after or 0)
        await statements.run(FORGET, (device_id, device_id, device_id))
        return Chunk(1, device_id)

    return Chore("mailboxes of unlinked devices", chunk, size=256, most=4096)


async def purge_mailbox(
    store: MessageStore, mailbox: Mailbox, created_ms: int, unlinked_ms: int, now_ms: int, size: int
) -> bool:
    """Remove some of the mailbox of a device that lived from the one moment to the other. Whether that was the last. Raises StorageUnavailable."""
    first_ms = max(created_ms - LATEST_MS, now_ms - RETENTION_MS - LATEST_MS)
    try:
        return await store.purge(mailbox, from_ms=first_ms, until_ms=unlinked_ms + LATEST_MS, size=size)
    except StoreUnavailable as failure:
        raise StorageUnavailable from failure
