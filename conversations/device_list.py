"""The device list of a send must be exact: every device that has to get the message, no other, none that was installed again."""

from collections.abc import Mapping, Sequence

from accounts.wire.refusals import ChatError, InvalidRequest, MismatchedDevices, StaleDevices
from conversations.audience import AudienceDevice
from conversations.sends import Addressed


def refusal(messages: Sequence[Addressed], expected: Mapping[int, AudienceDevice]) -> ChatError | None:
    """Why this list cannot be used, or None. A device that was installed again wins over missing and extra ones."""
    given = {item.device_id: item.registration_id for item in messages}
    if len(given) != len(messages):
        return InvalidRequest("A device is addressed twice.", field="messages")
    stale = [
        device_id
        for device_id in given
        if device_id in expected and expected[device_id].registration_id != given[device_id]
    ]
    if stale:
        return StaleDevices(stale=[str(device_id) for device_id in sorted(stale)])
    missing = [device for device_id, device in expected.items() if device_id not in given]
    extra = sorted(device_id for device_id in given if device_id not in expected)
    if missing or extra:
        return MismatchedDevices(
            missing=[{"user_id": str(device.user_id), "device_id": str(device.device_id)} for device in missing],
            extra=[str(device_id) for device_id in extra],
        )
    return None
