"""The message store's tables in PostgreSQL.

Only migrations use these models: rows are written and read by `messaging.store.sql`. Columns of fixed width stand before the others, so that
no row is padded. No index leads to mailbox rows that have ended: pruning walks over the table as it lies on the disk.
"""

from django.db import models


class HistoryRow(models.Model):  # noqa: DJ008  (never shown)
    """One message of a conversation. Only `deleted_at` is known of one whose deletion came before itself."""

    pk = models.CompositePrimaryKey("conversation_id", "seq")
    seq = models.BigIntegerField()
    message_id = models.BigIntegerField(null=True)
    position = models.BigIntegerField(null=True)
    kept_ms = models.BigIntegerField(null=True)
    sender_device_id = models.BigIntegerField(null=True)
    reply_to = models.BigIntegerField(null=True)
    deletes = models.BigIntegerField(null=True)
    expires_ms = models.BigIntegerField(null=True)
    deleted_at = models.DateTimeField(null=True)
    conversation_id = models.UUIDField()
    client_message_id = models.UUIDField(null=True)
    sender_user_id = models.UUIDField(null=True)
    sender_device_number = models.IntegerField(null=True)
    urgent = models.BooleanField(null=True)
    kind = models.TextField(null=True)  # noqa: DJ001  (null: not known yet)
    content = models.BinaryField(null=True)
    system = models.JSONField(null=True)

    class Meta:
        db_table = "message_history"
        indexes = [
            # Costs a message nothing unless it expires: what has to be emptied in time.
            models.Index(
                fields=["expires_ms"],
                name="message_history_expiring",
                condition=models.Q(expires_ms__isnull=False, content__isnull=False),
            )
        ]


class MailboxRow(models.Model):  # noqa: DJ008
    """One message for one device. An acknowledgement that came before the deposit has no conversation and no seq yet.

    No index names `delivered_at`, so that an acknowledgement stays on its page (a HOT update): a partial index over pending rows cost every
    message 12 µs and spared a drain only the acknowledged rows above its cursor, at a third of a microsecond each.
    """

    pk = models.CompositePrimaryKey("device_id", "position", "message_id")
    device_id = models.BigIntegerField()
    position = models.BigIntegerField()
    message_id = models.BigIntegerField()
    ends_ms = models.BigIntegerField()
    seq = models.BigIntegerField(null=True)
    delivered_at = models.DateTimeField(null=True)
    user_id = models.UUIDField()
    conversation_id = models.UUIDField(null=True)
    envelope = models.BinaryField()

    class Meta:
        db_table = "message_mailbox"


class MailboxCursor(models.Model):  # noqa: DJ008
    """Where the next drain of one mailbox begins."""

    device_id = models.BigIntegerField(primary_key=True)
    low_position = models.BigIntegerField()
    moved_ms = models.BigIntegerField()
    low_bucket = models.IntegerField()
    user_id = models.UUIDField()

    class Meta:
        db_table = "mailbox_cursor"


class StoreHeartbeat(models.Model):  # noqa: DJ008
    """The one row that says which PostgreSQL this store belongs to."""

    id = models.SmallIntegerField(primary_key=True)
    timeline = models.IntegerField()
    system_identifier = models.BigIntegerField()
    beat_ms = models.BigIntegerField()
    era = models.IntegerField(default=0, db_default=0)
    beat = models.BigIntegerField(default=0, db_default=0)
    local_dc = models.TextField()

    class Meta:
        db_table = "store_heartbeat"
