"""A person, what they prefer, and how they stand to others; what one process does at a time; and what happened."""

from typing import Any, ClassVar

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.auth.models import PermissionsMixin
from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import BrinIndex
from django.core.validators import RegexValidator
from django.db import models
from django.db.models.functions import Lower, Now
from django.utils import timezone

from accounts.authenticators import Authenticator, RecoveryCodes  # noqa: F401  (models of this app)
from accounts.ids import uuid7
from accounts.phones import decrypt_phone, encrypt_phone, hash_phone, mask_phone

USERNAME = RegexValidator(r"^[A-Za-z0-9_-]{3,30}\Z", "3 to 30 letters, digits, _ and -")


class UserManager(BaseUserManager["User"]):
    """Makes users from phone numbers."""

    def create_user(self, phone_number: str, password: str | None = None, **fields: Any) -> "User":
        """A new user. Without a password nobody can log in to the web admin with it."""
        user = self.model(phone_hash=hash_phone(phone_number), phone_encrypted=encrypt_phone(phone_number), **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, phone_number: str, password: str, **fields: Any) -> "User":
        """A new user who may do everything in the web admin."""
        return self.create_user(phone_number, password, is_staff=True, is_superuser=True, **fields)


class User(AbstractBaseUser, PermissionsMixin):
    """One person, known by a phone number that is stored hashed (to look up) and encrypted (to show), never in the clear.

    `device_epoch` rises, in the same transaction, whenever the person's list of devices changes; the log of conversations reads it.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    phone_hash = models.BinaryField("phone number", max_length=32, unique=True)
    phone_encrypted = models.BinaryField()
    username = models.CharField(max_length=30, null=True, blank=True, validators=[USERNAME])  # noqa: DJ001  (unique: only NULL stands for "none")
    display_name = models.CharField(max_length=100, blank=True, default="")
    bio = models.CharField(max_length=500, blank=True, default="")
    avatar = models.UUIDField(null=True, blank=True)
    device_epoch = models.BigIntegerField(default=0, db_default=0)
    is_active = models.BooleanField(
        "active", default=True, db_default=True, help_text="Blocked when off: no tokens, no sockets, no registration."
    )
    is_staff = models.BooleanField("staff", default=False, db_default=False, help_text="May log in to the web admin.")
    must_change_password = models.BooleanField(default=False, db_default=False)
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(default=timezone.now)
    last_used_at = models.DateTimeField(null=True, blank=True)

    objects: ClassVar[UserManager] = UserManager()

    USERNAME_FIELD = "phone_hash"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    class Meta:
        db_table = "accounts_user"
        verbose_name = "person"
        verbose_name_plural = "people"
        constraints: ClassVar = [models.UniqueConstraint(Lower("username"), name="one_user_per_username")]
        # What roles of the web admin are made of (`chatproject.web_admin.roles`).
        permissions: ClassVar = [
            ("list_users", "Can list people without searching"),
            ("block_user", "Can block and unblock people"),
            ("reveal_number", "Can see a whole phone number"),
            ("view_otp_statistics", "Can view the numbers of one-time codes"),
            ("switch_codes", "Can switch the sending of codes off and on"),
        ]

    def __str__(self) -> str:
        return self.display_name or self.username or str(self.pk)

    def get_short_name(self) -> str:
        """How the web admin calls the person."""
        return str(self)

    # Without it pages show the USERNAME_FIELD.
    get_full_name = get_short_name

    def set_password(self, raw_password: str | None) -> None:
        """A new password, which need not be changed."""
        super().set_password(raw_password)
        self.must_change_password = False

    @property
    def phone_number(self) -> str:
        """The number in the clear, for its owner."""
        return decrypt_phone(self.phone_encrypted)

    @property
    def masked_phone(self) -> str:
        """The number as staff sees it; nothing where there is none any more."""
        number = self.phone_number
        return mask_phone(number) if number else ""


class Pin(models.Model):
    """What a person has chosen to be asked for beside their phone number. Read and written by `pins`, on PostgreSQL's clock.

    `tries` are the times of the checks that were begun and have not been made good by a right PIN.
    """

    user = models.OneToOneField(User, on_delete=models.CASCADE, primary_key=True, related_name="pin")
    secret_hash = models.CharField(max_length=200)
    registration_lock = models.BooleanField(default=False, db_default=False)
    tries = ArrayField(models.DateTimeField(), default=list)
    set_at = models.DateTimeField(default=timezone.now)
    warned_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "accounts_pin"

    def __str__(self) -> str:
        return f"PIN of {self.user_id}"


class Lease(models.Model):
    """Who does something that one process does at a time, until when, and when it was last finished. Read and written by `leases`."""

    name = models.CharField(max_length=40, primary_key=True)
    owner = models.UUIDField()
    until = models.DateTimeField()
    finished_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "accounts_lease"

    def __str__(self) -> str:
        return self.name


class SecurityEvent(models.Model):
    """One thing that happened, named by ids alone. Written by `security_events.note`, removed by its chore; the table refuses everything else."""

    id = models.BigAutoField(primary_key=True)
    kind = models.CharField(max_length=30)
    at = models.DateTimeField(default=timezone.now, db_default=Now())
    user_id = models.UUIDField("person", null=True)
    actor_id = models.UUIDField("done by", null=True)
    device_id = models.BigIntegerField("device", null=True)
    network = models.CharField(max_length=50, blank=True, default="", db_default="")
    facts = models.JSONField(default=dict, db_default={})

    class Meta:
        db_table = "accounts_security_event"
        verbose_name = "event"
        verbose_name_plural = "audit log"
        indexes: ClassVar = [
            models.Index("user_id", "id", name="security_event_of_user"),
            models.Index("actor_id", "id", name="security_event_by_actor"),
            models.Index("kind", "id", name="security_event_of_kind"),
            # Rows lie in the order of their times.
            BrinIndex("at", name="security_event_at", autosummarize=True),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.pk}"


class Preference(models.Model):
    """One setting of a person. A key without a row has its default, if it is a known one (`preferences`)."""

    pk = models.CompositePrimaryKey("user_id", "key")
    user = models.ForeignKey(User, on_delete=models.CASCADE, db_index=False, related_name="preferences")
    key = models.CharField(max_length=64)
    value = models.JSONField()
    updated_at = models.DateTimeField(default=timezone.now)

    class Meta:
        db_table = "accounts_preference"

    def __str__(self) -> str:
        return f"{self.key} of {self.user_id}"


class Relationship(models.Model):
    """How one person stands to another; what the other thinks of it is a row of its own. Read and written by `relationships`."""

    class Stance(models.TextChoices):
        FRIENDLY = "friendly"
        BLOCKING = "blocking"

    pk = models.CompositePrimaryKey("user_id", "other_id")
    user = models.ForeignKey(User, on_delete=models.CASCADE, db_index=False, related_name="relationships")
    other = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    stance = models.CharField(max_length=10, choices=Stance)
    updated_at = models.DateTimeField(default=timezone.now)

    class Meta:
        db_table = "accounts_relationship"

    def __str__(self) -> str:
        return f"{self.user_id} is {self.stance} to {self.other_id}"


class Switch(models.Model):
    """What an operator has turned off, or on again, while everything runs. Without a row: on. Read and written by `switches`."""

    name = models.CharField(max_length=30, primary_key=True)
    is_off = models.BooleanField(default=False, db_default=False)
    changed_at = models.DateTimeField(default=timezone.now)

    class Meta:
        db_table = "accounts_switch"

    def __str__(self) -> str:
        return f"{self.name}: {'off' if self.is_off else 'on'}"


class CodeDay(models.Model):
    """One-time codes to the numbers of one country on one day (UTC). Written by `code_days`; says nothing about who."""

    pk = models.CompositePrimaryKey("day", "country")
    day = models.DateField()
    country = models.CharField(max_length=3, help_text="ISO 3166, or 001 for numbers of no country.")
    sent = models.IntegerField(default=0, db_default=0, help_text="What the gateway has taken, or may have.")
    budgeted = models.IntegerField(default=0, db_default=0, help_text="Those of them that count against the budget.")
    verified = models.IntegerField(default=0, db_default=0, help_text="Those whose code was typed in rightly.")

    class Meta:
        db_table = "accounts_code_day"

    def __str__(self) -> str:
        return f"{self.country} on {self.day}: {self.verified} of {self.sent}"


class KnownPlace(models.Model):
    """Somewhere a right code for a number was asked for from. Hashes of both, which tell nothing without the secrets. Used by `known_places`."""

    pk = models.CompositePrimaryKey("number_hash", "place_hash")
    number_hash = models.BinaryField(max_length=32)
    place_hash = models.BinaryField(max_length=32)
    seen_at = models.DateTimeField(default=timezone.now)

    class Meta:
        db_table = "accounts_known_place"

    def __str__(self) -> str:
        return f"seen {self.seen_at:%Y-%m-%d}"


class Tombstone(models.Model):
    """An account that was deleted: when, until when that is remembered, and what each store says of its erasure. Written by `tombstones`.

    `mailboxes`: its devices' ids, with the milliseconds since 1970 at which each was made and unlinked; they are purged when nothing can be under way
    to them any more. `receipts`: by store what was removed there, and when. Nothing here says who the person was.
    """

    user_id = models.UUIDField(primary_key=True)
    deleted_at = models.DateTimeField()
    until = models.DateTimeField()
    mailboxes = models.JSONField(default=list)
    receipts = models.JSONField(default=dict)
    look_at = models.DateTimeField(help_text="When its erasure goes on.")
    erased_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "accounts_tombstone"
        indexes: ClassVar = [
            models.Index(fields=["look_at"], condition=models.Q(erased_at=None), name="accounts_tombstone_open")
        ]

    def __str__(self) -> str:
        return str(self.user_id)
