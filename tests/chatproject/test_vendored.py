"""What others have written and this repository has: unchanged, and said of each where it is from."""

import hashlib
from pathlib import Path

import pytest
from django.conf import settings

ROOT = Path(settings.BASE_DIR)
SUMS = sorted((ROOT / "chatproject" / "static").rglob("SHA256SUMS"))


@pytest.mark.parametrize("sums", SUMS, ids=lambda sums: str(sums.parent.name))
def test_vendored_files_are_as_they_came(sums: Path) -> None:
    named = {name: digest for digest, name in (line.split() for line in sums.read_text().splitlines())}
    found = {file.name: file for file in sums.parent.iterdir() if file != sums}
    assert {name: hashlib.sha256(file.read_bytes()).hexdigest() for name, file in found.items()} == named


def test_the_notice_names_alpine_its_version_and_its_licence() -> None:
    [sums] = SUMS
    notice, alpine = (ROOT / "NOTICE").read_text(), (sums.parent / "alpine.js").read_text()
    version = notice.partition("version   ")[2].split()[0]
    assert f'version:"{version}"' in alpine
    assert str((sums.parent / "alpine.js").relative_to(ROOT)) in notice
    assert (sums.parent / "LICENSE.alpine").read_text().startswith("# MIT License")
