"""Pruning: one round through everything that grows, in chunks (`accounts.chores`), by one process of the installation at a time."""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence

from django.conf import settings

from accounts import chores, clocks, code_days, known_places, leases
from accounts.chores import Chore, Chunk
from accounts.leases import Lease, LeaseLost
from accounts.security_events import EVENTS
from accounts.tombstones import TOMBSTONES
from accounts.wire.refusals import StorageUnavailable
from conversations.pruning import LEDGER
from conversations.tallies import TALLIES
from devices.pruning import LINKS, TOKENS
from messaging.pauses import about
from messaging.purging import purging
from messaging.store.protocol import MessageStore, StoreUnavailable

logger = logging.getLogger(__name__)

LEASE = "pruning"
# How often a process asks whether a round is due.
LOOK_SECONDS = 120.0


class ClocksDisagree(Exception):
    """PostgreSQL's clock and this process's are more than an hour apart; nothing was removed by either."""


class AtWork(Exception):
    """Another process is pruning."""


async def prune(store: MessageStore) -> AsyncIterator[tuple[str, int]]:
    """One whole round: what was pruned, and how many rows of it, each when it is done.

    Raises AtWork, ClocksDisagree, LeaseLost when another process has taken over meanwhile, StorageUnavailable.
    """
    lease = await leases.claim(LEASE)
    if lease is None:
        raise AtWork
    async for done in _round(lease, store):
        yield done


async def prune_for_ever(store: MessageStore) -> None:
    """A round every PRUNE_EVERY_SECONDS, whichever process begins it."""
    while settings.PRUNE_EVERY_SECONDS:
        await asyncio.sleep(about(LOOK_SECONDS, 0.5))
        try:
            await _prune_if_due(store)
        except LeaseLost:
            logger.info("pruning: another process goes on")
        except ClocksDisagree:
            logger.error(
                "pruning: PostgreSQL's clock and this process's are more than an hour apart; nothing is removed"
            )
        except StorageUnavailable:
            logger.warning("pruning: a store is not available, the next round begins anew")


async def _prune_if_due(store: MessageStore) -> None:
    lease = await leases.claim(LEASE, every_seconds=settings.PRUNE_EVERY_SECONDS)
    if lease is None:
        return
    removed = [f"{count} {name}" async for name, count in _round(lease, store) if count]
    logger.info("pruned: %s", ", ".join(removed) or "nothing was due")


async def _round(lease: Lease, store: MessageStore) -> AsyncIterator[tuple[str, int]]:
    is_finished = False
    try:
        # What is removed because its time is over must not be removed by a clock that is wrong.
        if not clocks.agrees(lease.claimed_ms):
            raise ClocksDisagree
        for chore in _chores(store, lease.claimed_ms):
            yield chore.name, await chores.do(chore, lease.keep)
        is_finished = True
    finally:
        await lease.end(finished=is_finished)


def _chores(store: MessageStore, now_ms: int) -> Sequence[Chore]:
    async def chunk(after: bytes | None, size: int) -> Chunk:
        try:
            pruned = await store.prune(now_ms=now_ms, page=after, size=size)
        except StoreUnavailable as failure:
            raise StorageUnavailable from failure
        return Chunk(pruned.removed, pruned.next_page)

    rows = Chore("rows of the message store", chunk, size=16, most=256)
    people = (TOKENS, LINKS, TOMBSTONES, chores.SESSIONS, EVENTS, code_days.PRUNING, known_places.PRUNING)
    return (LEDGER, TALLIES, *people, purging(store, now_ms), rows)
