"""`manage.py checkup` against running installations: it finds them well, and says in one sentence what is not."""

import subprocess

import psycopg
import pytest

from chatproject.launcher.state import CHECKOUT
from tests.acceptance.house import House, stopped, wait_for

pytestmark = pytest.mark.installation

PATIENCE_SECONDS = 90


def ends(house: House, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """What the command says, started in the house's checkout."""
    return subprocess.run(
        [CHECKOUT / ".venv" / "bin" / "python", *command],
        cwd=house.checkout,
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )


def checkup(house: House, **changes: str) -> subprocess.CompletedProcess[str]:
    """With the settings of the house's web workers, some of them changed."""
    return ends(house, "manage.py", "checkup", **house.workers()[0].environ() | changes)


def accounts(house: House) -> int:
    with psycopg.connect(house.postgres_url()) as decides:
        row = decides.execute("SELECT count(*) FROM accounts_user WHERE is_active AND NOT is_staff").fetchone()
    assert row is not None
    return int(row[0])


def test_an_installation_that_is_well_passes_every_step_and_keeps_nobody(house: House) -> None:
    before = accounts(house)
    done = ends(house, "-m", "chatproject.launcher", "checkup", **house.environment())
    assert (done.returncode, done.stderr) == (0, ""), done
    marks = [line.split()[0] for line in done.stdout.partition(" ms\n")[2].splitlines()[:-1]]
    assert len(marks) > 15
    assert set(marks) == {"✓"}, done.stdout
    assert f"message store ({house.layout})" in done.stdout
    assert accounts(house) == before


def test_a_store_that_stands_still_is_named_and_ends_the_checkup(postgresql_house: House) -> None:
    with stopped(postgresql_house.processes("valkey-server")):
        done = checkup(postgresql_house)
    wait_for(postgresql_house.is_ready, 60)
    assert done.returncode == 1
    assert done.stderr.startswith("CommandError: The checkup failed. Redis or Valkey answers, keeps and forgets: "), (
        done
    )
    assert "✓ PostgreSQL answers" in done.stdout


def test_settings_that_are_not_the_servers_are_found_out(postgresql_house: House) -> None:
    url = postgresql_house.worker_environment("REDIS_URL").partition("?")[0]
    done = checkup(postgresql_house, REDIS_URL=f"{url}?db=7")
    assert done.returncode == 1
    assert "the server keeps its codes in another Redis than REDIS_URL names here" in done.stderr
    done = checkup(postgresql_house, SMS_URL="file:///tmp/elsewhere.jsonl")
    assert done.returncode == 1
    assert "the code is not in the file that SMS_URL names here; --without-sms goes on without it" in done.stderr
