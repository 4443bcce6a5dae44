"""How unfold is set: names, files, and the menu. Read by the settings, so it imports nothing that needs them."""

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import reverse_lazy


def may(permission: str) -> Callable[[HttpRequest], bool]:
    """Whether who asks has the permission: the menu shows what the pages would let in."""
    return lambda request: request.user.has_perm(permission)


def _entry(title: str, icon: str, page: str, permission: str | None = None) -> dict[str, Any]:
    entry = {"title": title, "icon": icon, "link": reverse_lazy(f"admin:{page}")}
    return entry | ({"permission": may(permission)} if permission else {})


UNFOLD: dict[str, Any] = {
    "SITE_TITLE": "Waypost",
    "SITE_HEADER": "Waypost",
    "SITE_SYMBOL": "signpost",
    "SITE_FAVICONS": [
        {"rel": "icon", "type": "image/svg+xml", "href": lambda _request: static("chatproject/waypost.svg")}
    ],
    "SHOW_HISTORY": False,
    "SHOW_VIEW_ON_SITE": False,
    "SHOW_BACK_BUTTON": True,
    "STYLES": [lambda _request: static("chatproject/admin.css")],
    "ACCOUNT": {
        "navigation": [
            {"title": "Change password", "link": reverse_lazy("admin:password_change")},
            {"title": "Authenticator", "link": reverse_lazy("admin:set_up")},
        ]
    },
    "SIDEBAR": {
        "show_search": False,
        "show_all_applications": False,
        "navigation": [
            {
                "items": [
                    _entry("Dashboard", "monitoring", "index"),
                    _entry("People", "group", "accounts_user_changelist", "accounts.view_user"),
                    _entry("Devices", "devices", "devices_device_changelist", "devices.view_device"),
                    _entry("Audit log", "history", "accounts_securityevent_changelist", "accounts.view_securityevent"),
                    _entry("One-time codes", "sms", "otp_statistics", "accounts.view_otp_statistics"),
                ]
            }
        ],
    },
}
