"""What happened stays on record as it was written, until its time is over."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from asgiref.sync import sync_to_async
from django.db import IntegrityError, transaction
from django.utils import timezone

from accounts import chores
from accounts.models import SecurityEvent
from accounts.security_events import EVENTS, Kind, neighbourhood, note


async def free() -> None:
    """Nobody minds."""


@sync_to_async
def events(*ages: int) -> None:
    """Events of so many days ago."""
    for days in ages:
        SecurityEvent.objects.create(kind=Kind.REGISTERED, user_id=uuid4(), at=timezone.now() - timedelta(days=days))


@pytest.mark.django_db
def test_an_event_names_who_what_and_about_from_where() -> None:
    alice, staff = uuid4(), uuid4()
    note(
        Kind.DEVICE_REVOKED, user_id=alice, actor_id=staff, device_id=7, address="203.0.113.77", facts={"primary": True}
    )
    kept = SecurityEvent.objects.get()
    assert (kept.kind, kept.user_id, kept.actor_id, kept.device_id) == ("device_revoked", alice, staff, 7)
    assert (kept.network, kept.facts) == ("203.0.113.0/24", {"primary": True})


@pytest.mark.django_db
def test_what_was_rolled_back_is_not_on_record() -> None:
    with transaction.atomic():
        note(Kind.PIN_SET, user_id=uuid4())
        transaction.set_rollback(True)
    assert not SecurityEvent.objects.exists()


@pytest.mark.parametrize(
    ("address", "kept"),
    [("2001:db8:1:2:3::4", "2001:db8:1::/48"), ("127.0.0.1", "127.0.0.0/24"), ("unknown", ""), ("", "")],
)
def test_of_an_address_the_neighbourhood_is_kept(address: str, kept: str) -> None:
    assert neighbourhood(address) == kept


@pytest.mark.django_db
def test_nobody_rewrites_or_removes_what_is_young() -> None:
    note(Kind.TOKEN_REUSE, user_id=uuid4())
    for attack in (lambda: SecurityEvent.objects.update(kind="harmless"), lambda: SecurityEvent.objects.all().delete()):
        with pytest.raises(IntegrityError, match="never changed"), transaction.atomic():
            attack()
    assert SecurityEvent.objects.get().kind == "token_reuse"


@pytest.mark.django_db
def test_nobody_rewrites_what_is_old_either() -> None:
    SecurityEvent.objects.create(kind=Kind.BLOCKED, at=timezone.now() - timedelta(days=400))
    with pytest.raises(IntegrityError, match="never changed"), transaction.atomic():
        SecurityEvent.objects.update(kind="harmless")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("days", "left"), [(100, 3), (365, 4), (1, 2), (0, 5)])
async def test_pruning_removes_what_is_older_than_the_setting_and_nothing_of_this_month(
    days: int, left: int, settings: Any, hot_road: None
) -> None:
    settings.SECURITY_EVENT_DAYS = days
    await events(400, 300, 50, 10, 0)
    removed = await chores.do(EVENTS, free)
    assert (removed, await SecurityEvent.objects.acount()) == (5 - left, left)


@pytest.mark.django_db(transaction=True)
async def test_pruning_goes_on_from_chunk_to_chunk(hot_road: None) -> None:
    await events(*[400] * 7, 1)
    assert await chores.do(EVENTS._replace(size=2, most=2), free) == 7
    assert await SecurityEvent.objects.acount() == 1
