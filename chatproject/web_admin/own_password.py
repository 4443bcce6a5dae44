"""One's own password, which some pages ask for again because an open session alone must not do: guessed there no more often than at the login."""

from typing import TYPE_CHECKING, Any

from django import forms

from accounts.limits import Limit, WithoutRedis, spend
from accounts.models import User
from accounts.wire.refusals import RateLimited, StorageUnavailable

if TYPE_CHECKING:
    from django.contrib.auth.forms import PasswordChangeForm
else:
    from unfold.forms import AdminOwnPasswordChangeForm as PasswordChangeForm

TRIES = Limit("ADMIN_LOGINS_PER_15_MIN", 900, WithoutRedis.REFUSE)
TOO_OFTEN = "Too many tries. Come back in a quarter of an hour."


def is_own(user: User, password: str) -> bool:
    """Whether this is the member of staff's password. A try is counted before it is compared: raises RateLimited and StorageUnavailable."""
    spend(TRIES, "own password", str(user.pk))
    return user.check_password(password)


class OwnPasswordChangeForm(PasswordChangeForm):
    """Another password for whoever knows the present one."""

    def clean_old_password(self) -> Any:
        """The present password, compared if there is a try left."""
        try:
            spend(TRIES, "own password", str(self.user.pk))
        except (RateLimited, StorageUnavailable) as refusal:
            raise forms.ValidationError(TOO_OFTEN) from refusal
        return super().clean_old_password()
