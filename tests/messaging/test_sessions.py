"""What opening a socket notes about its device."""

from datetime import UTC, datetime

import pytest
from django.db import connection

from devices.models import Device
from messaging import sessions
from tests.cast import Installation


@pytest.mark.parametrize("zone", ["Etc/GMT+12", "Etc/GMT-14"])
def test_the_day_a_device_was_seen_is_a_day_of_utc_wherever_postgresql_is(alice_phone: Installation, zone: str) -> None:
    began = datetime.now(UTC).date()
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('timezone', %s, true)", [zone])
        cursor.execute(sessions.OPEN, [int(alice_phone.device_id), alice_phone.registration_id])
    seen = Device.objects.get(pk=alice_phone.device_id).last_seen
    assert seen is not None
    assert began <= seen <= datetime.now(UTC).date()
