"""Roles of staff: groups whose permissions are what stands here, after every migration again. A superuser may do everything."""

from typing import Any

from django.contrib.auth.models import Group, Permission
from django.db.models import Q

from accounts.staff import SECURITY, SUPPORT
from chatproject.routers import home

_SUPPORT = ("accounts.view_user", "accounts.block_user", "devices.view_device")
_SECURITY = (
    *_SUPPORT,
    "accounts.list_users",
    "accounts.reveal_number",
    "accounts.view_securityevent",
    "accounts.view_otp_statistics",
    "accounts.switch_codes",
    "devices.revoke_device",
    "devices.refresh_keys",
)
ROLES = {SUPPORT: _SUPPORT, SECURITY: _SECURITY}


def make_roles(using: str, **signal: Any) -> None:
    """The groups of the roles, with exactly their permissions, where groups are kept."""
    del signal
    if using != home(Group._meta.app_label):
        return
    for role, permissions in ROLES.items():
        group, _ = Group.objects.using(using).get_or_create(name=role)
        named = (permission.split(".") for permission in permissions)
        wanted = Q()
        for app, codename in named:
            wanted |= Q(content_type__app_label=app, codename=codename)
        group.permissions.set(Permission.objects.using(using).filter(wanted))
