import hashlib
import os
import pwd
import shutil
from pathlib import Path

from chatproject.launcher.cassandra.java import find_java
from chatproject.launcher.console import Progress
from chatproject.launcher.errors import refuse
from chatproject.launcher.state import LOGS, STATE, one_at_a_time
from chatproject.launcher.watched import run_watched

POM = Path(__file__).parent / "pom.xml"
JARS = STATE / "cassandra-lib"
OTHER_WAYS = "set SCYLLADB_URL (for the tests CASSANDRA_TEST_URL) to a cluster that runs, or use compose.yaml"


def fetch_jars() -> Path:
    """The folder with Cassandra and all it needs, fetched with Maven unless it is there already."""
    with one_at_a_time("cassandra-lib"):
        if not _complete():
            _fetch()
    return JARS


def _complete() -> bool:
    stamp = JARS / "stamp"
    return stamp.exists() and stamp.read_text() == _wanted()


def _wanted() -> str:
    return hashlib.sha256(POM.read_bytes()).hexdigest()


def _fetch() -> None:
    maven = shutil.which("mvn")
    if not maven:
        refuse(f"Cassandra's jars come through Maven: install mvn, or {OTHER_WAYS}.")
    fresh = JARS.with_name("cassandra-lib.new")
    shutil.rmtree(fresh, ignore_errors=True)
    with Progress("Fetching Cassandra 5 from Maven Central (about 70 MB, once)") as progress:
        downloads = 0

        def count(line: str) -> None:
            nonlocal downloads
            downloads += "Downloaded" in line
            progress.report(f"{downloads} files fetched")

        code, output = run_watched(
            _maven_command(maven, fresh), log=LOGS / "maven.log", watch=count, environment=_maven_environment()
        )
    if code:
        refuse(_maven_failure(output))
    (fresh / "stamp").write_text(_wanted())
    shutil.rmtree(JARS, ignore_errors=True)
    fresh.rename(JARS)


def _maven_command(maven: str, target: Path) -> list[str]:
    command = [maven, "--batch-mode", "--file", str(POM), "dependency:copy-dependencies"]
    command += ["-DincludeScope=runtime", f"-DoutputDirectory={target}"]
    if not _home_is_writable():
        command.append(f"-Dmaven.repo.local={STATE / 'maven'}")
    return command


def _home_is_writable() -> bool:
    """Maven keeps its cache in the home directory of the user database, whatever HOME says."""
    try:
        return os.access(pwd.getpwuid(os.geteuid()).pw_dir, os.W_OK)
    except KeyError:
        return False


def _maven_environment() -> dict[str, str]:
    """Maven runs under the Java that Cassandra will run under: there may be no other."""
    return {"JAVA_HOME": str(find_java().resolve().parents[1])}


def _maven_failure(output: str) -> str:
    if "No space left on device" in output:
        return f"Cassandra's jars do not fit: the disk that holds {STATE} is full."
    errors = [line.removeprefix("[ERROR]").strip() for line in output.splitlines() if line.startswith("[ERROR]")]
    reason = errors[0] if errors else "Maven failed"
    return f"Cassandra's jars could not be fetched: {reason} (see {LOGS / 'maven.log'}); else {OTHER_WAYS}."
