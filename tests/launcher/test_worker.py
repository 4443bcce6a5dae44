import logging

import pytest
from django.conf import settings

from chatproject.launcher.worker import QUIET


@pytest.mark.parametrize(("level", "is_quiet"), [("DEBUG", True), ("INFO", True), ("WARNING", False), ("ERROR", False)])
def test_the_terminal_shows_warnings_as_the_settings_write_them(level: str, is_quiet: bool) -> None:  # noqa: FBT001  (a parameter)
    record = logging.makeLogRecord({"name": "messaging", "levelname": level, "msg": "Alice said INFO and DEBUG loudly"})
    line = logging.Formatter(settings.LOGGING["formatters"]["plain"]["format"]).format(record)
    assert bool(QUIET.match(line)) is is_quiet
