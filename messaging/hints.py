"""Hints: the only module that publishes on the channel layer.

A hint says "look at your mailbox", and brings small envelopes along so that a connected device needs no read. Redis is not trusted with it: a
hint carries a MAC with a key Redis does not have, and one that does not verify only makes the socket look.
"""

import asyncio
import hmac
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable
from functools import partial
from typing import ParamSpec
from uuid import UUID
from weakref import WeakKeyDictionary

import msgspec
from channels.layers import get_channel_layer
from django.conf import settings

from conversations.entries import LogEntry
from messaging.envelopes import Close, Envelope, Hint, Notice, envelope_of
from messaging.layer import HintLoopLayer

# An envelope larger than this is read from the mailbox instead of riding in the hint.
LARGEST_RIDER = 4096
MAC_BYTES = 16

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Hint)
LOOK = Hint(look=True)

OnHint = Callable[[Hint], None]
P = ParamSpec("P")

logger = logging.getLogger(__name__)


def device_group(device_id: int) -> str:
    """The group a device's sockets listen to."""
    return f"device.{device_id}"


def user_group(user_id: UUID) -> str:
    """The group all sockets of a user listen to."""
    return f"user.{user_id}"


def groups_of(device_id: int, user_id: UUID) -> tuple[str, str]:
    """What a device's socket listens to."""
    return device_group(device_id), user_group(user_id)


def layer() -> HintLoopLayer:
    """The running loop's channel layer."""
    channel_layer = get_channel_layer()
    assert channel_layer is not None  # noqa: S101  (settings name one)
    found: HintLoopLayer = channel_layer._get_layer()  # noqa: SLF001  (channels_redis offers no other door to the loop's layer)
    return found


def publish(entries: Iterable[LogEntry]) -> None:
    """Tell every recipient device of these deposited entries. A device connected to this process gets them without Redis."""
    per_device: defaultdict[int, list[Envelope]] = defaultdict(list)
    for entry in entries:
        for recipient in entry.recipients:
            per_device[recipient.device_id].append(envelope_of(entry, recipient))
    for device_id, envelopes in per_device.items():
        _publish_to_device(device_id, envelopes)


def look(entries: Iterable[LogEntry]) -> None:
    """Have every recipient device of these look: they are committed, and their store cannot take them now."""
    for device_id in {recipient.device_id for entry in entries for recipient in entry.recipients}:
        _tell(device_group(device_id), LOOK)


def notify_device(device_id: int, notice: Notice) -> None:
    """Tell one device, if it is connected."""
    _tell(device_group(device_id), Hint(notices=(notice,)))


def is_listening_here(device_id: int) -> bool:
    """Whether the device has a socket on the running loop."""
    return bool(_here().get(device_group(device_id)))


async def listening(device_ids: Iterable[int]) -> set[int]:
    """Those of them with a socket anywhere, as far as Redis knows: a process that died is not among its subscribers. While it is away: those here."""
    groups = {device_group(device_id): device_id for device_id in device_ids}
    here = {device_id for device_id in groups.values() if is_listening_here(device_id)}
    return here | {groups[group] for group in await layer().listened_to(groups)}


def _publish_to_device(device_id: int, envelopes: list[Envelope]) -> None:
    group = device_group(device_id)
    if _tell_here(group, Hint(envelopes=tuple(envelopes))):
        return
    riders = tuple(envelope for envelope in envelopes if envelope.size <= LARGEST_RIDER)
    _tell_elsewhere(group, Hint(envelopes=riders, look=len(riders) < len(envelopes)))


def notify(user_ids: Iterable[UUID], notice: Notice, *, except_device: int = 0) -> None:
    """Tell all connected devices of these users. At most once; nobody waits for it."""
    hint = Hint(notices=(notice,), except_device=except_device)
    for group in map(user_group, user_ids):
        _tell(group, hint)


def notify_many(notices: dict[UUID, list[Notice]]) -> None:
    """Tell each user's devices several things in one hint."""
    for user_id, said in notices.items():
        _tell(user_group(user_id), Hint(notices=tuple(said)))


def say_changed(user_ids: Iterable[UUID]) -> None:
    """Whether these people are there may have changed: whoever watches them looks."""
    for user_id in user_ids:
        _tell(_presence_group(user_id), LOOK)


def listen_for_changes(user_id: UUID, changed: Callable[[], None]) -> "Listening":
    """From now on `changed` is called when it is said of this person, and whenever that may have been missed."""
    listening = Listening([_presence_group(user_id)], lambda _hint: changed(), changed)
    listening.start()
    return listening


def _presence_group(user_id: UUID) -> str:
    return f"presence.{user_id}"


def close(device_id: int, close: Close) -> None:
    """Have the device's sockets closed, wherever they are."""
    _tell(device_group(device_id), Hint(close=close))


def _tell(group: str, hint: Hint) -> None:
    _tell_here(group, hint)
    _tell_elsewhere(group, hint)


def _tell_here(group: str, hint: Hint) -> bool:
    """Whether somebody listens in this process: a hint for them needs neither encoding nor Redis."""
    listeners = tuple(_here().get(group, ()))
    for listener in listeners:
        listener(hint)
    return bool(listeners)


def _tell_elsewhere(group: str, hint: Hint) -> None:
    layer().publish(group, _seal(group, hint))


class Listening:
    """Somebody's ears: `on_hint` for every hint, `on_gap` when the subscription is confirmed and whenever something may have been missed."""

    def __init__(self, groups: Iterable[str], on_hint: OnHint, on_gap: Callable[[], None]) -> None:
        self._ears = [(group, partial(self._heard, group)) for group in groups]
        self._on_hint = _by_itself(on_hint)
        self._on_gap = _by_itself(on_gap)

    def start(self) -> None:
        """Listen. Works without Redis."""
        here = _here()
        for group, ear in self._ears:
            here.setdefault(group, []).append(self._on_hint)
            layer().listen(group, ear, self._on_gap)

    def stop(self) -> None:
        """Stop listening. Idempotent."""
        here = _here()
        for group, ear in self._ears:
            layer().unlisten(group, ear)
            listeners = here.get(group, [])
            if self._on_hint in listeners:
                listeners.remove(self._on_hint)
            if not listeners:
                here.pop(group, None)

    def _heard(self, group: str, payload: bytes) -> None:
        self._on_hint(_open(group, payload))


def _by_itself(told: Callable[P, None]) -> Callable[P, None]:
    """Whoever fails to hear fails alone: the others are told, and the connection to Redis outlives it."""

    def hear(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            told(*args, **kwargs)
        except Exception as failure:  # noqa: BLE001
            # It may quote an envelope: only its type is logged.
            logger.error("somebody could not be told: %s", type(failure).__name__)

    return hear


def _here() -> dict[str, list[OnHint]]:
    """Who listens on the running loop, by group."""
    return _listening.setdefault(asyncio.get_running_loop(), {})


_listening: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, list[OnHint]]] = WeakKeyDictionary()


def _seal(group: str, hint: Hint) -> bytes:
    body = _encoder.encode(hint)
    return _mac(group, body) + body


def _open(group: str, payload: bytes) -> Hint:
    """The hint, or a mere "look" where it is not one of ours, or was meant for another group."""
    mac, body = payload[:MAC_BYTES], payload[MAC_BYTES:]
    if not hmac.compare_digest(mac, _mac(group, body)):
        return LOOK
    try:
        return _decoder.decode(body)
    except msgspec.DecodeError:
        return LOOK


def _mac(group: str, body: bytes) -> bytes:
    return hmac.digest(settings.HINT_KEY.encode(), group.encode() + b"\0" + body, "sha256")[:MAC_BYTES]
