"""libsignal for the tests: where it cannot be had somebody is told, and CI does not go on without it."""

from pathlib import Path

import pytest

from chatproject.launcher.errors import LauncherError
from chatproject.launcher.libsignal import fetching, libsignal_variables


@pytest.fixture
def nothing_to_be_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No Node on the PATH, no index for pip."""
    monkeypatch.setattr(fetching, "FOLDER", tmp_path / "libsignal")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PIP_NO_INDEX", "1")


@pytest.mark.usefixtures("nothing_to_be_had")
def test_elsewhere_one_line_says_that_its_tests_are_skipped(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CI", "")
    assert libsignal_variables() == {}
    [line] = [line for line in capsys.readouterr().err.splitlines() if line]
    assert line.startswith("!!! libsignal is not here")
    assert line.endswith("SKIPPED.")


@pytest.mark.usefixtures("nothing_to_be_had")
def test_in_ci_that_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    with pytest.raises(LauncherError):
        libsignal_variables()
