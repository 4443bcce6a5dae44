"""A socket listens for hints only after its first drain, and does not look again when it does."""

from messaging.consumers import DeviceConsumer
from messaging.frames import QueueEmptyFrame
from tests.faults.broken.surgery import rewrite


def drained(consumer: DeviceConsumer) -> None:
    consumer._put(QueueEmptyFrame())
    if consumer._listening is not None:
        consumer._listening.start()


def do_not_look() -> None:
    """Of what came before the subscription, nobody hears."""


def install() -> None:
    rewrite(
        DeviceConsumer,
        "_begin",
        ("partial(self._put, frames.QueueEmptyFrame())", "partial(drained, self)"),
        ("self._delivery.subscribed)", "do_not_look)"),
        ("self._listening.start()", "pass"),
        drained=drained,
        do_not_look=do_not_look,
    )
