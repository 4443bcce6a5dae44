"""Wake-ups that wait for their moment: one per device, so many at most, the oldest goes when there are more."""

from collections.abc import Sequence
from itertools import islice

from messaging.push.choosing import Wake


class Waiting:
    """Those of one process."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._wakes: dict[int, Wake] = {}

    def __len__(self) -> int:
        return len(self._wakes)

    def get(self, device_id: int) -> Wake | None:
        """What waits for this device."""
        return self._wakes.get(device_id)

    def put(self, wake: Wake) -> bool:
        """Have it wait, together with what waits for its device already. False: for that the oldest of another device is given up."""
        known = self._wakes.get(wake.device_id)
        if known is not None:
            self._wakes[wake.device_id] = _both(known, wake)
            return True
        self._wakes[wake.device_id] = wake
        if len(self._wakes) <= self._most:
            return True
        del self._wakes[next(iter(self._wakes))]
        return False

    def take(self, now: float, limit: int) -> Sequence[Wake]:
        """Those whose moment has come, the oldest first."""
        due = list(islice((wake for wake in self._wakes.values() if wake.not_before <= now), limit))
        for wake in due:
            del self._wakes[wake.device_id]
        return due


def _both(one: Wake, other: Wake) -> Wake:
    """A call does not wait; a failure is not forgotten because something more is there."""
    return Wake(
        user_id=one.user_id,
        device_id=one.device_id,
        conversations=one.conversations | other.conversations,
        is_call=one.is_call or other.is_call,
        not_before=min(one.not_before, other.not_before),
        needs_mail=one.needs_mail and other.needs_mail,
        failures=max(one.failures, other.failures),
    )
