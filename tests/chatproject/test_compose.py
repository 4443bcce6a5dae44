"""The installation that `compose.yaml` writes down takes every setting that an operator may give."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.conf import settings

ROOT = Path(settings.BASE_DIR)
# Whoever composes does not set these: what kind of installation it is, and what the image has at a place of its own.
NOT_THE_OPERATORS = {"ENVIRONMENT", "DEBUG", "STATIC_ROOT", "METRICS_DIR", "CHECKUP_URL"}
# Other names of a store that is named, and what only the web process has.
ELSEWHERE = {"DATABASE_URL", "MESSAGES_URL", "POOL_CONNECTIONS"}


@pytest.fixture(scope="module")
def composed() -> Any:
    return yaml.safe_load((ROOT / "compose.yaml").read_text())


def test_every_setting_and_every_limit_reaches_the_processes(composed: Any) -> None:
    read = set(re.findall(r"env\.\w+\(\s*\"([A-Z0-9_]+)\"", (ROOT / "chatproject" / "settings.py").read_text()))
    wanted = read | {f"LIMIT_{name}" for name in settings.LIMITS}
    for service in ("migrate", "app", "finisher"):
        given = set(composed["services"][service]["environment"]) - ELSEWHERE
        assert given == wanted - NOT_THE_OPERATORS - ELSEWHERE, service


def test_what_has_a_default_is_passed_on_only_where_it_is_set(composed: Any) -> None:
    given = composed["services"]["app"]["environment"]
    assert [name for name in given if name.startswith(("LIMIT_", "PUSH_")) and given[name] is not None] == []
    assert given["SECRET_KEY"] == "${SECRET_KEY:?}"
