"""Tombstones: what is left of an account that was deleted, and the receipts for what is not.

With its tombstone an account is unusable and its owner's number free: whoever proves it again gets another account, with another id. What the
stores still have is erased after that, in steps that may be interrupted and repeated; each store's receipt is written when nothing is left there.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.contrib.auth.hashers import make_password
from django.db.models.functions import Now

from accounts import known_places
from accounts.chores import by_blocks
from accounts.clocks import postgresql_now
from accounts.models import Tombstone, User
from accounts.phones import encrypt_phone
from accounts.wire.refusals import InvalidToken
from accounts.wire.scalars import write_time

LASTS = timedelta(days=30)
# The names of the stores in receipts.
POSTGRESQL, MESSAGES, VALKEY = "postgresql", "messages", "valkey"
STORES = (POSTGRESQL, MESSAGES, VALKEY)


@dataclass(frozen=True, slots=True)
class DeadMailbox:
    """A mailbox that is to be purged: of which device, and between which moments something was put into it, in milliseconds since 1970."""

    device_id: int
    created_ms: int
    unlinked_ms: int


def lock_living(user_id: UUID) -> User:
    """The person's row, locked until the transaction ends, for whoever writes what is theirs: nothing is added to an account that was deleted.

    Raises InvalidToken when it was: whoever asks has lost it meanwhile.
    """
    user = User.objects.select_for_update(no_key=True).filter(pk=user_id).first()
    # Asked when the lock is held: the first statement does not see what was committed while it waited.
    if user is None or Tombstone.objects.filter(pk=user_id).exists():
        raise InvalidToken
    return user


def bury(user: User, mailboxes: Sequence[DeadMailbox]) -> Tombstone:
    """Take everything from the account's row that says who it was, and put up its tombstone. The row is locked by the caller."""
    now = postgresql_now()
    known_places.forget(bytes(user.phone_hash))
    user.phone_hash, user.phone_encrypted = secrets.token_bytes(32), encrypt_phone("")
    user.username, user.display_name, user.bio, user.avatar = None, "", "", None
    user.password, user.is_active, user.updated_at = make_password(None), False, now
    user.save()
    return Tombstone.objects.create(
        user_id=user.pk,
        deleted_at=now,
        until=now + LASTS,
        look_at=now,
        mailboxes=[[one.device_id, one.created_ms, one.unlinked_ms] for one in mailboxes],
    )


def mailboxes_of(tombstone: Tombstone) -> Sequence[DeadMailbox]:
    """The mailboxes that are to be purged."""
    return [DeadMailbox(*facts) for facts in tombstone.mailboxes]


def due() -> Sequence[Tombstone]:
    """Some whose erasure has to go on, the one that waits longest first."""
    return list(Tombstone.objects.filter(erased_at=None, look_at__lte=Now()).order_by("look_at")[:20])


def sign(user_id: UUID, store: str, **facts: Any) -> None:
    """Write the store's receipt: nothing of the account is left there. With the last one the erasure has ended."""
    tombstone = Tombstone.objects.select_for_update().get(pk=user_id)
    now = postgresql_now()
    tombstone.receipts = {store: {"at": write_time(now)} | facts} | tombstone.receipts
    if all(name in tombstone.receipts for name in STORES):
        tombstone.erased_at = now
    tombstone.save(update_fields=["receipts", "erased_at"])


def look_again(user_id: UUID, at: datetime) -> None:
    """The erasure goes on at this time."""
    Tombstone.objects.filter(pk=user_id).update(look_at=at)


TOMBSTONES = by_blocks("tombstones", "accounts_tombstone", "r.erased_at IS NOT NULL AND r.until < clock_timestamp()")
