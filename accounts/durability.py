"""Whether PostgreSQL still has what it has answered after its machine has lost power: the first promise rests on it."""

import asyncio
import logging

from accounts import statements
from accounts.wire.refusals import StorageUnavailable

logger = logging.getLogger(__name__)

AGAIN_SECONDS = 10.0

WEAK = """
SELECT name FROM pg_settings WHERE name IN ('fsync', 'full_page_writes', 'synchronous_commit') AND setting = 'off' ORDER BY name
"""


async def warn() -> None:
    """Say once which of its settings are off; as soon as it answers."""
    while True:
        try:
            weak = [name for [name] in await statements.rows(WEAK, [])]
        except StorageUnavailable:
            await asyncio.sleep(AGAIN_SECONDS)
            continue
        if weak:
            logger.warning(
                "PostgreSQL may lose messages it has accepted when its machine fails: %s off", ", ".join(weak)
            )
        return
