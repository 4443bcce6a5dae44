"""Who is a member is read before the conversation is locked: a send and a removal do not exclude each other."""

from conversations.audience import Audience
from tests.faults.broken import stale_audience


def stale_members(stale: Audience, fresh: Audience) -> Audience:
    gone = {key: device for key, device in stale.devices.items() if device.user_id not in fresh.roles}
    here = {key: device for key, device in fresh.devices.items() if device.user_id in stale.roles}
    return Audience(dict(stale.roles), gone | here)


def install() -> None:
    stale_audience.install(stale_members)
