"""Pruning the ledger: rows whose send cannot be repeated any more go, oldest first.

Before a row goes, a repeated send is answered with its place. So it may go only when a repeated send is refused: when the id it carries, which
tells when the client made it, is older than the horizon. That is asked of the id itself, for its client or the worker that let it in may have had
a clock that was ahead; `kept_ms` is below the bound as well. One day lies between the horizon and the bound.

All of this is PostgreSQL's clock. Should that one have been wrong, and rows have gone too early, the floor still says so when it is right again: a
send whose id is not newer than the newest forgotten one is refused.
"""

from accounts import statements
from accounts.chores import Chore, Chunk
from conversations.allocation import EPOCH_MS, SERIAL_BITS
from conversations.planning import IDEMPOTENCY_MS
from conversations.tallies import BLOCK

LEDGER_MS = IDEMPOTENCY_MS + 24 * 3600 * 1000

_MADE_MS = "('x' || translate(left({}.client_message_id::text, 13), '-', ''))::bit(48)::bigint"

# Ids rise with time and are never older than their row: an id below the bound's is of a row that was kept before it.
LEDGER_CHUNK = f"""
WITH bound AS MATERIALIZED (
    SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint - %s AS ms
), old AS MATERIALIZED (
    SELECT l.conversation_id, l.seq, l.message_id FROM conversations_ledger l
    WHERE l.message_id > %s AND l.message_id < ((SELECT ms FROM bound) - {EPOCH_MS}) << {SERIAL_BITS}
    ORDER BY l.message_id LIMIT %s
), gone AS (
    DELETE FROM conversations_ledger l USING old o
    WHERE l.conversation_id = o.conversation_id AND l.seq = o.seq
      AND (l.sender_device_id = 0 OR {_MADE_MS.format("l")} < (SELECT ms FROM bound))
      AND NOT EXISTS (SELECT FROM conversations_outbox w WHERE w.conversation_id = o.conversation_id AND w.seq = o.seq)
    RETURNING l.conversation_id, l.seq, l.sender_user_id, l.sender_device_id, l.client_message_id, l.kind, l.urgent
), tallied AS (
    INSERT INTO conversations_tally AS t (conversation_id, block, sender_user_id, marks)
    SELECT g.conversation_id, g.seq / {BLOCK}, g.sender_user_id, bit_or(set_bit(0::bit({BLOCK}), (g.seq %% {BLOCK})::int, 1)) FROM gone g
    WHERE g.kind = 'message' AND g.urgent AND g.sender_user_id IS NOT NULL AND EXISTS (
        SELECT FROM conversations_member m
        WHERE m.conversation_id = g.conversation_id AND m.left_seq IS NULL AND m.last_read_seq < g.seq AND m.user_id <> g.sender_user_id)
    GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
    ON CONFLICT (conversation_id, block, sender_user_id) DO UPDATE SET marks = t.marks | excluded.marks
), forgotten AS (
    INSERT INTO conversations_ledger_floor AS f (id, made_ms)
    SELECT 1, max({_MADE_MS.format("g")}) FROM gone g WHERE g.sender_device_id <> 0 HAVING count(*) > 0
    ON CONFLICT (id) DO UPDATE SET made_ms = GREATEST(f.made_ms, excluded.made_ms)
)
SELECT (SELECT count(*) FROM gone), (SELECT count(*) FROM old), (SELECT max(message_id) FROM old)
"""  # noqa: S608  (constants)


async def _ledger_chunk(after: int | None, size: int) -> Chunk:
    """Forget up to `size` old rows behind this message_id; what somebody has not read yet is tallied in the same moment.

    A row that has to stay (its message is not in the store yet, or its id is from the future) is passed over.
    """
    [[removed, seen, last]] = await statements.rows(LEDGER_CHUNK, [LEDGER_MS, after or 0, size])
    return Chunk(removed, last if seen == size else None)


LEDGER = Chore("ledger", _ledger_chunk, size=200, most=2000)
