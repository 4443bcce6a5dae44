"""Staff by role."""

import pytest

from accounts import valkey
from tests.web_admin.staff import Staff, hire


@pytest.fixture(autouse=True)
def _nobody_has_tried_yet(services: None) -> None:
    valkey.client().flushdb()


@pytest.fixture
def support(db: None) -> Staff:
    return hire("support")


@pytest.fixture
def security(db: None) -> Staff:
    return hire("security")


@pytest.fixture
def superuser(db: None) -> Staff:
    return hire("superuser")
