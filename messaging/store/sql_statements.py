"""What the SQL store says to PostgreSQL.

Rows are locked in the order of their keys, and by a deposit in the mailbox before the history, so that no two statements wait for each other.
"""

from typing import LiteralString

DEPOSIT: LiteralString = """
WITH kept AS (
  INSERT INTO message_history AS h (seq, message_id, position, kept_ms, sender_device_id, reply_to, deletes, expires_ms, conversation_id,
    client_message_id, sender_user_id, sender_device_number, urgent, kind, deleted_at, content, system)
  SELECT seq, message_id, position, kept_ms, sender_device_id, reply_to, deletes, expires_ms, conversation_id, client_message_id,
    sender_user_id, sender_device_number, urgent, kind, CASE WHEN deleted THEN now() END, content, system::jsonb
  FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::uuid[],
    %s::uuid[], %s::uuid[], %s::int[], %s::bool[], %s::text[], %s::bool[], %s::bytea[], %s::text[])
    AS t (seq, message_id, position, kept_ms, sender_device_id, reply_to, deletes, expires_ms, conversation_id, client_message_id,
      sender_user_id, sender_device_number, urgent, kind, deleted, content, system)
  ORDER BY conversation_id, seq
  ON CONFLICT (conversation_id, seq) DO UPDATE SET
    message_id = coalesce(h.message_id, excluded.message_id), position = coalesce(h.position, excluded.position),
    kept_ms = coalesce(h.kept_ms, excluded.kept_ms), sender_device_id = coalesce(h.sender_device_id, excluded.sender_device_id),
    reply_to = coalesce(h.reply_to, excluded.reply_to), deletes = coalesce(h.deletes, excluded.deletes),
    expires_ms = coalesce(h.expires_ms, excluded.expires_ms),
    client_message_id = coalesce(h.client_message_id, excluded.client_message_id),
    sender_user_id = coalesce(h.sender_user_id, excluded.sender_user_id),
    sender_device_number = coalesce(h.sender_device_number, excluded.sender_device_number),
    urgent = coalesce(h.urgent, excluded.urgent), kind = coalesce(h.kind, excluded.kind), system = coalesce(h.system, excluded.system),
    deleted_at = coalesce(h.deleted_at, excluded.deleted_at),
    content = CASE WHEN coalesce(h.deleted_at, excluded.deleted_at) IS NULL THEN coalesce(h.content, excluded.content) END
  WHERE h.message_id IS NULL OR (h.deleted_at IS NULL AND excluded.deleted_at IS NOT NULL)
)
INSERT INTO message_mailbox AS m (device_id, position, message_id, ends_ms, seq, user_id, conversation_id, envelope)
SELECT * FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::uuid[], %s::uuid[], %s::bytea[])
  AS t (device_id, position, message_id, ends_ms, seq, user_id, conversation_id, envelope)
ORDER BY device_id, position, message_id
ON CONFLICT (device_id, position, message_id) DO UPDATE SET conversation_id = excluded.conversation_id, seq = excluded.seq
WHERE m.conversation_id IS NULL
"""

ACKNOWLEDGE: LiteralString = """
INSERT INTO message_mailbox AS m (device_id, position, message_id, ends_ms, user_id, delivered_at, envelope)
SELECT device_id, position, message_id, ends_ms, user_id, now(), ''
FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::uuid[]) AS t (device_id, position, message_id, ends_ms, user_id)
ORDER BY device_id, position, message_id
ON CONFLICT (device_id, position, message_id) DO UPDATE SET delivered_at = excluded.delivered_at, envelope = ''
WHERE m.delivered_at IS NULL
"""

PENDING: LiteralString = """
SELECT position, message_id, conversation_id, seq, envelope FROM message_mailbox
WHERE device_id = %s AND delivered_at IS NULL AND (position, message_id) > (%s, %s) AND user_id = %s AND ends_ms > %s
ORDER BY position, message_id LIMIT %s
"""

SHARED: LiteralString = """
SELECT h.conversation_id, h.seq, h.content, h.deleted_at IS NOT NULL
FROM unnest(%s::uuid[], %s::bigint[]) AS t (conversation_id, seq) JOIN message_history AS h USING (conversation_id, seq)
"""

HISTORY: LiteralString = """
SELECT h.message_id, h.seq, h.client_message_id, h.position, h.kept_ms, h.kind, h.sender_user_id, h.sender_device_id, h.sender_device_number,
  h.system, h.reply_to, h.deletes, h.expires_ms, h.urgent, h.content,
  h.deleted_at IS NOT NULL OR coalesce(h.expires_ms <= extract(epoch FROM now()) * 1000, false), m.envelope
FROM message_history AS h LEFT JOIN message_mailbox AS m
  ON m.device_id = %s AND m.position = h.position AND m.message_id = h.message_id AND m.user_id = %s AND m.delivered_at IS NULL
WHERE h.conversation_id = %s AND h.seq BETWEEN %s AND %s AND h.message_id IS NOT NULL
ORDER BY h.seq
"""

ACKNOWLEDGED: LiteralString = """
SELECT message_id FROM message_mailbox
WHERE device_id = %s AND user_id = %s AND position = ANY(%s::bigint[]) AND delivered_at IS NOT NULL
"""

CURSOR: LiteralString = "SELECT low_position, low_bucket FROM mailbox_cursor WHERE device_id = %s AND user_id = %s"

MOVE_CURSOR: LiteralString = """
INSERT INTO mailbox_cursor AS c (device_id, user_id, low_position, low_bucket, moved_ms) VALUES (%s, %s, %s, %s, %s)
ON CONFLICT (device_id) DO UPDATE
SET low_position = excluded.low_position, low_bucket = excluded.low_bucket, moved_ms = excluded.moved_ms
WHERE excluded.low_position > c.low_position
"""

NEWEST: LiteralString = """
SELECT seq, coalesce(message_id, 0) FROM message_history WHERE conversation_id = %s AND seq > %s ORDER BY seq DESC LIMIT 1
"""

PURGE: LiteralString = """
WITH due AS (
  SELECT device_id, position, message_id FROM message_mailbox WHERE device_id = %s AND user_id = %s ORDER BY position, message_id LIMIT %s FOR UPDATE
), gone AS (
  DELETE FROM message_mailbox m USING due d
  WHERE m.device_id = d.device_id AND m.position = d.position AND m.message_id = d.message_id RETURNING 1
), forgotten AS (
  DELETE FROM mailbox_cursor WHERE device_id = %s AND user_id = %s
)
SELECT count(*) FROM gone
"""

HEARTBEAT: LiteralString = "SELECT system_identifier, timeline, era, beat, local_dc FROM store_heartbeat WHERE id = 1"

BEAT: LiteralString = """
INSERT INTO store_heartbeat AS b (id, system_identifier, timeline, era, beat, local_dc, beat_ms) VALUES (1, %s, %s, %s, %s, %s, %s)
ON CONFLICT (id) DO UPDATE SET system_identifier = excluded.system_identifier, timeline = excluded.timeline, era = excluded.era,
  beat = excluded.beat, local_dc = excluded.local_dc, beat_ms = excluded.beat_ms
WHERE (excluded.era, excluded.beat) >= (b.era, b.beat)
"""
