"""Lineage: whether PostgreSQL, as it is now, is what has become of the PostgreSQL that was known before.

Its word on that: the identifier `initdb` gave it, the timeline, which a promotion or a restore to a point in time raises, and a counter of its own,
the beat, which moves only while serving processes find everything in order. Whoever has seen a beat that PostgreSQL does not remember has seen a
later state of it than the present one.
"""

import msgspec


class Mark(msgspec.Struct, frozen=True):
    """What PostgreSQL says of itself at one moment. `era`, the high part of every position, is the timeline and what restores have added to it."""

    system_identifier: int
    timeline: int
    era: int
    beat: int

    @property
    def added(self) -> int:
        """What accepted restores have added to the timeline."""
        return self.era - self.timeline

    @property
    def rank(self) -> int:
        """Rises from beat to beat, across promotions and accepted restores."""
        return self.era << 48 | self.beat


def departure(now: Mark, known: Mark) -> str | None:
    """Why what is there `now` cannot have grown out of what was `known`; None if it can."""
    if now.system_identifier != known.system_identifier:
        return f"it is another database cluster ({now.system_identifier}, not {known.system_identifier})"
    if now.timeline < known.timeline:
        return f"its timeline is {now.timeline}, and was {known.timeline} already"
    if now.added < known.added:
        return "it is older than a restore that was accepted"
    if now.timeline == known.timeline and now.beat < known.beat:
        return f"it has gone back: it remembers beat {now.beat} and not beat {known.beat}"
    return None


def lost_beats(now: Mark, known: Mark) -> int:
    """How many beats did not survive a promotion or a restore to a point in time: some two seconds each, 0 if nothing was lost."""
    return max(0, known.beat - now.beat)
