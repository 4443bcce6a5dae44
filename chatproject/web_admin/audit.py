"""What staff looked at and did in the web admin, as security events.

What was searched for is kept as a keyed hash: it tells whether somebody searched for a certain person, and not who that was.
"""

import re
from typing import Any
from uuid import UUID

from django.http import HttpRequest

from accounts import security_events
from accounts.addresses import client_address
from accounts.derivation import keyed_hash
from accounts.security_events import Fact, Kind
from devices.models import Device

# Not a page: the catalogue of translated words that pages load.
UNRECORDED = frozenset({"jsi18n"})
# Of these parameters the value is on record too; all others by their names alone.
TOLD = ("p", "o", "kind")
# What is no name of a filter may be anything.
_NAME = re.compile(r"[a-z_]{1,40}")
_VALUE = re.compile(r"[a-z_]{1,30}|[0-9]{1,5}")
HASH_CHARACTERS = 16
# A number or a UUID as pages link them.
_PLAIN_ID = re.compile(r"[1-9][0-9]{0,17}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def record(request: HttpRequest, kind: Kind, status: int) -> None:
    """Put on record that this member of staff asked for this page. Raises DatabaseError: what is not on record is not shown."""
    actor_id = request.user.pk
    match = request.resolver_match
    if actor_id is None or match is None or match.url_name in UNRECORDED:
        return
    user_id, device_id = _subject(match.url_name or "", match.kwargs)
    query = _query(request)
    security_events.note(
        Kind.STAFF_SEARCHED if kind == Kind.STAFF_VIEWED and "search" in query else kind,
        user_id=user_id,
        actor_id=actor_id,
        device_id=device_id,
        address=client_address(request),
        facts={"page": match.url_name, "method": request.method, "status": status} | query,
    )


def is_plain(object_id: str | None) -> bool:
    """Whether an address names its object as pages do, if it names one.

    Django would find it by other spellings too (`urn_3Auuid_3A…`, `_2B1001`), whose subject would then not be on record.
    """
    return object_id is None or _PLAIN_ID.fullmatch(object_id) is not None


def search_hash(text: str) -> str:
    """What is kept of a search."""
    return keyed_hash("audited search", text.strip().casefold().encode()).hex()[:HASH_CHARACTERS]


def _query(request: HttpRequest) -> dict[str, Fact]:
    facts: dict[str, Fact] = {name: value for name in TOLD if _VALUE.fullmatch(value := request.GET.get(name, ""))}
    if others := sorted(name for name in set(request.GET) - {"q", *TOLD} if _NAME.fullmatch(name)):
        facts["parameters"] = ",".join(others)[:100]
    if searched := (request.POST if request.method == "POST" else request.GET).get("q"):
        facts["search"] = search_hash(searched)
    return facts


def _subject(page: str, kwargs: dict[str, Any]) -> tuple[UUID | None, int | None]:
    """Whose page it is: a person's, or a device's and its owner's."""
    object_id = str(kwargs.get("object_id", ""))
    if page.startswith("accounts_user_"):
        return _uuid(object_id), None
    if page.startswith("devices_device_") and object_id.isascii() and object_id.isdecimal() and len(object_id) <= 18:
        device_id = int(object_id)
        return Device.objects.filter(pk=device_id).values_list("user_id", flat=True).first(), device_id
    return None, None


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
