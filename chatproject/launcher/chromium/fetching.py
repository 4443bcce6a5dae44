import os
import shutil
import tarfile
from pathlib import Path
from xml.sax.saxutils import escape

from chatproject.launcher.errors import refuse
from chatproject.launcher.npm import Node, Packages, have_node, variables_of
from chatproject.launcher.state import LOGS, STATE
from chatproject.launcher.watched import run_watched

HERE = Path(__file__).parent
FOLDER = STATE / "chromium"
PACKED = Path("node_modules", "@sparticuz", "chromium", "bin")
PROGRAM = "chromium"
OF_THE_SYSTEM = ("chromium", "chromium-browser", "google-chrome")
FONTS = """<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig><dir>{fonts}</dir><cachedir>{cache}</cachedir></fontconfig>
"""


def chromium_variables() -> dict[str, str]:
    """What leads the tests to a Chromium: CHROMIUM, and what it needs to run. Where there is none for this machine the installed one serves."""
    return variables_of("Chromium", _fetch_or_find)


def _fetch_or_find() -> dict[str, str]:
    found = next((program for name in OF_THE_SYSTEM if (program := shutil.which(name))), None)
    is_ours = (os.uname().sysname, os.uname().machine) == ("Linux", "x86_64")
    if not is_ours and found is None:
        refuse("its package is for Linux on x86-64, and none is installed.")
    return _fetch() if is_ours else {"CHROMIUM": str(found)}


def _fetch() -> dict[str, str]:
    """Raises LauncherError where it cannot be had or does not run."""
    node = have_node()

    def finish(folder: Path) -> None:
        _unpack(folder, node)
        _require_running(folder)

    Packages("Chromium", HERE, FOLDER, megabytes=70).have(node, finish)
    _name_the_fonts(FOLDER)
    return {
        "CHROMIUM": str(FOLDER / PROGRAM),
        "CHROMIUM_LIBRARIES": str(FOLDER / "lib"),
        "CHROMIUM_FONTS": str(FOLDER),
    }


def _unpack(folder: Path, node: Node) -> None:
    """The program, `lib` and `fonts`; what they were packed in is gone afterwards."""
    log = LOGS / "chromium.log"
    if run_watched([str(node.program), str(HERE / "unpack.mjs"), str(folder / PACKED), str(folder)], log=log)[0]:
        refuse(f"it cannot be unpacked (see {log}).")
    for archive in folder.glob("*.tar"):
        with tarfile.open(archive) as packed:
            packed.extractall(folder, filter="data")
        archive.unlink()
    (folder / PROGRAM).chmod(0o755)
    shutil.rmtree(folder / "node_modules")


def _require_running(folder: Path) -> None:
    log = LOGS / "chromium.log"
    environment = {"LD_LIBRARY_PATH": str(folder / "lib")}
    code, output = run_watched([str(folder / PROGRAM), "--version"], log=log, environment=environment)
    if code or "hrom" not in output:
        refuse(f"it does not run here (see {log}).")


def _name_the_fonts(folder: Path) -> None:
    """The package's own list is of folders that its makers have."""
    fonts, cache = escape(str(folder / "fonts")), escape(str(folder / "fonts-cache"))
    (folder / "fonts.conf").write_text(FONTS.format(fonts=fonts, cache=cache))
