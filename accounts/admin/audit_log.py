"""The audit log: security events, newest first."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html

from accounts.admin.page import Page
from accounts.models import SecurityEvent, User
from accounts.security_events import Kind, words

if TYPE_CHECKING:
    from django.contrib.admin.views.main import ChangeList
else:
    from unfold.views import ChangeList


class KindFilter(admin.SimpleListFilter):
    """One kind of event, or all that staff did."""

    title = "kind"
    parameter_name = "kind"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("staff", "all of staff"), *((kind.value, words(kind)) for kind in Kind)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[SecurityEvent]) -> QuerySet[SecurityEvent]:
        if self.value() == "staff":
            return queryset.filter(actor_id__isnull=False)
        return queryset.filter(kind=self.value()) if self.value() in list(Kind) else queryset


class NamedEvents(ChangeList):
    """A page of events whose people are read in one query."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        self.result_list = list(self.result_list)
        name_people(self.result_list)


@admin.register(SecurityEvent)
class AuditLog(Page[SecurityEvent]):
    """Events can be read and found by the ids they name."""

    list_display = ["time", "what", "person", "done_by", "device_id", "network", "details"]
    list_display_links = None
    list_filter = [KindFilter]
    ordering = ["-pk"]
    search_fields = ["user_id"]
    search_help_text = "Whole id of a person, of staff or of a device"
    sortable_by = ()

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return NamedEvents

    def has_change_permission(self, request: HttpRequest, obj: SecurityEvent | None = None) -> bool:
        """Nobody changes what is on record."""
        return False

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[SecurityEvent], search_term: str
    ) -> tuple[QuerySet[SecurityEvent], bool]:
        """What is no id finds nothing."""
        term = search_term.strip()
        if not term:
            return queryset, False
        if term.isascii() and term.isdecimal() and len(term) <= 18:
            return queryset.filter(device_id=int(term)), False
        try:
            person = UUID(term)
        except ValueError:
            return queryset.none(), False
        return queryset.filter(Q(user_id=person) | Q(actor_id=person)), False

    @admin.display(description="time (UTC)")
    def time(self, event: SecurityEvent) -> str:
        """To the second."""
        return f"{event.at:%Y-%m-%d %H:%M:%S}"

    @admin.display(description="what")
    def what(self, event: SecurityEvent) -> str:
        """The kind, in words."""
        return words(event.kind)

    @admin.display(description="person")
    def person(self, event: SecurityEvent) -> str:
        """Whom it happened to."""
        return _link(event.user_id, getattr(event, "user_name", None))

    @admin.display(description="by")
    def done_by(self, event: SecurityEvent) -> str:
        """Who did it."""
        return _link(event.actor_id, getattr(event, "actor_name", None))

    @admin.display(description="details")
    def details(self, event: SecurityEvent) -> str:
        """The facts."""
        return told(event)


def told(event: SecurityEvent) -> str:
    """The facts of an event, on one line."""
    return ", ".join(f"{name}: {value}" for name, value in event.facts.items())


def name_people(events: Iterable[SecurityEvent]) -> None:
    """Give each event the present names of its people, `user_name` and `actor_name`; None for those who are not here any more."""
    events = list(events)
    ids = {event.user_id for event in events} | {event.actor_id for event in events}
    people = User.objects.only("display_name", "username").in_bulk([person for person in ids if person])
    for event in events:
        for whom in ("user", "actor"):
            person = people.get(getattr(event, f"{whom}_id"))
            setattr(event, f"{whom}_name", str(person) if person else None)


def _link(person: UUID | None, name: str | None) -> str:
    if person is None:
        return ""
    if name is None:
        return str(person)
    return format_html('<a href="{}">{}</a>', reverse("admin:accounts_user_change", args=[person]), name)
