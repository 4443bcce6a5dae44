"""Looking for what a run has planted in everything that was logged."""

from pathlib import Path

from tests.acceptance.searching import forms
from tests.faults.history import SecretFound, SecretsSearched, Writer

CONTROL = "control 9f4c2b7e-planted-to-be-found"
# Six digits occur by chance; other tests look for codes as whole values.
BY_CHANCE = "code"


def search(markers: Path, logs: Path, writer: Writer) -> None:
    """Write what was found. A log of our own, in which there is something to find, shows that finding works."""
    (logs / "control.log").write_text(f"{CONTROL}\n")
    planted = [line.partition(" ") for line in [*markers.read_text().splitlines(), CONTROL]]
    wanted = {value: (label, _forms(label, value)) for label, _, value in planted if label != BY_CHANCE}
    files = sorted(path for path in logs.rglob("*") if path.is_file())
    found = [(label, file.name) for file in files for label in _labels_in(file.read_bytes(), wanted)]
    for label, name in found:
        if label != "control":
            writer.write(SecretFound(label=label, file=name))
    control_found = any(label == "control" for label, _ in found)
    writer.write(SecretsSearched(planted=len(planted), files=len(files), control_found=control_found))


def _forms(label: str, value: str) -> list[bytes]:
    return [value.encode()] if label == "token" else forms(value.encode())


def _labels_in(data: bytes, wanted: dict[str, tuple[str, list[bytes]]]) -> list[str]:
    return [label for label, shapes in wanted.values() if any(shape in data for shape in shapes)]
