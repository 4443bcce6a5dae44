"""People with their devices and what happened to them, and what staff does about people."""

from typing import Any

from django.contrib import admin
from django.db import transaction
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path

from accounts import second_factor
from accounts.admin.audit_log import name_people, told
from accounts.admin.people import PeopleAdmin
from accounts.models import SecurityEvent, Tombstone, User
from accounts.security_events import Kind, note, words
from devices.admin import opened
from devices.admin.acting import Reason, deed, may_be_dealt_with, person
from devices.models import Device
from devices.overview import overviews
from devices.unlinking import block_user, unblock_user

EVENTS_SHOWN = 20


@admin.register(User)
class PeopleWithDevicesAdmin(PeopleAdmin):
    """People, with their devices."""

    list_display = [*PeopleAdmin.list_display, "devices_held"]
    change_form_outer_after_template = "devices/person.html"

    def get_urls(self) -> list[URLPattern]:
        deeds = {
            "block": self.block,
            "unblock": self.unblock,
            "reveal-number": self.reveal_number,
            "reset-second-step": self.reset_second_step,
        }
        return [
            *(
                path(f"<path:object_id>/{name}/", self.admin_site.admin_view(view), name=f"accounts_user_{name}")
                for name, view in deeds.items()
            ),
            *super().get_urls(),
        ]

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        """With the number of devices, in the same query."""
        people: QuerySet[User] = super().get_queryset(request)
        return people.annotate(devices_held=Count("devices", filter=Q(devices__active=True)))

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The person, with what they hold and what happened."""
        found = person(object_id)
        if found is not None and self.has_view_permission(request):
            opened.remember(request, found[0].pk)
        return super().change_view(
            request, object_id, form_url, (extra_context or {}) | self._surroundings(request, object_id)
        )

    @admin.display(description="devices")
    def devices_held(self, user: User) -> int:
        """Devices that are signed in or may be again."""
        return int(getattr(user, "devices_held", 0))

    @deed("accounts.block_user", find=person)
    def block(self, request: HttpRequest, user: User, target: Any, reason: Reason) -> str:
        """All tokens and sockets end, and nobody registers with the number."""
        with transaction.atomic():
            block_user(user.pk)
            note(Kind.BLOCKED, user_id=user.pk, actor_id=request.user.pk, facts={"reason": reason})
        return "Blocked. All tokens and sockets have ended."

    @deed("accounts.block_user", find=person)
    def unblock(self, request: HttpRequest, user: User, target: Any, reason: Reason) -> str:
        """They may sign in again; their former tokens stay ended."""
        with transaction.atomic():
            unblock_user(user.pk)
            note(Kind.UNBLOCKED, user_id=user.pk, actor_id=request.user.pk, facts={"reason": reason})
        return "Unblocked. The devices have to sign in again."

    @deed("accounts.reveal_number", find=person)
    def reveal_number(self, request: HttpRequest, user: User, target: Any, reason: Reason) -> HttpResponse:
        """The whole number, once, on a page of its own: it is in no message, no session and no address."""
        note(Kind.NUMBER_REVEALED, user_id=user.pk, actor_id=request.user.pk, facts={"reason": reason})
        context = self.admin_site.each_context(request) | {"title": "Phone number", "person": user}
        return TemplateResponse(request, "devices/number.html", context)

    @deed("accounts.change_user", find=person)
    def reset_second_step(self, request: HttpRequest, user: User, target: Any, reason: Reason) -> str:
        """A member of staff who has lost app and recovery codes sets both up anew."""
        with transaction.atomic():
            second_factor.forget(user)
            note(Kind.SECOND_FACTOR_RESET, user_id=user.pk, actor_id=request.user.pk, facts={"reason": reason})
        return "The second step is set up anew with the next login."

    def _surroundings(self, request: HttpRequest, object_id: str) -> dict[str, Any]:
        found = person(object_id)
        if found is None:
            return {}
        user = found[0]
        return {
            "person": user,
            "holdings": overviews(user.pk, Device.objects.filter(user=user).order_by("-active", "device_number", "pk"))
            if request.user.has_perm("devices.view_device")
            else None,
            "events": _events_of(user),
            "reasons": list(Reason),
            "may_act": may_be_dealt_with(request, user),
            "tombstone": Tombstone.objects.filter(pk=user.pk).first(),
            "has_second_step": user.is_staff and second_factor.is_set_up(user),
        }


def _events_of(user: User) -> list[dict[str, Any]]:
    """What happened to the person lately, without who of staff looked: that is the audit log's."""
    looked = (Kind.STAFF_VIEWED, Kind.STAFF_SEARCHED, Kind.STAFF_REFUSED)
    events = list(SecurityEvent.objects.filter(user_id=user.pk).exclude(kind__in=looked).order_by("-pk")[:EVENTS_SHOWN])
    name_people(events)
    return [{"event": event, "what": words(event.kind), "told": told(event)} for event in events]
