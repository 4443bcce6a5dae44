"""Catching up: a log goes on above what its message store has, after PostgreSQL has gone back.

A restore takes a conversation's head back; the store keeps what was written after the backup. The head's last position carries the era it was given
in. While that is an earlier era than the present one nothing is appended: first the store is asked for its newest entry, outside of any transaction,
and the head is put above it. Whoever asks while another process has done so already finds the era to be the present one, and changes nothing.
"""

from collections.abc import Awaitable, Callable
from uuid import UUID

from accounts import statements
from accounts.positions import ERA, POSITION, XID_BITS
from accounts.wire.refusals import StorageUnavailable
from conversations.allocation import Newest

# After an accepted restore so many seqs are left out: what was committed last may have been answered and never deposited.
SPARE_SEQS = 100

HEAD = "SELECT next_seq FROM conversations_conversation WHERE id = %s"
# What lies between the former head and the new one is lost: nobody can say any more who was a member then.
RAISE = f"""
WITH behind AS (
    SELECT c.id, c.next_seq, GREATEST(c.next_seq, %s) + CASE WHEN c.last_position >> {XID_BITS} < e.restored_era THEN {SPARE_SEQS} ELSE 0 END AS goes_on
    FROM conversations_conversation c, accounts_era e
    WHERE c.id = %s AND c.last_position >> {XID_BITS} < {ERA} FOR NO KEY UPDATE OF c
), raised AS (
    UPDATE conversations_conversation c
    SET next_seq = b.goes_on, last_message_id = GREATEST(c.last_message_id, %s), last_position = {POSITION}
    FROM behind b WHERE c.id = b.id
)
INSERT INTO conversations_lost_range (conversation_id, from_seq, to_seq) SELECT id, next_seq, goes_on - 1 FROM behind WHERE goes_on > next_seq
"""  # noqa: S608  (constants)

AskNewest = Callable[[UUID, int], Awaitable[Newest]]

_ask: list[AskNewest] = []


def ask_stores_with(newest: AskNewest) -> None:
    """From now on `newest(conversation_id, at_least)` tells what the store has. It raises StorageUnavailable while the store does not answer."""
    _ask[:] = [newest]


async def catch_up(conversation_id: UUID) -> None:
    """Afterwards the head is of the present era and above everything the store has. Raises StorageUnavailable."""
    head = await statements.rows(HEAD, [conversation_id])
    if not head:
        return
    if not _ask:
        raise StorageUnavailable
    newest = await _ask[0](conversation_id, head[0][0] - 1)
    await statements.run(RAISE, [newest.seq + 1, conversation_id, newest.message_id])
