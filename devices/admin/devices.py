"""Devices in the web admin, and what staff does about them. Of keys only the fingerprint that people compare is shown."""

from typing import Any
from uuid import UUID

from django.contrib import admin
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path

from accounts.admin.page import Page
from accounts.models import User
from accounts.security_events import Fact, Kind, note
from devices.admin import opened
from devices.admin.acting import Reason, deed, may_be_dealt_with
from devices.key_refresh import force_key_refresh
from devices.models import Device
from devices.overview import overviews, usable_pairs
from devices.unlinking import revoke_device


def device(object_id: str) -> tuple[User, Device] | None:
    """For deeds about a device."""
    found = _by_id(object_id).select_related("user").first()
    return (found.user, found) if found else None


@admin.register(Device)
class DeviceAdmin(Page[Device]):
    """Devices can be looked at; a refresh of keys and a revocation are done from their page."""

    list_display = ["id", "name", "user", "platform", "rank", "active", "created_at", "last_seen"]
    list_filter = ["active", "platform", "is_primary"]
    list_select_related = ["user"]
    ordering = ["-pk"]
    sortable_by = ()
    search_fields = ["id"]
    search_help_text = "Whole id of a device or of a person"
    list_before_template = "devices/before_devices.html"
    fieldsets = [
        ("Device", {"fields": [("id", "user"), ("name", "platform"), ("device_number", "rank")]}),
        ("State", {"fields": [("active", "created_at"), ("last_seen", "unlinked_at")]}),
    ]
    readonly_fields = [
        "id",
        "user",
        "name",
        "platform",
        "device_number",
        "rank",
        "active",
        "created_at",
        "last_seen",
        "unlinked_at",
    ]
    change_form_outer_after_template = "devices/device.html"

    def get_urls(self) -> list[URLPattern]:
        deeds = {"revoke": self.revoke, "refresh-keys": self.refresh_keys}
        return [
            *(
                path(f"<path:object_id>/{name}/", self.admin_site.admin_view(view), name=f"devices_device_{name}")
                for name, view in deeds.items()
            ),
            *super().get_urls(),
        ]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Device]:
        """Those that are there for this member of staff."""
        return opened.seen(request, super().get_queryset(request))

    def get_list_filter(self, request: HttpRequest) -> Any:
        """None for who sees no device without searching."""
        return self.list_filter if request.user.has_perm("accounts.list_users") else []

    def has_change_permission(self, request: HttpRequest, obj: Device | None = None) -> bool:
        """A device's row is written by the device, and by deeds."""
        return False

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The device, with its keys and sessions."""
        return super().change_view(
            request, object_id, form_url, (extra_context or {}) | self._surroundings(request, object_id)
        )

    @admin.display(description="rank")
    def rank(self, shown: Device) -> str:
        """A word: that a device is not the primary is nothing bad."""
        return "primary" if shown.is_primary else ""

    @deed("devices.revoke_device", find=device)
    def revoke(self, request: HttpRequest, user: User, target: Device, reason: Reason) -> str:
        """The person can sign the installation in again, as another device."""
        with transaction.atomic():
            revoke_device(target.pk)
            facts: dict[str, Fact] = {"reason": reason, "primary": target.is_primary}
            note(Kind.DEVICE_REVOKED, user_id=user.pk, actor_id=request.user.pk, device_id=target.pk, facts=facts)
        return f"Device {target.pk} is unlinked for good."

    @deed("devices.refresh_keys", find=device)
    def refresh_keys(self, request: HttpRequest, user: User, target: Device, reason: Reason) -> str:
        """The pool is forgotten, and the device asked for a new one."""
        with transaction.atomic():
            forgotten = force_key_refresh(target.pk)
            note(
                Kind.KEY_REFRESH_FORCED,
                user_id=user.pk,
                actor_id=request.user.pk,
                device_id=target.pk,
                facts={"reason": reason, "forgotten": forgotten},
            )
        return f"{forgotten} one-time prekeys of device {target.pk} are forgotten; it is asked for new ones."

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Device], search_term: str
    ) -> tuple[QuerySet[Device], bool]:
        """An id finds exactly that. Not everybody may see all without searching."""
        term = search_term.strip()
        if not term:
            return (queryset if request.user.has_perm("accounts.list_users") else queryset.none()), False
        try:
            return queryset.filter(user_id=UUID(term)), False
        except ValueError:
            return queryset & _by_id(term), False

    def _surroundings(self, request: HttpRequest, object_id: str) -> dict[str, Any]:
        found = device(object_id)
        if found is None:
            return {}
        user, shown = found
        return {
            "overview": overviews(user.pk, [shown])[0],
            "sessions": usable_pairs(shown.pk),
            "reasons": list(Reason),
            "may_act": may_be_dealt_with(request, user),
        }


def _by_id(text: str) -> QuerySet[Device]:
    is_id = text.isascii() and text.isdecimal() and len(text) <= 18
    return Device.objects.filter(pk=int(text)) if is_id else Device.objects.none()
