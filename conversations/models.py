"""Tables of conversations and their log.

The hot path (`log.py`, `outbox.py`) reads and writes these tables by SQL; the models describe them for migrations, the ORM roads and the admin.
"""

import uuid
from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from accounts.ids import uuid7
from conversations import sources


class Conversation(models.Model):
    """A direct or group conversation. `next_seq` … `last_position` are the head of its log and change only under this row's lock."""

    class Kind(models.TextChoices):
        DIRECT = "direct"
        GROUP = "group"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    kind = models.CharField(max_length=10, choices=Kind)
    name = models.CharField(max_length=100, blank=True, default="")
    avatar = models.UUIDField(null=True, blank=True)
    metadata = models.JSONField(null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    archived_at = models.DateTimeField(null=True, blank=True)
    retention_seconds = models.IntegerField(null=True, blank=True)
    # The two members of a direct conversation, smaller id first: one conversation per pair.
    direct_low = models.UUIDField(null=True, blank=True)
    direct_high = models.UUIDField(null=True, blank=True)
    # One of the two blocks the other (`blocks`).
    blocked = models.BooleanField(default=False, db_default=False)
    source = models.CharField(max_length=40, default=sources.DEFAULT)
    source_since_seq = models.BigIntegerField(default=1)
    next_seq = models.BigIntegerField(default=1)
    last_message_id = models.BigIntegerField(default=0)
    last_position = models.BigIntegerField(default=0)
    last_kept_ms = models.BigIntegerField(default=0)
    last_kind = models.CharField(max_length=20, blank=True, default="")
    last_sender_user_id = models.UUIDField(null=True, blank=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["direct_low", "direct_high"], name="one_direct_conversation_per_pair"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.pk}"


class Member(models.Model):
    """One stay of a user in a conversation: from `joined_seq` to `left_seq` (None while it lasts), both seqs included."""

    class Role(models.TextChoices):
        MEMBER = "member"
        ADMIN = "admin"
        OWNER = "owner"

    conversation = models.ForeignKey(Conversation, on_delete=models.CASCADE, related_name="members")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=10, choices=Role, default=Role.MEMBER)
    joined_at = models.DateTimeField(default=timezone.now)
    joined_seq = models.BigIntegerField()
    left_seq = models.BigIntegerField(null=True, blank=True)
    last_read_seq = models.BigIntegerField(default=0)
    muted_until = models.DateTimeField(null=True, blank=True)
    pinned = models.BooleanField(default=False)
    archived = models.BooleanField(default=False)
    # A direct conversation its member has left is hidden while its head is not above this.
    hidden_at_seq = models.BigIntegerField(null=True, blank=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["conversation", "user"], condition=Q(left_seq=None), name="one_stay_at_a_time"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.user_id} in {self.conversation_id}"


class DeviceStart(models.Model):
    """Where a device's view of a conversation begins. `envelope_seq` is its first envelope there, None while it has got none."""

    pk = models.CompositePrimaryKey("conversation_id", "device_id")
    conversation = models.ForeignKey(Conversation, on_delete=models.CASCADE)
    device_id = models.BigIntegerField()
    from_seq = models.BigIntegerField()
    envelope_seq = models.BigIntegerField(null=True)
    # The device's own `mailbox_from` then: once it is installed again this start is not its own any more.
    mailbox_from = models.BigIntegerField(default=0, db_default=0)

    class Meta:
        db_table = "conversations_device_start"
        indexes: ClassVar = [models.Index(fields=["device_id"], name="device_start_device")]

    def __str__(self) -> str:
        return f"device {self.device_id} in {self.conversation_id}"


class LedgerRow(models.Model):
    """One committed entry: which send became which seq. Written once, never updated; `pruning` removes it when its send cannot be repeated."""

    pk = models.CompositePrimaryKey("conversation_id", "seq")
    conversation = models.ForeignKey(Conversation, on_delete=models.CASCADE, db_index=False, db_constraint=False)
    seq = models.BigIntegerField()
    sender_device_id = models.BigIntegerField(help_text="0: written by the server")
    client_message_id = models.UUIDField(default=uuid.uuid4)
    sender_user_id = models.UUIDField(null=True)
    kind = models.CharField(max_length=20)
    urgent = models.BooleanField(default=True)
    message_id = models.BigIntegerField()
    position = models.BigIntegerField()
    kept_ms = models.BigIntegerField()
    expires_ms = models.BigIntegerField(null=True)
    source = models.CharField(max_length=40, default=sources.DEFAULT)

    class Meta:
        db_table = "conversations_ledger"
        constraints: ClassVar = [
            # The idempotency key. Looked up and inserted under the conversation's row lock: an insert never conflicts.
            models.UniqueConstraint(
                fields=["conversation", "sender_device_id", "client_message_id"], name="one_entry_per_send"
            ),
        ]
        # Finds what is acknowledged or deleted by its id, and what is old: ids rise with time.
        indexes: ClassVar = [models.Index(fields=["message_id"], name="ledger_message")]

    def __str__(self) -> str:
        return f"{self.conversation_id} {self.seq}"


class LostRange(models.Model):
    """Seqs that were given out before PostgreSQL was restored to an earlier state. Nothing is known of them here, and none is given again."""

    pk = models.CompositePrimaryKey("conversation_id", "from_seq")
    conversation = models.ForeignKey(Conversation, on_delete=models.CASCADE, db_index=False)
    from_seq = models.BigIntegerField()
    to_seq = models.BigIntegerField()

    class Meta:
        db_table = "conversations_lost_range"

    def __str__(self) -> str:
        return f"{self.conversation_id} {self.from_seq}-{self.to_seq}"


class OutboxRow(models.Model):
    """One committed entry that its message store does not have yet: the bundle, and until when somebody is at work on it.

    `failures`: how often it could not be deposited for a reason of its own. `deletes_seq`: the history row it empties, if it is a deletion.
    """

    pk = models.CompositePrimaryKey("conversation_id", "seq")
    conversation = models.ForeignKey(Conversation, on_delete=models.CASCADE, db_index=False, db_constraint=False)
    seq = models.BigIntegerField()
    source = models.CharField(max_length=40, default=sources.DEFAULT)
    position = models.BigIntegerField()
    kept_ms = models.BigIntegerField()
    claimed_until = models.DateTimeField()
    size = models.IntegerField()
    bundle = models.BinaryField()
    failures = models.SmallIntegerField(default=0, db_default=0)
    deletes_seq = models.BigIntegerField(null=True)

    class Meta:
        db_table = "conversations_outbox"
        indexes: ClassVar = [
            models.Index(fields=["source", "position"], name="outbox_position"),
            models.Index(fields=["position"], name="outbox_set_aside", condition=Q(failures__gt=0)),
            models.Index(
                fields=["conversation_id", "deletes_seq"], name="outbox_deletes", condition=Q(deletes_seq__isnull=False)
            ),
        ]

    def __str__(self) -> str:
        return f"{self.conversation_id} {self.seq}"


class MarksField(models.Field):  # type: ignore[type-arg]  # (Django cannot be subscripted when it runs)
    """A fixed number of bits, one for each seq of a tally's block. Only SQL reads and writes them."""

    def db_type(self, connection: object) -> str:
        """The column's type."""
        return "bit(1024)"


class Tally(models.Model):
    """What is kept of ledger rows that are gone while somebody has not read them: which seqs of a block were this sender's urgent messages.

    A block is 1,024 seqs: `seq / 1024`. Bit 0 is the leftmost.
    """

    pk = models.CompositePrimaryKey("conversation_id", "block", "sender_user_id")
    conversation = models.ForeignKey(Conversation, on_delete=models.CASCADE, db_index=False, db_constraint=False)
    block = models.BigIntegerField()
    sender_user_id = models.UUIDField()
    marks = MarksField()

    class Meta:
        db_table = "conversations_tally"

    def __str__(self) -> str:
        return f"{self.conversation_id} {self.block}"


class LedgerFloor(models.Model):
    """One row: the ids of sends made until `made_ms` may have been forgotten by the ledger, so none of them can be new."""

    id = models.SmallIntegerField(primary_key=True)
    made_ms = models.BigIntegerField()

    class Meta:
        db_table = "conversations_ledger_floor"

    def __str__(self) -> str:
        return str(self.made_ms)


class Gap(models.Model):
    """Seqs of a conversation that one device does not get, and is told so. The last entry in it is named by `message_id` … `kept_ms`.

    Of a gap that `skips`, the entry is in the device's mailbox and is not delivered. Of any other, the device's mailbox was full, and nothing was
    put into it.
    """

    pk = models.CompositePrimaryKey("device_id", "conversation_id", "from_seq")
    device_id = models.BigIntegerField()
    conversation = models.ForeignKey(Conversation, on_delete=models.CASCADE)
    from_seq = models.BigIntegerField()
    to_seq = models.BigIntegerField()
    message_id = models.BigIntegerField()
    position = models.BigIntegerField()
    kept_ms = models.BigIntegerField()
    skips = models.BooleanField(default=False, db_default=False)
    told = models.BooleanField(default=False, db_default=False)

    class Meta:
        db_table = "conversations_gap"

    def __str__(self) -> str:
        return f"device {self.device_id} in {self.conversation_id}: {self.from_seq} to {self.to_seq}"
