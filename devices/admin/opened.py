"""Which devices a member of staff sees.

Ids of devices follow one another, so whoever knows one could go through all. To who may not list people, devices are there of those alone whose
page was opened in this session: and people are found by what somebody has to know of them.
"""

from uuid import UUID

from django.db.models import QuerySet
from django.http import HttpRequest

from devices.models import Device

KEY = "opened_people"
MOST = 50


def remember(request: HttpRequest, user_id: UUID) -> None:
    """This person's page is open. The last ones are kept."""
    opened = request.session.get(KEY, [])
    if not _sees_all(request) and opened[-1:] != [str(user_id)]:
        request.session[KEY] = [*(one for one in opened if one != str(user_id)), str(user_id)][-MOST:]


def seen(request: HttpRequest, devices: QuerySet[Device]) -> QuerySet[Device]:
    """Those of the devices that are there for who asks."""
    return devices if _sees_all(request) else devices.filter(user_id__in=request.session.get(KEY, []))


def _sees_all(request: HttpRequest) -> bool:
    return bool(request.user.has_perm("accounts.list_users"))
