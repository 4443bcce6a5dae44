"""What a person holds: devices, their tokens and their public keys."""

import uuid
from typing import ClassVar

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.utils import timezone


class Device(models.Model):
    """One installation of a client. Its id is never used again, not even when it is unlinked.

    The hot path reads this table by SQL. `mailbox_from`: older rows of its mailbox are not its own any more (it was installed again).
    `conn_id`: the number of its newest socket, from the sequence `devices_connection`.
    """

    class Platform(models.TextChoices):
        IOS = "ios", "iOS"
        ANDROID = "android"
        WEB = "web"
        DESKTOP = "desktop"
        BOT = "bot"

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="devices")
    device_number = models.SmallIntegerField()
    device_uuid = models.UUIDField()
    name = models.CharField(max_length=100)
    platform = models.CharField(max_length=10, choices=Platform)
    registration_id = models.IntegerField()
    identity_key = models.BinaryField(max_length=33)
    is_primary = models.BooleanField(default=False, db_default=False)
    active = models.BooleanField(default=True, db_default=True)
    mailbox_from = models.BigIntegerField(default=0, db_default=0)
    conn_id = models.BigIntegerField(default=0, db_default=0)
    created_at = models.DateTimeField(default=timezone.now)
    last_seen = models.DateField(null=True, blank=True)
    unlinked_at = models.DateTimeField(null=True, blank=True)
    # Since when nothing is left of what was kept for it, some time after it was unlinked.
    purged_at = models.DateTimeField(null=True, blank=True)
    linked_by = models.JSONField(null=True, blank=True)
    # The highest key_id ever uploaded, per kind: one at or below it is never put into the pool again.
    highest_prekey_id = models.IntegerField(default=-1, db_default=-1)
    highest_pq_prekey_id = models.IntegerField(default=-1, db_default=-1)
    # The era in which that was last true: in a later one nobody knows how high they came, and what was handed out (see `prekeys`). 0: no era yet.
    prekeys_era = models.IntegerField(default=0, db_default=0)
    pq_prekeys_era = models.IntegerField(default=0, db_default=0)
    # Nothing is put into a full mailbox: the device is told of a gap instead, until it has drained. What waits in it is counted roughly.
    mailbox_full = models.BooleanField(default=False, db_default=False)
    pending_rows = models.BigIntegerField(default=0, db_default=0)
    pending_bytes = models.BigIntegerField(default=0, db_default=0)
    # The message it did not acknowledge when its socket was last closed for that, and how often in a row.
    stuck_message_id = models.BigIntegerField(default=0, db_default=0)
    stuck_times = models.SmallIntegerField(default=0, db_default=0)
    # When the present line of tokens began: it ends for good TOKEN_LINE_DAYS after that.
    tokens_since = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "devices_device"
        # What roles of the web admin are made of (`chatproject.web_admin.roles`).
        permissions: ClassVar = [
            ("revoke_device", "Can unlink any device for good"),
            ("refresh_keys", "Can have a device upload new one-time prekeys"),
        ]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["user", "device_uuid"], condition=Q(active=True), name="one_active_device_per_uuid"
            ),
            models.UniqueConstraint(
                fields=["user", "device_number"], condition=Q(active=True), name="one_active_device_per_number"
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["id"], condition=Q(active=False, purged_at=None), name="devices_to_be_purged")
        ]

    def __str__(self) -> str:
        return f"device {self.pk}"


class TokenPair(models.Model):
    """One access and one refresh token that were given out together. Of the refresh token only its hash is kept.

    An `offered` pair becomes the `current` one when one of its tokens is first used; the former one is then `replaced`, the other offers
    are `ended`. Whoever presents the refresh token of a replaced pair, or any token of an ended one, shows that somebody else has it too.
    """

    class State(models.IntegerChoices):
        OFFERED = 0
        CURRENT = 1
        REPLACED = 2
        ENDED = 3

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    device = models.ForeignKey(Device, on_delete=models.CASCADE, related_name="token_pairs")
    refresh_hash = models.BinaryField(max_length=32, unique=True)
    state = models.SmallIntegerField(choices=State)
    created_at = models.DateTimeField(default=timezone.now)
    refresh_expires_at = models.DateTimeField()

    class Meta:
        db_table = "devices_token_pair"

    def __str__(self) -> str:
        return f"tokens of device {self.device_id}"


class SignedPrekey(models.Model):
    """A prekey that stays until it is replaced, one of each kind per device. `former`: digests of those it has replaced, newest first."""

    class Kind(models.TextChoices):
        SIGNED = "signed"
        LAST_RESORT = "last_resort"
        PQ_LAST_RESORT = "pq_last_resort"

    device = models.ForeignKey(Device, on_delete=models.CASCADE, related_name="signed_prekeys")
    kind = models.CharField(max_length=16, choices=Kind)
    key_id = models.IntegerField()
    public_key = models.BinaryField()
    signature = models.BinaryField(max_length=64)
    former = ArrayField(models.BinaryField(max_length=32), default=list, db_default=[])

    class Meta:
        db_table = "devices_signed_prekey"
        constraints: ClassVar = [models.UniqueConstraint(fields=["device", "kind"], name="one_signed_prekey_per_kind")]

    def __str__(self) -> str:
        return f"{self.kind} prekey of device {self.device_id}"


class OneTimePrekey(models.Model):
    """A prekey that is handed out once. Handing out is the deletion of this row. One of an earlier era than the present is never handed out."""

    class Kind(models.TextChoices):
        CURVE = "curve"
        PQ = "pq"

    device = models.ForeignKey(Device, on_delete=models.CASCADE, related_name="one_time_prekeys", db_index=False)
    kind = models.CharField(max_length=8, choices=Kind)
    key_id = models.IntegerField()
    public_key = models.BinaryField()
    signature = models.BinaryField(max_length=64, null=True)

    class Meta:
        db_table = "devices_one_time_prekey"
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["device", "kind", "key_id"], name="one_prekey_per_key_id")
        ]

    def __str__(self) -> str:
        return f"{self.kind} prekey of device {self.device_id}"


class Link(models.Model):
    """The way of a new installation into an account: the primary opens it, the installation claims it, the primary approves or rejects it.

    `expires_at` ends the present state. Of both secrets only the hash is kept. `offer`: what the claimant says about itself, without its keys
    once the link has come to an end.
    """

    class State(models.TextChoices):
        NEW = "new"
        CLAIMED = "claimed"
        APPROVED = "approved"
        COMPLETED = "completed"
        REJECTED = "rejected"
        EXPIRED = "expired"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="links")
    state = models.CharField(max_length=10, choices=State, default=State.NEW)
    token_hash = models.BinaryField(max_length=32, unique=True)
    claim_hash = models.BinaryField(max_length=32, null=True)
    offer = models.BinaryField(null=True)
    device_id = models.BigIntegerField(null=True)
    created_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField()

    class Meta:
        db_table = "devices_link"
        indexes: ClassVar = [
            models.Index(
                fields=["expires_at"], condition=Q(state__in=["new", "claimed", "approved"]), name="devices_link_open"
            )
        ]

    def __str__(self) -> str:
        return f"link {self.pk}"


class PushToken(models.Model):
    """Where a device without a socket is woken. `address` is encrypted: whoever has it can have the device woken."""

    class Provider(models.TextChoices):
        WEBPUSH = "webpush"
        FCM = "fcm"
        APNS = "apns"

    device = models.OneToOneField(Device, primary_key=True, on_delete=models.CASCADE, related_name="push_token")
    provider = models.CharField(max_length=10, choices=Provider)
    address = models.BinaryField()
    created_at = models.DateTimeField(default=timezone.now)
    # When it was last woken by any process: a burst of messages wakes once.
    woken_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "devices_push_token"

    def __str__(self) -> str:
        return f"push token of device {self.device_id}"
