"""The web admin's site, and the app that installs it. What it shows is registered by the apps."""

from collections.abc import Callable
from typing import Any

from django.contrib.admin import AdminSite
from django.contrib.admin.apps import AdminConfig
from django.http import HttpRequest, HttpResponseBase, HttpResponseRedirect
from django.urls import reverse

View = Callable[..., HttpResponseBase]

# What somebody with a one-time password may open: the page to change it, what that page needs, and the way out.
BEFORE_THE_CHANGE = frozenset({"password_change", "password_change_done", "jsi18n", "logout"})


class WaypostAdminSite(AdminSite):
    """Django's admin under our name, which opens only after a one-time password was changed."""

    site_title = "Waypost"
    site_header = "Waypost"
    index_title = "People and devices"

    def admin_view(self, view: View, cacheable: bool = False) -> Any:  # noqa: FBT001, FBT002  (Django's signature)
        """The view for those who may see it."""

        def after_the_change(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            match = request.resolver_match
            is_early = (
                getattr(request.user, "must_change_password", False)
                and match
                and match.url_name not in BEFORE_THE_CHANGE
            )
            if is_early:
                return HttpResponseRedirect(reverse("admin:password_change"))
            return view(request, *args, **kwargs)

        after_the_change.csrf_exempt = getattr(view, "csrf_exempt", False)  # type: ignore[attr-defined]  # what Django reads
        return super().admin_view(after_the_change, cacheable)


class WaypostAdminConfig(AdminConfig):
    """Django's admin app, with our site."""

    default_site = "chatproject.admin_site.WaypostAdminSite"
