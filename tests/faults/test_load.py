"""The load against a whole installation to which nothing happens: everybody gets everything, and the history says so."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from tests.faults.checker import Verdict, check
from tests.faults.installation import POSTGRESQL, running
from tests.faults.installation import Plan as InstallationPlan
from tests.faults.load.console import Load
from tests.faults.load.plan import Plan

TALKING_SECONDS = 8.0
NO_DUMP = "the dump from PostgreSQL is missing"

pytestmark = pytest.mark.installation


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], Load]:
    """A short and lively run: its folder, what it said at the end, and the load."""
    folder = tmp_path_factory.mktemp("load")
    with running(InstallationPlan(directory=folder, layout=POSTGRESQL)) as installation:
        plan = Plan(
            urls=(f"http://{installation.host}:{installation.port}",),
            sms=str(installation.sms),
            history=str(folder / "load.jsonl"),
            markers=str(folder / "markers"),
            users=6,
            guests=2,
            conversations=5,
            largest=7,
            skewed=2,
            rate=20,
            membership_every=1.5,
            devices_every=2,
            reinstall_every=3,
            found_every=4,
            look_every=0.5,
            guests_every=2,
            connected=(1.0, 4.0),
            slow=0,
            mad=1,
        )
        quiet, load = asyncio.run(_play(plan))
    return folder, quiet, load


async def _play(plan: Plan) -> tuple[dict[str, Any], Load]:
    load = Load(plan)
    await load.found()
    load.begin()
    await asyncio.sleep(TALKING_SECONDS)
    load.check()
    quiet = await load.settle(60)
    await load.close()
    return quiet, load


def test_in_the_end_it_is_quiet_and_nothing_was_strange(played: tuple[Path, dict[str, Any], Load]) -> None:
    _, quiet, _ = played
    assert quiet["ok"], quiet
    assert quiet["anomalies"] == []
    assert quiet["counts"]["gave_up"] == 0
    assert quiet["counts"]["acked"] > 10 * TALKING_SECONDS
    assert quiet["counts"]["shown"] > quiet["counts"]["acked"]
    assert quiet["counts"]["changes"] > 10
    assert quiet["counts"]["mad"] > 0


def test_the_checker_finds_every_promise_kept(played: tuple[Path, dict[str, Any], Load]) -> None:
    folder, _, _ = played
    found = [
        violation
        for violation in check([folder / "load.jsonl"]).violations
        # Nothing is attacked and nothing dumped here; how long things take depends on what else this machine does.
        if violation.what != NO_DUMP and violation.verdict not in (Verdict.HUNG, Verdict.LATE)
    ]
    assert found == []


def test_planted_secrets_are_listed_and_in_no_log(played: tuple[Path, dict[str, Any], Load]) -> None:
    folder, _, load = played
    planted = [line.partition(" ")[::2] for line in (folder / "markers").read_text().splitlines()]
    assert {kind for kind, _ in planted} == {"ciphertext", "phone", "token", "code"}
    assert f"ciphertext {load.scene.mark}" in (folder / "markers").read_text()
    logs = "".join(path.read_text(errors="replace") for path in (folder / "logs").rglob("*.log"))
    assert logs
    assert [kind for kind, secret in planted if kind != "code" and secret in logs] == []


def test_the_history_has_all_that_happened_and_no_content(played: tuple[Path, dict[str, Any], Load]) -> None:
    folder, _, load = played
    history = (folder / "load.jsonl").read_text()
    assert load.scene.mark not in history
    events = [json.loads(line) for line in history.splitlines()]
    assert {event["type"] for event in events} >= {"send_invoked", "shown", "change_answered"}
    asked = {event["what"] for event in events if event["type"] == "change_invoked"}
    assert asked >= {"register", "reinstall", "create", "role"}
