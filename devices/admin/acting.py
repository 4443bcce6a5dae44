"""What staff does about people and devices: by a form with a reason, by those who may, to those it may be done to, and on record."""

import enum
from collections.abc import Callable
from functools import wraps
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.views.decorators.http import require_POST

from accounts.models import Tombstone, User
from accounts.wire.refusals import InvalidToken


class Reason(enum.StrEnum):
    """Why staff does something. Words to choose from: what people write themselves is no fact for the record."""

    ABUSE = "abuse"
    LEGAL = "legal"
    OWNER = "owner"
    SECURITY = "security"
    OTHER = "other"

    @property
    def label(self) -> str:
        """As the form says it."""
        return {
            "abuse": "Abuse was reported",
            "legal": "Legal order",
            "owner": "The owner asked for it",
            "security": "Suspected theft or intrusion",
            "other": "Something else",
        }[self.value]


# Does it, and says what was done.
Deed = Callable[[Any, HttpRequest, User, Any, Reason], str | HttpResponse]
View = Callable[..., HttpResponse]


def deed(permission: str, *, find: Callable[[str], tuple[User, Any] | None]) -> Callable[[Deed], View]:
    """A view of a page of the web admin: POST alone, for those with the permission, with a reason.

    `find` gives whom it concerns and what it is done to. Staff is dealt with by superusers alone, nobody deals with themselves,
    and there is nothing left to do about an account that was deleted.
    """

    def view_of(do: Deed) -> View:
        @wraps(do)
        def view(page: Any, request: HttpRequest, object_id: str) -> HttpResponse:
            if not request.user.has_perm(permission):
                raise PermissionDenied
            found = find(object_id)
            if found is None:
                raise Http404
            user, target = found
            if not may_be_dealt_with(request, user):
                raise PermissionDenied
            if Tombstone.objects.filter(pk=user.pk).exists():
                messages.error(request, "This account was deleted.")
                return back_to(user)
            reason = _reason(request)
            if reason is None:
                messages.error(request, "Choose a reason.")
                return back_to(user)
            try:
                done = do(page, request, user, target, reason)
            except InvalidToken:
                # Since it was looked for.
                messages.error(request, "This account was deleted.")
                return back_to(user)
            if isinstance(done, HttpResponse):
                return done
            messages.success(request, done)
            return back_to(user)

        return method_decorator(require_POST)(view)

    return view_of


def may_be_dealt_with(request: HttpRequest, user: User) -> bool:
    """Whether this member of staff may do something about the person."""
    is_superuser = bool(getattr(request.user, "is_superuser", False))
    return user.pk != request.user.pk and (is_superuser or not (user.is_staff or user.is_superuser))


def back_to(user: User) -> HttpResponse:
    """The person's page."""
    return HttpResponseRedirect(reverse("admin:accounts_user_change", args=[user.pk]))


def person(object_id: str) -> tuple[User, User] | None:
    """For deeds about a person."""
    try:
        user = User.objects.filter(pk=UUID(object_id)).first()
    except ValueError:
        return None
    return (user, user) if user else None


def _reason(request: HttpRequest) -> Reason | None:
    try:
        return Reason(request.POST.get("reason", ""))
    except ValueError:
        return None
