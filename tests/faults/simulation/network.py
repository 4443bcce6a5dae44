"""Delays and losses between the parts of a simulated installation, by chance and by the weather."""

import random


class Network:
    """How long things take, and what is lost. Changed by the faults of a run; `calm` puts all of it right."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self.pace = 1.0
        self.slow_postgresql = self.slow_store = self.slow_hints = 1.0
        # Of what a reader gets from the store, the way back.
        self.slow_answers = 1.0
        self.lost_requests = self.lost_answers = 0.0
        self.store_fails = 0.0
        self.store_is_down = False
        self.lost_hints = self.doubled_hints = 0.0
        self.hints_are_down = False

    def calm(self, *names: str) -> None:
        """Put these right again."""
        fine = Network(self._chance)
        for name in names:
            setattr(self, name, getattr(fine, name))

    def happens(self, probability: float) -> bool:
        return probability > 0 and self._chance.random() < probability

    def _delay(self, typical: float) -> float:
        """Mostly near the typical, sometimes ten times as long: what makes rivals overtake each other."""
        share = self._chance.random()
        return self.pace * typical * (0.2 + share) * (10.0 if share > 0.93 else 1.0)

    def to_postgresql(self) -> float:
        return self._delay(0.001) * self.slow_postgresql

    def to_store(self) -> float:
        return self._delay(0.002) * self.slow_store

    def to_redis(self) -> float:
        return self._delay(0.001) * self.slow_hints

    def to_client(self) -> float:
        return self._delay(0.01) / self.pace

    def loses_request(self) -> bool:
        return self.happens(self.lost_requests)

    def loses_answer(self) -> bool:
        return self.happens(self.lost_answers)

    def between(self, low: float, high: float) -> float:
        return low + (high - low) * self._chance.random()

    def number(self, low: int, high: int) -> int:
        return self._chance.randint(low, high)
