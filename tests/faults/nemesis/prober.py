"""Pairs of devices that say when an installation is well again: every one of them sends, is told `sent`, and is heard, all within a second."""

import asyncio
import json
import threading
import time
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import httpx

from tests.acceptance.house import House, Resident
from tests.acceptance.talking import Party, Talker, Talking

PAIRS = 4
WELL_SECONDS = 1.0
ROUND_PAUSE_SECONDS = 0.1
GOOD_ROUNDS = 2
# An access token lives for ten minutes.
TOKEN_SECONDS = 300.0
START_SECONDS = 120.0
POLL_SECONDS = 0.01
Result = TypeVar("Result")


class Visited(House):
    """An installation that is run by somebody else, as the people of the acceptance tests see it."""

    def __init__(self, host: str, port: int, sms: Path) -> None:
        # Not a house's own beginning: nothing is copied, nothing is started here.
        self.host, self.port, self.sms = host, port, sms
        self.launcher = None
        self.clients: list[httpx.Client] = []

    @property
    def http(self) -> str:
        return f"http://{self.host}:{self.port}"

    @property
    def ws(self) -> str:
        return f"ws://{self.host}:{self.port}"

    def code(self, phone_number: str) -> str:
        """The last one-time code sent to the number."""
        lines = [json.loads(line) for line in self.sms.read_text().splitlines()]
        return str([line["code"] for line in lines if line["to"] == phone_number][-1])


class Prober:
    """Asks whether it is well. Its methods are called by one thread, its sockets live in another."""

    def __init__(self, house: Visited, loop: asyncio.AbstractEventLoop) -> None:
        self._house = house
        self._loop = loop
        self._pairs = [_pair(house, number) for number in range(1, PAIRS + 1)]
        self._talking = Talking(house, [device for *pair, _ in self._pairs for device in pair])
        self._party: Party = self._run(self._talking.__aenter__(), START_SECONDS)
        self._refreshed_at = time.monotonic()

    @property
    def people(self) -> list[str]:
        """Whose messages are not the load's."""
        return [device.user_id for *pair, _ in self._pairs for device in pair]

    def close(self) -> None:
        self._run(self._talking.__aexit__(), START_SECONDS)
        self._house.clean_up()

    def recovery(self, since: float, most: float) -> float | None:
        """Seconds from `since` (CLOCK_MONOTONIC) until all was well, None when that was not within `most`."""
        return self._run(self._recovery(since, most), most + START_SECONDS)

    def keep_signed_in(self) -> None:
        """New tokens when the old ones are going to end. Only while all is well: nothing else is tested here."""
        if time.monotonic() - self._refreshed_at > TOKEN_SECONDS:
            for *pair, _ in self._pairs:
                for device in pair:
                    answer = device.http.post("auth/refresh", {"refresh_token": device.refresh_token})
                    if answer.status == httpx.codes.OK:
                        device.with_tokens(answer.body)
            self._refreshed_at = time.monotonic()

    async def _recovery(self, since: float, most: float) -> float | None:
        well_at, good = 0.0, 0
        while good < GOOD_ROUNDS:
            if time.monotonic() > since + most:
                return None
            good = good + 1 if await self._is_well() else 0
            well_at = time.monotonic() if good == 1 else well_at
            await asyncio.sleep(ROUND_PAUSE_SECONDS)
        return well_at - since

    async def _is_well(self) -> bool:
        results = await asyncio.gather(*(self._passes(*pair) for pair in self._pairs))
        return all(results)

    async def _passes(self, sender: Resident, reader: Resident, conversation: str) -> bool:
        with suppress(TimeoutError, AssertionError):
            async with asyncio.timeout(WELL_SECONDS):
                answer = await self._party.talker(sender).say(conversation, [reader], b"is all well?")
                await _heard(self._party.talker(reader), conversation, answer["message_id"])
                return True
        return False

    def _run(self, work: Coroutine[Any, Any, Result], seconds: float) -> Result:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(seconds)


async def _heard(talker: Talker, conversation: str, message_id: str) -> None:
    while (conversation, message_id) not in talker.seen:  # noqa: ASYNC110  (a talker has no event for it)
        await asyncio.sleep(POLL_SECONDS)


def _pair(house: Visited, number: int) -> tuple[Resident, Resident, str]:
    sender, reader = house.person(f"prober {number}"), house.person(f"listener {number}")
    return sender, reader, sender.direct(reader)


@contextmanager
def probing(host: str, port: int, sms: Path) -> Iterator[Prober]:
    """A prober with its pairs signed in and connected."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="prober", daemon=True)
    thread.start()
    prober = Prober(Visited(host, port, sms), loop)
    try:
        yield prober
    finally:
        prober.close()
        loop.call_soon_threadsafe(loop.stop)
        thread.join(START_SECONDS)
        loop.close()


def worst(recoveries: Sequence[float | None]) -> float | None:
    """The longest, None if one of them has no end."""
    return None if None in recoveries else max((each for each in recoveries if each is not None), default=0.0)
