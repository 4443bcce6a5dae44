"""The public side of people, read through the cache: it is asked for much more often than it changes."""

from functools import partial
from typing import Any
from uuid import UUID

from django.db.models.signals import post_delete, post_save

from accounts.cache import cached, forget
from accounts.models import User
from accounts.people import access_user
from accounts.schemas import UserOut, show_user

NAME = "profiles"
SECONDS = 60.0


def public_side(user_id: UUID) -> UserOut:
    """The person as everybody sees them. Raises NotFound, also for somebody whose account is deleted."""
    return UserOut.model_validate(cached(NAME, str(user_id), partial(_load, user_id), SECONDS))


def connect() -> None:
    """Whoever saves or deletes a person has the former profile forgotten. Called once, when the apps are ready."""
    for changed in (post_save, post_delete):
        changed.connect(_forget, sender=User, dispatch_uid="accounts.profiles")


def _load(user_id: UUID) -> dict[str, Any]:
    return show_user(access_user(user_id)).model_dump(mode="json")


def _forget(*, instance: User, **_: Any) -> None:
    forget(NAME, str(instance.pk))
