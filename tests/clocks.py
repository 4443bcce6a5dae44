"""A process whose clock is wrong."""

import sys
import time
from datetime import datetime, timedelta, tzinfo
from types import ModuleType
from typing import Any

import pytest

# Who asks for the time in this process on the way of a request.
ASKING = ("accounts", "devices", "conversations", "messaging", "chatproject", "django", "jwt", "ninja", "limits")


def set_process_clock(monkeypatch: pytest.MonkeyPatch, by: timedelta) -> None:
    """From now on this process's clock is off by so much; PostgreSQL's and Redis's are not."""
    seconds, really, really_ns = by.total_seconds(), time.time, time.time_ns
    monkeypatch.setattr(time, "time", lambda: really() + seconds)
    monkeypatch.setattr(time, "time_ns", lambda: really_ns() + int(seconds) * 10**9)
    shifted = _shifted(by)
    for module in [module for name, module in sys.modules.items() if name.partition(".")[0] in ASKING]:
        if isinstance(module, ModuleType) and vars(module).get("datetime") is datetime:
            monkeypatch.setattr(module, "datetime", shifted)


def _shifted(by: timedelta) -> Any:
    class Anything(type):
        def __instancecheck__(cls, instance: object) -> bool:
            return isinstance(instance, datetime)

    class Shifted(datetime, metaclass=Anything):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Any:
            return datetime.now(tz) + by

    return Shifted
