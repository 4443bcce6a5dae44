"""Tallies: what is still counted of ledger rows that are gone.

Unread messages are counted in the ledger from a member's `last_read_seq` on, and a ledger row lives for 15 days only. Whoever has not read a
message by then finds it here, as one bit: exact wherever their `last_read_seq` moves, and a fraction of the row.
"""

from accounts.chores import by_blocks

BLOCK = 1024

# Parameter: the member's user_id. Counts for the row of conversations_member that the query around it is at.
UNREAD = f"""
COALESCE((
    SELECT sum(bit_count(t.marks << CASE
        WHEN t.block = conversations_member.last_read_seq / {BLOCK} THEN (conversations_member.last_read_seq %% {BLOCK})::int + 1 ELSE 0 END))
    FROM conversations_tally t
    WHERE t.conversation_id = conversations_member.conversation_id AND t.sender_user_id <> %s
      AND t.block >= conversations_member.last_read_seq / {BLOCK}
), 0)::int
"""  # noqa: S608  (constants)

# The last message of each sender between two seqs, the second included. Parameters: conversation, the two, the reader.
# Of the blocks that lie whole between the two only a sender's last one with a mark is looked into.
SENDERS = f"""
WITH asked AS (SELECT %s::uuid AS conversation_id, %s::bigint AS before, %s::bigint AS last, %s::uuid AS reader),
between_them AS (
    SELECT t.sender_user_id, t.block, t.marks, a.before, a.last FROM asked a JOIN conversations_tally t
      ON t.conversation_id = a.conversation_id AND t.block BETWEEN a.before / {BLOCK} AND a.last / {BLOCK}
    WHERE t.sender_user_id <> a.reader AND bit_count(t.marks) > 0
), candidates AS (
    SELECT * FROM between_them WHERE block IN (before / {BLOCK}, last / {BLOCK})
    UNION ALL (
        SELECT DISTINCT ON (sender_user_id) * FROM between_them WHERE block NOT IN (before / {BLOCK}, last / {BLOCK})
        ORDER BY sender_user_id, block DESC)
)
SELECT c.sender_user_id, max(c.block * {BLOCK} + n.bit) FROM candidates c CROSS JOIN generate_series(0, {BLOCK} - 1) AS n (bit)
WHERE c.block * {BLOCK} + n.bit > c.before AND c.block * {BLOCK} + n.bit <= c.last AND get_bit(c.marks, n.bit) = 1
GROUP BY c.sender_user_id
"""  # noqa: S608

# A block that all members have read to its end counts for nobody: read positions never fall, and whoever joins begins at the head.
READ_BY_ALL = f"""
NOT EXISTS (
    SELECT FROM conversations_member m
    WHERE m.conversation_id = r.conversation_id AND m.left_seq IS NULL AND m.last_read_seq < (r.block + 1) * {BLOCK} - 1
      AND m.user_id <> r.sender_user_id)
"""
TALLIES = by_blocks("tallies", "conversations_tally", READ_BY_ALL)
