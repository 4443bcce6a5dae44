"""Which devices a member has is read before the conversation is locked."""

from conversations.audience import Audience
from tests.faults.broken import stale_audience


def stale_devices(stale: Audience, fresh: Audience) -> Audience:
    known = {key: device for key, device in stale.devices.items() if device.user_id in fresh.roles}
    newcomers = {key: device for key, device in fresh.devices.items() if device.user_id not in stale.roles}
    return Audience(fresh.roles, known | newcomers)


def install() -> None:
    stale_audience.install(stale_devices)
