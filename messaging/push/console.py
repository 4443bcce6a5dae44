"""A provider for development: says in the log whom it would have woken."""

import logging

from devices.push_tokens import Address
from messaging.push.gateway import Knock

logger = logging.getLogger("messaging.push")


class Console:
    """Takes everything."""

    def lane(self, address: Address) -> str:
        return "console"

    async def wake(self, knock: Knock) -> None:
        logger.info("A push by %s would wake device %d", knock.address.provider, knock.device_id)

    async def close(self) -> None:
        """There is nothing to close."""
