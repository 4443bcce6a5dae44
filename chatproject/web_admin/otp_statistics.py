"""The page of numbers about one-time codes: what was sent and what was typed in, by day and country, and the switch that stops sending."""

from collections import Counter
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse

from accounts import code_days, security_events, switches
from accounts.counts import counts
from accounts.security_events import Kind
from chatproject.metrics import others_numbers

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
        "refused": _refused(),
    }
    return TemplateResponse(request, "web_admin/otp_statistics.html", context | facts)


def _refused() -> list[tuple[str, int]]:
    """How often, by reason, since the web processes of this machine began; with it what gateways did not take, and wrong codes."""
    tally: Counter[str] = Counter()
    for numbers in [counts, *(other.accounts for other in others_numbers().values())]:
        tally.update(numbers.codes_refused)
        tally.update({f"gateway: {reason}": count for reason, count in numbers.sms_failures.items()})
        tally["wrong codes"] += numbers.codes_wrong
    return [(reason, count) for reason, count in tally.most_common() if count]


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
