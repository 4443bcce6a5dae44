"""Who may log in to the web admin, and as what."""

import secrets

from django.contrib.auth.models import Group
from django.db import transaction

from accounts import second_factor
from accounts.models import User
from accounts.phones import hash_phone
from accounts.security_events import Kind, note

SUPPORT, SECURITY, SUPERUSER = "support", "security", "superuser"
ROLES = (SUPPORT, SECURITY, SUPERUSER)

_GROUPS_OF_DIGITS = 6


def one_time_password() -> str:
    """96 bits, in groups that can be read out."""
    return "-".join(secrets.token_hex(2) for _ in range(_GROUPS_OF_DIGITS))


@transaction.atomic
def appoint(number: str, role: str) -> str:
    """The one-time password with which the person of this number, known or new, logs in next; any earlier password and second step are over."""
    user = _lock(number) or User.objects.create_user(number, display_name=role.capitalize())
    password = one_time_password()
    user.is_staff = user.is_active = True
    user.is_superuser = role == SUPERUSER
    user.set_password(password)
    user.must_change_password = True
    user.save(update_fields=["is_staff", "is_active", "is_superuser", "password", "must_change_password"])
    user.groups.set(Group.objects.filter(name=role))
    second_factor.forget(user)
    note(Kind.STAFF_APPOINTED, user_id=user.pk, facts={"role": role})
    return password


@transaction.atomic
def dismiss(number: str) -> bool:
    """Whether there was staff of this number. The person stays, as a person."""
    user = _lock(number)
    if user is None or not user.is_staff:
        return False
    user.is_staff = user.is_superuser = False
    user.set_unusable_password()
    user.save(update_fields=["is_staff", "is_superuser", "password"])
    user.groups.clear()
    second_factor.forget(user)
    note(Kind.STAFF_DISMISSED, user_id=user.pk)
    return True


def find(number: str) -> User | None:
    """The person of this number."""
    return User.objects.filter(phone_hash=hash_phone(number)).first()


def _lock(number: str) -> User | None:
    """The same, locked until the transaction ends: the rank is not given to an account that is being deleted, which has no number afterwards."""
    return User.objects.select_for_update(no_key=True).filter(phone_hash=hash_phone(number)).first()
