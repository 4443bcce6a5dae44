"""Errands: what has to happen soon although nobody waits for an answer, by one process of the installation at a time.

Whoever makes one due wakes the process it is in; all others look now and then, so an errand outlives the process that made it due.
"""

import asyncio
import contextlib
import logging

from accounts import leases, statements
from accounts.leases import LeaseLost
from accounts.wire.refusals import StorageUnavailable
from devices import linking
from messaging.erasing import erase_due
from messaging.pauses import about, is_set_within
from messaging.store.protocol import MessageStore
from messaging.threads import in_a_thread

logger = logging.getLogger(__name__)

LEASE = "errands"
LOOK_SECONDS = 10.0

DUE = """
SELECT EXISTS (SELECT FROM devices_link WHERE state IN ('new', 'claimed', 'approved') AND expires_at <= clock_timestamp())
    OR EXISTS (SELECT FROM accounts_tombstone WHERE erased_at IS NULL AND look_at <= clock_timestamp())
"""


async def run_for_ever(store: MessageStore, wanted: asyncio.Event) -> None:
    """Look every ten seconds, and as soon as it is wanted. Outlives the outage of every store."""
    while True:
        await is_set_within(wanted, about(LOOK_SECONDS, 0.5))
        wanted.clear()
        try:
            await run_once(store)
        except (StorageUnavailable, LeaseLost):
            continue
        except Exception as failure:  # noqa: BLE001
            # Whoever waits for their account to be erased does not wait for the next start. The failure may quote a row: only its type is logged.
            logger.error("an errand failed: %s", type(failure).__name__)


async def run_once(store: MessageStore) -> None:
    """Do what is due now, unless another process is at it. Raises StorageUnavailable, LeaseLost."""
    [[is_due]] = await statements.rows(DUE, [])
    lease = await leases.claim(LEASE) if is_due else None
    if lease is None:
        return
    try:
        with contextlib.suppress(StorageUnavailable):
            await _lapse()
        await erase_due(store, lease.keep)
    finally:
        await lease.end(finished=True)


async def _lapse() -> None:
    lapsed = await in_a_thread(linking.lapse)
    if lapsed:
        logger.info("unlinked %d devices that were approved and never came for their tokens", lapsed)
