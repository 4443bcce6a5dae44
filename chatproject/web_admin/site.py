"""The web admin's site. What it shows is registered by the apps."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from django.contrib.admin import AdminSite
from django.contrib.auth.views import PasswordChangeView
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, URLResolver, path, reverse

from accounts.security_events import Kind
from chatproject.web_admin import audit, dashboard, entering, otp_statistics
from chatproject.web_admin.own_password import OwnPasswordChangeForm

if TYPE_CHECKING:
    UnfoldAdminSite = AdminSite
else:
    from unfold.sites import UnfoldAdminSite

View = Callable[..., HttpResponseBase]
SEARCHES = ("search", "autocomplete")


class WaypostAdminSite(UnfoldAdminSite):
    """Django's admin in unfold's clothes. It opens to staff who have taken every step of the way in, and puts on record what they look at."""

    site_title = "Waypost"
    site_header = "Waypost"
    index_title = "Dashboard"
    index_template = "web_admin/dashboard.html"
    password_change_template = "web_admin/password_change.html"  # noqa: S105  (a template)

    def get_urls(self) -> list[URLPattern | URLResolver]:
        """Without unfold's search, whose results would lie in Redis, and without Django's, which no page here uses: its finds would be on no record."""
        ours: list[URLPattern | URLResolver] = [
            path("second-step/", self.admin_view(self._page(entering.second_step)), name=entering.SECOND_STEP),
            path("set-up/", self.admin_view(self._page(entering.set_up)), name=entering.SET_UP),
            path(
                "otp-statistics/", self.admin_view(self._page(otp_statistics.view)), name=otp_statistics.OTP_STATISTICS
            ),
        ]
        return ours + [url for url in super().get_urls() if getattr(url, "name", None) not in SEARCHES]

    def admin_view(self, view: View, cacheable: bool = False) -> Any:  # noqa: FBT001, FBT002  (Django's signature)
        """The view for those who may see it; what they saw, and what was refused to them, is on record before they have it."""
        inner = super().admin_view(view, cacheable)

        def on_record(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            if not audit.is_plain(kwargs.get("object_id")):
                raise Http404
            step = entering.next_step(request)
            if step is not None and _name(request) not in entering.open_at(step):
                return HttpResponseRedirect(reverse(f"admin:{step}"))
            try:
                response = inner(request, *args, **kwargs)
            except PermissionDenied:
                audit.record(request, Kind.STAFF_REFUSED, 403)
                return self._refusal(request)
            audit.record(request, Kind.STAFF_VIEWED, response.status_code)
            return response

        return on_record

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        """How the installation does."""
        return super().index(request, dashboard.context(request) | (extra_context or {}))

    def each_context(self, request: HttpRequest) -> dict[str, Any]:
        """The colours come from a file: the policy allows no inline style. Who is not quite in sees no menu."""
        context = super().each_context(request) | {"colors": None}
        return context | {
            "is_nav_sidebar_enabled": entering.next_step(request) is None and self.has_permission(request)
        }

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Phone number and password; further steps follow."""
        response = super().login(request, extra_context)
        if request.method == "POST" and response.status_code == 302:
            audit.record(request, Kind.STAFF_LOGIN, 302)
        return response

    def password_change(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        """One's own password, for another."""
        request.current_app = self.name
        return PasswordChangeView.as_view(
            form_class=OwnPasswordChangeForm,
            template_name=self.password_change_template,
            success_url=reverse("admin:password_change_done"),
            extra_context=self.each_context(request) | (extra_context or {}),
        )(request)

    def logout(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        """The session is over."""
        audit.record(request, Kind.STAFF_LOGOUT, 200)
        return super().logout(request, extra_context)

    def _page(self, view: Callable[..., HttpResponse]) -> View:
        def with_context(request: HttpRequest) -> HttpResponse:
            request.current_app = self.name
            return view(request, self.each_context(request))

        return with_context

    def _refusal(self, request: HttpRequest) -> TemplateResponse:
        context = self.each_context(request) | {"title": "Not for your role"}
        return TemplateResponse(request, "web_admin/refused.html", context, status=403)


def _name(request: HttpRequest) -> str | None:
    return request.resolver_match.url_name if request.resolver_match else None
