"""What the command says: a story event by event, or what came of many."""

import argparse

import msgspec

from tests.faults import history
from tests.faults.simulation.builds import CAUGHT_AS, hunt, is_caught
from tests.faults.simulation.running import building, run_on_all_cores
from tests.faults.simulation.story import Story
from tests.faults.simulation.time_of_its_own import BEGINNING
from tests.faults.simulation.verdict import judgement


def tell(asked: argparse.Namespace) -> int:
    """Do what was asked. 0 when every promise was kept; of a broken build, when it was caught."""
    return int(not (_one(asked) if asked.seed is not None else _many(asked)))


def _one(asked: argparse.Namespace) -> bool:
    mood = asked.mood or (CAUGHT_AS[asked.build][1] if asked.build else None)
    with building(asked.build):
        story = Story(asked.seed, mood)
        found = judgement(story)
    for event in story.world.history:
        say(line(event))
    for example in found.examples:
        say(f"! {example}")
    say(f"{found.line}   (trace {found.trace})")
    return bool(found.verdicts & CAUGHT_AS[asked.build][0]) if asked.build else not found.verdicts


def _many(asked: argparse.Namespace) -> bool:
    seeds = range(asked.first, asked.first + asked.seeds)
    played = hunt(asked.build, seeds) if asked.build else run_on_all_cores(seeds, mood=asked.mood)
    for text in played.lines():
        say(text)
    return is_caught(played) if asked.build else not played.violations


def line(event: history.AnyEvent) -> str:
    """One event in one line; what is empty is left out."""
    facts = msgspec.structs.asdict(event)
    at = facts.pop("at") - BEGINNING
    told = " ".join(f"{name}={value}" for name, value in facts.items() if value not in ("", 0, False, None, ()))
    return f"{at:9.4f} {type(event).__name__:16} {told}"


def say(text: str) -> None:
    print(text)  # noqa: T201  (a command's output)
