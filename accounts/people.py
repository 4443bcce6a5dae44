"""Profiles, and finding people."""

from collections.abc import Mapping, Sequence
from uuid import UUID

from django.db import IntegrityError
from django.db.models import Exists, F, OuterRef, QuerySet
from django.db.models.functions import Lower
from django.utils import timezone

from accounts.limits import Limit, WithoutRedis, spend
from accounts.models import Preference, Relationship, Tombstone, User
from accounts.phones import pepper
from accounts.preferences import PHONE_DISCOVERY
from accounts.tombstones import lock_living
from accounts.transactions import short_transaction
from accounts.wire.refusals import Conflict, InvalidRequest, NotFound

LOOKUPS = Limit("LOOKUPS_PER_15_MIN", 900, WithoutRedis.REFUSE)


def access_user(user_id: UUID) -> User:
    """The person, as anybody may see them. Raises NotFound."""
    user = User.objects.filter(~Exists(Tombstone.objects.filter(user_id=OuterRef("pk"))), pk=user_id).first()
    if user is None:
        raise NotFound
    return user


def change_profile(user_id: UUID, changes: Mapping[str, object]) -> User:
    """The person, after the changes; None clears. Raises Conflict for a name somebody has, whatever its case, and InvalidToken without an account."""
    try:
        with short_transaction():
            user = lock_living(user_id)
            if "display_name" in changes and changes["display_name"] is None and user.display_name:
                raise InvalidRequest(sentence="display_name cannot be cleared.", field="display_name")
            for name, value in changes.items():
                setattr(user, name, value if value is not None or name in ("username", "avatar") else "")
            user.updated_at = timezone.now()
            user.save(update_fields=[*changes, "updated_at"])
    except IntegrityError as failure:
        raise Conflict(sentence="This username is taken.", field="username") from failure
    return user


def look_up(caller_id: UUID, *, usernames: Sequence[str], phone_hashes: Sequence[bytes]) -> dict[str | bytes, User]:
    """Whoever has these names or numbers, by the input. Every input counts. Raises RateLimited, or StorageUnavailable when nobody can count.

    Left out are unknown ones, those who block the caller, those whose account is blocked, and by number those who do not want to be found by it. All
    of that is asked in one statement: an answer takes as long whichever of them it is.
    """
    spend(LOOKUPS, str(caller_id), cost=len(usernames) + len(phone_hashes))
    there = _findable_by(caller_id)
    by_name = _by_username(there, usernames)
    by_hash = _by_phone(there, phone_hashes)
    found: dict[str | bytes, User] = {name: by_name[name.lower()] for name in usernames if name.lower() in by_name}
    return found | {item: by_hash[pepper(item)] for item in phone_hashes if pepper(item) in by_hash}


def _findable_by(caller_id: UUID) -> QuerySet[User]:
    blocking = Relationship.objects.filter(
        user_id=OuterRef("pk"), other_id=caller_id, stance=Relationship.Stance.BLOCKING
    )
    return User.objects.filter(~Exists(blocking), is_active=True)


def _by_username(there: QuerySet[User], usernames: Sequence[str]) -> dict[str, User]:
    lowered = [name.lower() for name in usernames]
    users = there.annotate(lowered=Lower(F("username"))).filter(lowered__in=lowered)
    return {(user.username or "").lower(): user for user in users}


def _by_phone(there: QuerySet[User], phone_hashes: Sequence[bytes]) -> dict[bytes, User]:
    hidden = Preference.objects.filter(user_id=OuterRef("pk"), key=PHONE_DISCOVERY, value=False)
    users = there.filter(~Exists(hidden), phone_hash__in=[pepper(item) for item in phone_hashes])
    return {bytes(user.phone_hash): user for user in users}
