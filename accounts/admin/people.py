"""People in the web admin: who they are, never what they keep secret. `devices.admin` adds what concerns their devices."""

import re
from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.db.models.functions import Lower
from django.db.models.lookups import Exact
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.views.decorators.http import require_POST
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget

from accounts.admin.page import Page
from accounts.models import USERNAME, User
from accounts.phones import E164, hash_phone
from accounts.security_events import Kind, note

RANK = ["is_staff", "is_superuser", "groups"]
NAMES = ["display_name", "username", "bio"]
FACTS = ["id", "masked_phone", "is_active", "created_at", "last_used_at", "last_login"]


class PeopleAdmin(Page[User]):
    """People can be found, by what is known of them exactly; superusers correct names and give rank."""

    list_display = ["__str__", "username", "masked_phone", "is_active", "staff", "created_at", "last_used_at"]
    list_filter = ["is_active", "is_staff"]
    ordering = ["-pk"]
    sortable_by = ()
    search_fields = ["username"]
    search_help_text = "Whole phone number (+66812345678), username or user id"
    list_before_template = "accounts/before_people.html"
    fieldsets = [
        ("Person", {"fields": [("display_name", "username"), "bio", ("id", "masked_phone")]}),
        ("State", {"fields": [("is_active", "created_at"), ("last_used_at", "last_login")]}),
    ]
    rank = ("Web admin", {"fields": [("is_staff", "is_superuser"), "groups"]})

    def get_urls(self) -> list[URLPattern]:
        find = path("find/", self.admin_site.admin_view(require_POST(self.find)), name="accounts_user_find")
        return [find, *super().get_urls()]

    def find(self, request: HttpRequest) -> HttpResponse:
        """To the one person the text belongs to. It came in a form's body, because addresses of pages lie in logs and histories."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        term = request.POST.get("q", "").strip()
        person = self.get_queryset(request).filter(exactly(term)).first() if term else None
        if person is not None:
            return HttpResponseRedirect(reverse("admin:accounts_user_change", args=[person.pk]))
        if term:
            self.message_user(request, "Nobody has exactly this number, username or id.", messages.WARNING)
        return HttpResponseRedirect(reverse("admin:accounts_user_changelist"))

    @admin.display(description="phone number")
    def masked_phone(self, user: User) -> str:
        """Country and ending."""
        return user.masked_phone

    @admin.display(description="staff")
    def staff(self, user: User) -> str:
        """A word: most people are none, and a red cross would say that this is wrong."""
        return "staff" if user.is_staff else ""

    def get_list_filter(self, request: HttpRequest) -> Any:
        """None for who sees nobody without searching."""
        return self.list_filter if request.user.has_perm("accounts.list_users") else []

    def get_fieldsets(self, request: HttpRequest, obj: User | None = None) -> Any:
        """Rank is shown to those who may give it."""
        return [*self.fieldsets, self.rank] if self.has_change_permission(request, obj) else self.fieldsets

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> list[str]:
        """Nobody changes their own rank."""
        return FACTS + RANK if obj is not None and obj.pk == request.user.pk else FACTS

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[User], search_term: str
    ) -> tuple[QuerySet[User], bool]:
        """A user id, a username and a whole phone number find the one person they belong to. Not everybody may see all without searching."""
        term = search_term.strip()
        if term:
            return queryset.filter(exactly(term)), False
        return (queryset if request.user.has_perm("accounts.list_users") else queryset.none()), False

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:  # noqa: FBT001  (Django's signature)
        """Only what was changed is written: the rest of the row may have moved on since the page was loaded."""
        changed = [name for name in form.changed_data if name != "groups"]
        if changed:
            obj.save(update_fields=changed)
        if form.changed_data:
            facts = {"fields": ",".join(form.changed_data)}
            note(Kind.STAFF_CHANGED, user_id=obj.pk, actor_id=request.user.pk, facts=facts)

    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Roles are few: boxes to tick."""
        return super().formfield_for_manytomany(
            db_field, request, **kwargs | {"widget": UnfoldAdminCheckboxSelectMultipleWidget()}
        )

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Without the buttons beside a choice that would edit or add roles."""
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if db_field.name == "groups" and field is not None:
            field.widget = getattr(field.widget, "widget", field.widget)
            field.label, field.help_text = "Roles", "What each may do is in docs/admin.md."
        return field


def exactly(term: str) -> Q | Exact:
    """The condition for being who this text names: a whole number, an id, or a username."""
    if E164.fullmatch(term):
        return Q(phone_hash=hash_phone(term))
    try:
        return Q(pk=UUID(term))
    except ValueError:
        pass
    return Exact(Lower("username"), term.lower()) if re.fullmatch(USERNAME.regex, term) else Q(pk__in=[])
