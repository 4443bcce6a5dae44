"""The steps into the web admin that follow the password, and the pages on which they are taken."""

from typing import Any

import django_otp
import segno
from django import forms
from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse

from accounts import second_factor
from accounts.models import User
from accounts.security_events import Kind
from accounts.wire.refusals import RateLimited, StorageUnavailable
from chatproject.web_admin import audit
from chatproject.web_admin.own_password import TOO_OFTEN, is_own

SECOND_STEP, SET_UP, PASSWORD_CHANGE = "second_step", "set_up", "password_change"
# What each step needs beside its own page, and the way out.
_BESIDE = frozenset({"logout", "jsi18n"})
WRONG = "This code is not right, was used already, or came too soon after a wrong one."


class CodeForm(forms.Form):
    """One code, as it was typed."""

    code = forms.CharField(max_length=40, strip=True)


class PasswordAndCodeForm(CodeForm):
    """For whoever replaces an authenticator: an open session alone must not do."""

    password = forms.CharField(max_length=1000, strip=False)


def next_step(request: HttpRequest) -> str | None:
    """The page staff has to deal with before any other; None for who is in, and for strangers, who begin with the password."""
    user = request.user
    if not isinstance(user, User) or not (user.is_active and user.is_staff):
        return None
    if not _is_verified(request) and second_factor.is_set_up(user):
        return SECOND_STEP
    if user.must_change_password:
        return PASSWORD_CHANGE
    return SET_UP if settings.ADMIN_SECOND_FACTOR and not _is_verified(request) else None


def open_at(step: str) -> frozenset[str]:
    """The pages that are open to who is at this step."""
    return _BESIDE | {step}


def second_step(request: HttpRequest, context: dict[str, Any]) -> HttpResponse:
    """Show the code of one's app, or a recovery code."""
    if next_step(request) != SECOND_STEP:
        return HttpResponseRedirect(reverse("admin:index"))
    error = _show(request) if request.method == "POST" else ""
    if error is None:
        return HttpResponseRedirect(reverse("admin:index"))
    return _page(request, "web_admin/second_step.html", context, title="Second step", error=error)


def set_up(request: HttpRequest, context: dict[str, Any]) -> HttpResponse:
    """Connect an app; whoever has one already shows the password too, and the new one replaces it."""
    user = _staff(request)
    is_replacing = second_factor.is_set_up(user)
    codes: list[str] | str = _confirm(request, user, is_replacing=is_replacing) if request.method == "POST" else ""
    if isinstance(codes, list):
        return _page(request, "web_admin/recovery_codes.html", context, title="Recovery codes", codes=codes)
    offer = second_factor.offer(user)
    facts = {
        "offer": offer,
        "qr": segno.make(offer.uri).svg_data_uri(scale=4),
        "error": codes,
        "is_replacing": is_replacing,
    }
    return _page(request, "web_admin/set_up.html", context, title="Authenticator", **facts)


def _show(request: HttpRequest) -> str | None:
    """None when the step is taken, else what to tell."""
    form = CodeForm(request.POST)
    try:
        device = second_factor.show(_staff(request), form.cleaned_data["code"]) if form.is_valid() else None
    except (RateLimited, StorageUnavailable):
        return TOO_OFTEN
    if device is None:
        audit.record(request, Kind.STAFF_LOGIN_REFUSED, 200)
        return WRONG
    _enter(request, device)
    return None


def _confirm(request: HttpRequest, user: User, *, is_replacing: bool) -> list[str] | str:
    """Recovery codes, or what to tell."""
    form = PasswordAndCodeForm(request.POST) if is_replacing else CodeForm(request.POST)
    if not form.is_valid():
        return WRONG
    try:
        if is_replacing and not is_own(user, form.cleaned_data["password"]):
            audit.record(request, Kind.STAFF_LOGIN_REFUSED, 200)
            return WRONG
        confirmed = second_factor.confirm(user, form.cleaned_data["code"])
    except (RateLimited, StorageUnavailable):
        return TOO_OFTEN
    if confirmed is None:
        return WRONG
    device, codes = confirmed
    _enter(request, device)
    return codes


def _enter(request: HttpRequest, device: Any) -> None:
    """A session that was seen before this step is worth nothing afterwards."""
    request.session.cycle_key()
    django_otp.login(request, device)
    audit.record(request, Kind.STAFF_LOGIN, 200)


def _is_verified(request: HttpRequest) -> bool:
    return getattr(request.user, "otp_device", None) is not None


def _staff(request: HttpRequest) -> User:
    """Who the site has let through."""
    return User.objects.get(pk=request.user.pk or "")


def _page(request: HttpRequest, template: str, context: dict[str, Any], **facts: Any) -> HttpResponse:
    return TemplateResponse(request, template, context | facts)
