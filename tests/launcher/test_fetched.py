"""What the tests fetch from npm: where it cannot be had somebody is told, and CI does not go on without it."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from chatproject.launcher.chromium import chromium_variables
from chatproject.launcher.chromium import fetching as chromium
from chatproject.launcher.errors import LauncherError
from chatproject.launcher.libsignal import fetching as libsignal
from chatproject.launcher.libsignal import libsignal_variables
from chatproject.launcher.npm import node

Variables = Callable[[], dict[str, str]]


@pytest.fixture
def nothing_to_be_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No Node and no Chromium on the PATH, and a pip that brings nothing."""
    for module in (libsignal, chromium, node):
        monkeypatch.setattr(module, "FOLDER", tmp_path / module.FOLDER.name)
    monkeypatch.setattr(node, "PYTHON", Path(shutil.which("false") or "/bin/false"))
    monkeypatch.setenv("PATH", str(tmp_path))


@pytest.mark.parametrize(("name", "variables"), [("libsignal", libsignal_variables), ("Chromium", chromium_variables)])
@pytest.mark.usefixtures("nothing_to_be_had")
def test_elsewhere_one_line_says_that_its_tests_are_skipped(
    name: str, variables: Variables, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CI", "")
    assert variables() == {}
    [line] = [line for line in capsys.readouterr().err.splitlines() if line]
    assert line.startswith(f"!!! {name} is not here")
    assert line.endswith("SKIPPED.")


@pytest.mark.parametrize("variables", [libsignal_variables, chromium_variables])
@pytest.mark.usefixtures("nothing_to_be_had")
def test_in_ci_that_is_an_error(variables: Variables, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    with pytest.raises(LauncherError):
        variables()
