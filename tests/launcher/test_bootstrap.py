import pytest

from chatproject.launcher.bootstrap import explain_pip


@pytest.mark.parametrize(
    ("output", "sentence"),
    [
        ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device", "is full"),
        (
            "      error: [Errno 2] No such file or directory: 'gcc'\n  ERROR: Failed building wheel for cffi",
            "no C compiler",
        ),
        ("error: command 'x86_64-linux-gnu-gcc' failed: No such file or directory", "no C compiler"),
        ("WARNING: Retrying after NewConnectionError('<…>')\nERROR: No matching distribution", "cannot be reached"),
        ("ERROR: No matching distribution found for waypost==9", "No matching distribution found for waypost==9"),
    ],
)
def test_a_failed_installation_is_one_sentence(output: str, sentence: str) -> None:
    said = explain_pip(output)
    assert sentence in said
    assert "\n" not in said
