"""Rate limits: exact while Redis is there, and each with its own answer while it is not."""

from typing import Any

import pytest

from accounts.limits import Limit, WithoutRedis, require, spend
from accounts.wire.refusals import RateLimited, StorageUnavailable
from tests.cast import any_phone_number

GUARD = Limit("LOOKUPS_PER_15_MIN", 900, WithoutRedis.REFUSE)
PLAIN = Limit("CONVERSATIONS_PER_HOUR", 3600, WithoutRedis.COUNT_HERE)


@pytest.fixture(autouse=True)
def _with_services(services: None) -> None:
    """All of these need Redis."""


def test_what_is_over_the_limit_is_not_counted() -> None:
    somebody = any_phone_number()
    spend(GUARD, somebody, cost=90)
    with pytest.raises(RateLimited) as refused:
        spend(GUARD, somebody, cost=11)
    assert 890 <= (refused.value.retry_after or 0) <= 900
    spend(GUARD, somebody, cost=10)


def test_asking_costs_nothing() -> None:
    somebody = any_phone_number()
    for _ in range(5):
        require(GUARD, somebody, cost=100)
    spend(GUARD, somebody, cost=100)
    with pytest.raises(RateLimited):
        require(GUARD, somebody)


def test_without_redis_a_guard_refuses_and_plain_traffic_is_counted_here(settings: Any) -> None:
    settings.REDIS_URL = "unix:///nowhere.sock"
    somebody = any_phone_number()
    with pytest.raises(StorageUnavailable):
        spend(GUARD, somebody)
    for _ in range(10):
        spend(PLAIN, somebody)
    with pytest.raises(RateLimited):
        spend(PLAIN, somebody)


def test_nought_is_no_limit(settings: Any) -> None:
    settings.LIMITS = settings.LIMITS | {"LOOKUPS_PER_15_MIN": [0]}
    settings.REDIS_URL = "unix:///nowhere.sock"
    spend(GUARD, "somebody", cost=1000)
