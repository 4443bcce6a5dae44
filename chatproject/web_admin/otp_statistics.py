"""The page of numbers about one-time codes: what was sent and what was typed in, by day and country, and the switch that stops sending."""

from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse

from accounts import code_days, security_events, switches
from accounts.security_events import Kind

OTP_STATISTICS = "otp_statistics"
DAYS = 14


def view(request: HttpRequest, context: dict[str, Any]) -> HttpResponse:
    """Codes of the last fortnight; POST, for who may, switches sending off and on."""
    if not request.user.has_perm("accounts.view_otp_statistics"):
        raise PermissionDenied
    if request.method == "POST":
        return _switch(request)
    facts = {
        "title": "One-time codes",
        "days": code_days.by_day(DAYS),
        "today": code_days.today(),
        "is_off": switches.is_off(switches.Name.CODES),
    }
    return TemplateResponse(request, "web_admin/otp_statistics.html", context | facts)


def _switch(request: HttpRequest) -> HttpResponse:
    if not request.user.has_perm("accounts.switch_codes"):
        raise PermissionDenied
    off = request.POST.get("to") == "off"
    with transaction.atomic():
        switches.turn(switches.Name.CODES, off=off)
        kind = Kind.CODES_SWITCHED_OFF if off else Kind.CODES_SWITCHED_ON
        security_events.note(kind, user_id=None, actor_id=request.user.pk)
    messages.success(request, f"Codes are switched {'off' if off else 'on'}.")
    return HttpResponseRedirect(reverse(f"admin:{OTP_STATISTICS}"))
