"""The documents name what there is: every setting, every call, every close code, and no page that is not there."""

import re
from pathlib import Path

import pytest
from django.apps import apps
from django.conf import settings

from chatproject.api import api
from chatproject.asyncapi import CLOSE_CODES
from messaging.frames import CLIENT_FRAMES, SERVER_FRAMES

ROOT = Path(settings.BASE_DIR)
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text()
STORAGE = (ROOT / "docs" / "storage.md").read_text()
CLIENT = ROOT / "clients" / "python"
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


def test_every_table_is_in_storage() -> None:
    tables = {model._meta.db_table for model in apps.get_models(include_auto_created=True)}
    assert len(tables) > 30
    assert sorted(table for table in tables if f"`{table}`" not in STORAGE) == []


def test_every_signal_is_in_the_architecture() -> None:
    found = [
        name
        for app in ("accounts", "devices", "conversations", "messaging", "chatproject")
        for module in (ROOT / app).rglob("*.py")
        for name in re.findall(r"^(\w+) = Signal\(\)", module.read_text(), re.MULTILINE)
    ]
    assert len(found) > 5
    assert [name for name in found if f"{name}`" not in ARCHITECTURE] == []


def test_what_the_client_reads_of_the_environment_is_in_its_readme() -> None:
    code = "".join(module.read_text() for module in (CLIENT / "src").rglob("*.py"))
    names = set(re.findall(r"environ[^\n]{0,10}\"(WAYPOST_\w+)\"", code))
    assert names
    assert [name for name in names if name not in (CLIENT / "README.md").read_text()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_to_a_file_leads_to_one(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []
