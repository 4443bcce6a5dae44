"""What is said of one story: the checker's judgement of its history, and what no history tells."""

import hashlib

import msgspec

from tests.faults.checker import Report, judge
from tests.faults.simulation.story import Story

CRASHED = "crashed"


class Judgement(msgspec.Struct, frozen=True):
    """`verdicts` are the checker's words, and "crashed" for an error the service did not expect. Empty: every promise was kept."""

    seed: int
    mood: str
    verdicts: frozenset[str]
    examples: tuple[str, ...]
    report: Report
    kinds: tuple[str, ...]
    trace: str

    @property
    def line(self) -> str:
        """One line about it."""
        return f"seed {self.seed}: {', '.join(sorted(self.verdicts)) or 'every promise was kept'}"


def play(seed: int, *, mood: str | None = None) -> Judgement:
    """Run this seed's story and judge it."""
    return judgement(Story(seed, mood))


def judgement(story: Story) -> Judgement:
    """Run the story and judge it."""
    events = story.run()
    report = judge(events)
    crashes = story.world.scheduler.problems
    verdicts = {verdict.value for verdict in report.verdicts} | ({CRASHED} if crashes else set())
    examples = [f"{CRASHED}: {problem}" for problem in crashes]
    examples += [f"{violation.verdict.value}: {violation.what}" for violation in report.violations]
    trace = hashlib.sha256(msgspec.json.encode(events)).hexdigest()[:16]
    return Judgement(
        story.world.seed, story.mood, frozenset(verdicts), tuple(examples), report, tuple(sorted(story.kinds)), trace
    )
