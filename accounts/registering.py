"""The account behind a phone number."""

from django.contrib.auth.hashers import make_password

from accounts.models import User
from accounts.phones import encrypt_phone, hash_phone
from accounts.wire.refusals import Forbidden


def find_user(number: str) -> User | None:
    """The account of this number, if there is one. Raises Forbidden when it is blocked."""
    user = User.objects.filter(phone_hash=hash_phone(number)).first()
    return None if user is None else _not_blocked(user)


def lock_or_create_user(number: str) -> User:
    """The account of this number, made if there is none, its row locked until the transaction ends. Raises Forbidden when it is blocked."""
    phone_hash = hash_phone(number)
    while (user := User.objects.select_for_update(no_key=True).filter(phone_hash=phone_hash).first()) is None:
        new = User(phone_hash=phone_hash, phone_encrypted=encrypt_phone(number), password=make_password(None))
        # Two registrations of one new number at once: the second waits here, finds the first one's row and goes on with it. Whoever waited for an
        # account that was being deleted finds none, and makes another one.
        User.objects.bulk_create([new], ignore_conflicts=True)
    return _not_blocked(user)


def _not_blocked(user: User) -> User:
    if not user.is_active:
        raise Forbidden(sentence="This account is blocked.")
    return user
