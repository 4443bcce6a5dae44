"""What the first page says: how the stores do (the page asks /health/databases itself), how much there is, and what happened lately."""

from datetime import timedelta
from typing import Any

from django.db import connection
from django.db.models import Count, Manager
from django.http import HttpRequest
from django.utils import timezone

from accounts.models import SecurityEvent, User
from accounts.security_events import Kind, words
from conversations.models import Conversation
from devices.models import Device

# What PostgreSQL's own housekeeping counted last: a real count would read the tables.
_ESTIMATES = """
SELECT relname, greatest(reltuples, 0)::bigint FROM pg_class WHERE relname = ANY(%s) AND relkind = 'r'
"""
TABLES: dict[Any, str] = {
    User: "people",
    Device: "devices, unlinked ones included",
    Conversation: "conversations",
}
COUNTED = 10_000
LOOKED = (Kind.STAFF_VIEWED, Kind.STAFF_SEARCHED)


def context(request: HttpRequest) -> dict[str, Any]:
    """What the page needs beside what every page has."""
    has_log = request.user.has_perm("accounts.view_securityevent")
    return {
        "sizes": _sizes(),
        "lately": _lately() if has_log else None,
        "second_step": getattr(request.user, "otp_device", None) is not None,
    }


def _sizes() -> list[tuple[str, str]]:
    """About how many rows each table has; exactly how many, where that costs nothing."""
    with connection.cursor() as cursor:
        cursor.execute(_ESTIMATES, [[model._meta.db_table for model in TABLES]])
        estimates = dict(cursor.fetchall())
    return [(title, _size(model.objects, estimates.get(model._meta.db_table, 0))) for model, title in TABLES.items()]


def _size(manager: Manager[Any], estimate: int) -> str:
    if estimate < COUNTED:
        counted = manager.values("pk")[: 2 * COUNTED].count()
        if counted < 2 * COUNTED:
            return f"{counted:,}"
    return f"about {estimate:,}"


def _lately() -> list[tuple[str, str, int]]:
    """Kinds of events of the last 24 hours, and how many of each."""
    recent = SecurityEvent.objects.filter(at__gt=timezone.now() - timedelta(days=1)).exclude(kind__in=LOOKED)
    counts = recent.values_list("kind").annotate(count=Count("pk")).order_by("-count")
    return [(kind, words(kind), count) for kind, count in counts]
