"""Staff log in to the web admin with phone number and password."""

import logging
from typing import Any

from django.contrib.auth.backends import ModelBackend
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest

from accounts.addresses import client_address, counted_as
from accounts.limits import Limit, WithoutRedis, spend
from accounts.models import User
from accounts.phones import hash_phone
from accounts.security_events import Kind, note
from accounts.wire.refusals import RateLimited, StorageUnavailable

logger = logging.getLogger(__name__)

LOGINS = Limit("ADMIN_LOGINS_PER_15_MIN", 900, WithoutRedis.REFUSE)


class PhoneBackend(ModelBackend):
    """Phone number and password of active staff. Takes as long for numbers that nobody has."""

    def authenticate(
        self, request: HttpRequest | None, username: str | None = None, password: str | None = None, **credentials: Any
    ) -> User | None:
        """The member of staff, or None, which is on record. Raises PermissionDenied after too many tries from one address or for one number."""
        if username is None or password is None:
            return None
        phone_hash = hash_phone("".join(username.split()))
        address = client_address(request) if request else ""
        _count_try(address, phone_hash)
        user = User.objects.filter(phone_hash=phone_hash).first()
        # Somebody without a password checks as slowly as anybody.
        is_right = (user or User(password="")).check_password(password)
        if is_right and user is not None and user.is_active and user.is_staff:
            return user
        # Not of tries that are too many: whoever goes on trying fills no table.
        note(Kind.STAFF_LOGIN_REFUSED, user_id=user.pk if user else None, address=address)
        return None


def _count_try(address: str, phone_hash: bytes) -> None:
    try:
        spend(LOGINS, "address", counted_as(address))
        spend(LOGINS, "number", phone_hash.hex())
    except (RateLimited, StorageUnavailable) as refusal:
        logger.warning("a login to the web admin was refused: %s", type(refusal).__name__)
        raise PermissionDenied from refusal
