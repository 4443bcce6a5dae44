"""People in the web admin: who they are, never what they keep secret. `devices.admin` adds what concerns their devices."""

from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from accounts.models import User
from accounts.phones import E164, hash_phone

if TYPE_CHECKING:
    UserModelAdmin = admin.ModelAdmin[User]
else:
    UserModelAdmin = admin.ModelAdmin


class PeopleAdmin(UserModelAdmin):
    """People can be found and corrected, not made and not deleted."""

    list_display = [
        "__str__",
        "username",
        "masked_phone",
        "is_active",
        "is_staff",
        "created_at",
        "last_used_at",
    ]
    list_filter = ["is_active", "is_staff"]
    list_per_page = 50
    show_full_result_count = False
    ordering = ["-created_at"]
    search_fields = ["username", "display_name"]
    search_help_text = "Username, display name, user id, or a whole phone number as +66812345678"
    fieldsets = [
        (None, {"fields": ["id", "masked_phone", "display_name", "username", "bio"]}),
        ("State", {"fields": ["is_active", "created_at", "last_used_at", "last_login", "device_epoch"]}),
        ("Web admin", {"fields": ["is_staff", "is_superuser", "groups"]}),
    ]
    filter_horizontal = ["groups"]
    _always_readonly = [
        "id",
        "masked_phone",
        "is_active",
        "created_at",
        "last_used_at",
        "last_login",
        "device_epoch",
    ]

    @admin.display(description="phone number")
    def masked_phone(self, user: User) -> str:
        """Country and ending."""
        return user.masked_phone

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> list[str]:
        """Only a superuser gives rank."""
        return (
            self._always_readonly
            if _is_superuser(request)
            else [*self._always_readonly, "is_staff", "is_superuser", "groups"]
        )

    def has_add_permission(self, request: HttpRequest) -> bool:
        """People sign in by themselves."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        """Deleting a row would leave the person's messages behind."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        """A superuser is changed by superusers alone."""
        return super().has_change_permission(request, obj) and (
            obj is None or not obj.is_superuser or _is_superuser(request)
        )

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[User], search_term: str
    ) -> tuple[QuerySet[User], bool]:
        """A user id and a whole phone number find the one person they belong to."""
        term = search_term.strip()
        exact = _exact(term)
        if exact is not None:
            return queryset.filter(**exact), False
        return super().get_search_results(request, queryset, term)


def _exact(term: str) -> dict[str, Any] | None:
    if E164.fullmatch(term):
        return {"phone_hash": hash_phone(term)}
    try:
        return {"pk": UUID(term)}
    except ValueError:
        return None


def _is_superuser(request: HttpRequest) -> bool:
    return bool(getattr(request.user, "is_superuser", False))
