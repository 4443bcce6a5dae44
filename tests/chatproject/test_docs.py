"""The documents name what there is: every setting, every call, every close code, and no page that is not there."""

import re
from pathlib import Path

import pytest
from django.conf import settings

from chatproject.api import api
from chatproject.asyncapi import CLOSE_CODES
from messaging.frames import CLIENT_FRAMES, SERVER_FRAMES

ROOT = Path(settings.BASE_DIR)
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
PROTOCOL = (ROOT / "docs" / "protocol.md").read_text()
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def test_every_setting_is_explained() -> None:
    names = re.findall(r"env\.\w+\(\s*\"([A-Z_]+)\"", (ROOT / "chatproject" / "settings.py").read_text())
    assert len(names) > 15
    assert [name for name in names if name not in OPERATIONS] == []


def test_every_limit_is_explained_by_its_name_in_the_environment() -> None:
    both = OPERATIONS + PROTOCOL
    assert [name for name in settings.LIMITS if f"LIMIT_{name}" not in both] == []


def test_every_call_is_in_the_protocol() -> None:
    calls = PROTOCOL.partition("\n## Calls\n")[2].partition("\n## ")[0]
    told = set(re.findall(r"[a-z-]+", calls))
    paths = [path.removeprefix("/api/v1/") for path in api.get_openapi_schema()["paths"]]
    assert len(paths) > 20
    assert [path for path in paths if not set(re.sub(r"{\w+}", "", path).split("/")) <= told | {""}] == []


def test_every_frame_and_close_code_is_in_the_protocol() -> None:
    tags = {str(frame.__struct_config__.tag) for frame in (*CLIENT_FRAMES, *SERVER_FRAMES)}
    assert [word for word in (*tags, *map(str, CLOSE_CODES)) if word not in PROTOCOL] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_to_a_file_leads_to_one(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []
