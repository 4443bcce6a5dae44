"""What is left of one test for the next."""

import pytest
from django.contrib.auth.models import Group, Permission
from django.db import connection

from accounts.models import User
from devices.models import Device
from tests import emptying
from tests.cast import Installation


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("large_bytes", [0, 10**6])
def test_people_and_their_devices_go_and_roles_stay(
    alice_phone: Installation, bob_phone: Installation, monkeypatch: pytest.MonkeyPatch, large_bytes: int
) -> None:
    monkeypatch.setattr(emptying, "LARGE_BYTES", large_bytes)
    roles, permissions = Group.objects.count(), Permission.objects.count()
    assert (User.objects.count(), Device.objects.count(), roles > 0) == (2, 2, True)
    emptying.empty(connection)
    assert (User.objects.count(), Device.objects.count()) == (0, 0)
    assert (Group.objects.count(), Permission.objects.count()) == (roles, permissions)
