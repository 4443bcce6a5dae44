"""Chains that a refusal broke: what one device sends in one conversation stays in order although the server itself refused some of it.

A client that does not wait for answers has more on the wire when it hears of a refusal. What was refused is expected again, in its order, and what
comes instead of it is refused as well; but only for a moment, because a client may give a message up.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Iterable
from uuid import UUID

Chain = tuple[UUID, int]

# Longer than anything is on its way that was sent before the refusal could be read.
EXPECTED_SECONDS = 1.0
MOST_CHAINS = 10_000
MOST_EXPECTED = 256


class BrokenChains:
    """For each broken chain the client_message_ids that are expected again, each with the time of its refusal."""

    def __init__(self) -> None:
        self._expected: OrderedDict[Chain, deque[tuple[UUID, float]]] = OrderedDict()

    def broke(self, chain: Chain, refused: Iterable[UUID]) -> None:
        """These were refused so that they are going to be sent again, in this order, before anything that was refused earlier."""
        now = asyncio.get_running_loop().time()
        ids = list(refused)
        expected = self._expected.setdefault(chain, deque())
        kept = [one for one in expected if one[0] not in ids]
        expected.clear()
        expected.extend([*((one, now) for one in ids), *kept][:MOST_EXPECTED])
        self._expected.move_to_end(chain)
        self._forget_old(now)

    def refuses(self, chain: Chain, client_message_id: UUID) -> bool:
        """Whether something else of the chain has to come first. If so this one is expected after it."""
        expected = self._still_expected(chain)
        if not expected:
            return False
        if expected[0][0] == client_message_id:
            self.came(chain, client_message_id)
            return False
        if len(expected) < MOST_EXPECTED and all(client_message_id != one for one, _ in expected):
            expected.append((client_message_id, asyncio.get_running_loop().time()))
        return True

    def came(self, chain: Chain, client_message_id: UUID) -> None:
        """This one is not expected any more."""
        expected = self._expected.get(chain, deque())
        for one in [one for one in expected if one[0] == client_message_id]:
            expected.remove(one)
        if not expected:
            self._expected.pop(chain, None)

    def _still_expected(self, chain: Chain) -> deque[tuple[UUID, float]]:
        expected = self._expected.get(chain, deque())
        late = asyncio.get_running_loop().time() - EXPECTED_SECONDS
        while expected and expected[0][1] <= late:
            expected.popleft()
        if not expected:
            self._expected.pop(chain, None)
        return expected

    def _forget_old(self, now: float) -> None:
        """The chains that broke first have nobody coming any more; there are never too many."""
        while self._expected:
            chain, expected = next(iter(self._expected.items()))
            if len(self._expected) <= MOST_CHAINS and max(at for _, at in expected) > now - EXPECTED_SECONDS:
                break
            del self._expected[chain]
