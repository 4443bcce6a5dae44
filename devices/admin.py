"""Devices in the web admin, and what staff may do about them: block a person, revoke a device."""

from typing import TYPE_CHECKING
from uuid import UUID

from django.contrib import admin, messages
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest

from accounts.admin import PeopleAdmin
from accounts.models import User
from devices import prekeys
from devices.models import Device
from devices.public_keys import fingerprint
from devices.unlinking import block_user, revoke_device, unblock_user

if TYPE_CHECKING:
    UserDeviceInline = admin.TabularInline[Device, User]
    DeviceModelAdmin = admin.ModelAdmin[Device]
else:
    UserDeviceInline = admin.TabularInline
    DeviceModelAdmin = admin.ModelAdmin


class HeldDevices(UserDeviceInline):
    """A person's devices on their page."""

    model = Device
    fields = ("device_number", "name", "platform", "is_primary", "active", "created_at", "last_seen")
    readonly_fields = fields
    ordering = ["pk"]
    show_change_link = True
    can_delete = False
    extra = 0

    def has_add_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        """Devices sign in by themselves."""
        return False


@admin.register(User)
class PeopleWithDevicesAdmin(PeopleAdmin):
    """People, with their devices."""

    inlines = [HeldDevices]
    actions = ["block", "unblock"]
    list_display = [*PeopleAdmin.list_display, "devices_held"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        """With the number of devices, in the same query."""
        return super().get_queryset(request).annotate(devices_held=Count("devices", filter=Q(devices__active=True)))

    @admin.display(description="devices")
    def devices_held(self, user: User) -> int:
        """Devices that are signed in or may be again."""
        return int(getattr(user, "devices_held", 0))

    @admin.action(description="Block: end all tokens, close all sockets, refuse registration", permissions=["change"])
    def block(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        """Nobody blocks themselves, and only a superuser a superuser."""
        blocked = [
            user for user in queryset if user.pk != request.user.pk and self.has_change_permission(request, user)
        ]
        for user in blocked:
            block_user(user.pk)
            self.log_change(request, user, "Blocked")
        self.message_user(request, f"{len(blocked)} of {len(queryset)} blocked.", messages.SUCCESS)

    @admin.action(description="Unblock: let them sign in again", permissions=["change"])
    def unblock(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        """Their former tokens stay ended."""
        for user in queryset:
            unblock_user(user.pk)
            self.log_change(request, user, "Unblocked")
        self.message_user(request, f"{len(queryset)} unblocked.", messages.SUCCESS)


@admin.register(Device)
class DeviceAdmin(DeviceModelAdmin):
    """Devices can be looked at and revoked. Of keys only the fingerprint that people compare is shown."""

    list_display = [
        "id",
        "name",
        "user",
        "platform",
        "is_primary",
        "active",
        "created_at",
        "last_seen",
    ]
    list_filter = ["active", "platform", "is_primary"]
    list_select_related = ["user"]
    list_per_page = 50
    show_full_result_count = False
    ordering = ["-pk"]
    search_fields = ["name", "user__username", "user__display_name"]
    search_help_text = "Device id, user id, device name, username or display name"
    fields = (
        "id",
        "user",
        "device_number",
        "name",
        "platform",
        "is_primary",
        "active",
        "identity",
        "one_time_prekeys",
        "created_at",
        "last_seen",
        "unlinked_at",
    )
    readonly_fields = fields
    actions = ["revoke"]

    @admin.display(description="fingerprint of the identity key")
    def identity(self, device: Device) -> str:
        """The one its owner sees."""
        return fingerprint(bytes(device.identity_key))

    @admin.display(description="one-time prekeys left")
    def one_time_prekeys(self, device: Device) -> int:
        """How many, not which."""
        left = prekeys.count(device.pk)
        return left.curve + left.pq

    @admin.action(description="Revoke: unlink for good, end its tokens, close its socket", permissions=["change"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[Device]) -> None:
        """The person can sign the installation in again, as another device."""
        for device in queryset:
            revoke_device(device.pk)
            self.log_change(request, device, "Revoked")
        self.message_user(request, f"{len(queryset)} revoked.", messages.SUCCESS)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Device], search_term: str
    ) -> tuple[QuerySet[Device], bool]:
        """An id finds exactly that."""
        term = search_term.strip()
        if term.isascii() and term.isdecimal() and len(term) <= 18:
            return queryset.filter(pk=int(term)), False
        try:
            return queryset.filter(user_id=UUID(term)), False
        except ValueError:
            return super().get_search_results(request, queryset, term)

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Devices sign in by themselves."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Device | None = None) -> bool:
        """An id that was given once is never given again, so its row stays."""
        return False
