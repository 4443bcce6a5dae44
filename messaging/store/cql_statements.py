"""What the Cassandra store says, all of it prepared: the part of CQL that Cassandra and ScyllaDB share.

Every write carries its time (`USING TIMESTAMP`): the driver's own would be a worker's clock. Only what belonged to a device that is gone for good is
ever deleted, because tombstones would have to be read over at every drain. The last column of every question says whose the rows are.
"""

KEEP = """
INSERT INTO {ks}.messages (conversation_id, bucket, seq, message_id, position, kept_ms, client_message_id, sender_user_id, sender_device_id,
  sender_device_number, kind, urgent, expires_ms, reply_to, deletes, system, content)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) USING TIMESTAMP ?
"""
KEEP_CONTENT_FOR_A_WHILE = """
UPDATE {ks}.messages USING TIMESTAMP ? AND TTL ? SET content = ? WHERE conversation_id = ? AND bucket = ? AND seq = ?
"""
EMPTY = """
UPDATE {ks}.messages USING TIMESTAMP ? SET deleted_ms = ?, content = 0x WHERE conversation_id = ? AND bucket = ? AND seq = ?
"""
DELIVER = """
INSERT INTO {ks}.message_deliveries (user_id, bucket, device_id, position, message_id, conversation_id, seq, envelope)
VALUES (?, ?, ?, ?, ?, ?, ?, ?) USING TIMESTAMP ? AND TTL ?
"""
ACKNOWLEDGE = """
UPDATE {ks}.message_deliveries USING TIMESTAMP ? AND TTL ? SET delivered_ms = ?, envelope = 0x
WHERE user_id = ? AND bucket = ? AND device_id = ? AND position = ? AND message_id = ?
"""
MOVE_CURSOR = "INSERT INTO {ks}.mailbox_cursors (user_id, device_id, low_position, low_bucket) VALUES (?, ?, ?, ?) USING TIMESTAMP ?"
PURGE = "DELETE FROM {ks}.message_deliveries USING TIMESTAMP ? WHERE user_id = ? AND bucket = ? AND device_id = ?"
PURGE_CURSOR = "DELETE FROM {ks}.mailbox_cursors USING TIMESTAMP ? WHERE user_id = ? AND device_id = ?"
BEAT = """
INSERT INTO {ks}.store_heartbeat (id, system_identifier, timeline, era, beat, local_dc, beat_ms) VALUES (1, ?, ?, ?, ?, ?, ?) USING TIMESTAMP ?
"""

PENDING = """
SELECT position, message_id, conversation_id, seq, envelope, delivered_ms, device_id FROM {ks}.message_deliveries
WHERE user_id = ? AND bucket = ? AND device_id = ? AND position > ? AND position <= ?
"""
OWN = """
SELECT message_id, envelope, delivered_ms, device_id FROM {ks}.message_deliveries
WHERE user_id = ? AND bucket = ? AND device_id = ? AND position IN ?
"""
RANGE = """
SELECT message_id, seq, client_message_id, position, kept_ms, kind, sender_user_id, sender_device_id, sender_device_number, reply_to, deletes,
  expires_ms, urgent, system, content, deleted_ms, conversation_id
FROM {ks}.messages WHERE conversation_id = ? AND bucket = ? AND seq >= ? AND seq <= ?
"""
SHARED = """
SELECT seq, content, deleted_ms, conversation_id FROM {ks}.messages WHERE conversation_id = ? AND bucket = ? AND seq IN ?
"""
KEPT = "SELECT kept_ms, conversation_id FROM {ks}.messages WHERE conversation_id = ? AND bucket = ? AND seq = ?"
HIGHEST = "SELECT seq, message_id, conversation_id FROM {ks}.messages WHERE conversation_id = ? AND bucket = ? LIMIT 1"
CURSOR = "SELECT low_position, low_bucket, device_id FROM {ks}.mailbox_cursors WHERE user_id = ? AND device_id = ?"
HEARTBEAT = "SELECT system_identifier, timeline, era, beat, local_dc, id FROM {ks}.store_heartbeat WHERE id = 1"

ALL = {name: text for name, text in dict(globals()).items() if name.isupper()}
