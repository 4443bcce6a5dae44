"""Messages to the SMS gateway, which may be slow, silent or broken: nobody waits for it for long, and it is left alone while it is.

A gateway is asked in a thread of its own, because some of them cannot be told how long to take. Few are at work at a time; one that failed several
times running rests for a moment, so that strangers cannot have it called without end for what they are not charged. A message that it refuses is no
failure of the gateway: with a handful of numbers that are none, strangers would have it rest for everybody.
"""

import functools
import logging
import threading
import time
from concurrent.futures import Future

from django.conf import settings

from accounts import sms
from accounts.counts import count
from accounts.sms import CodeMessage, SmsGateway, SmsRefused, SmsUnavailable

logger = logging.getLogger(__name__)

# Less than a request may take in all, with room for what it does before and afterwards.
PATIENCE_SECONDS = 3.0
AT_ONCE = 16
FAILURES = 5
REST_SECONDS = 5.0


class SmsLate(SmsUnavailable):
    """The gateway has not answered in time: the message may be on its way all the same."""


def deliver(message: CodeMessage) -> None:
    """Return when the gateway has taken the message. Raises SmsUnavailable, after PATIENCE_SECONDS at the latest; then it is SmsLate.

    SmsRefused: the gateway works, and was asked to no purpose.
    """
    _line(settings.SMS_URL).send(message)


class _Line:
    """The way to one gateway."""

    def __init__(self, gateway: SmsGateway) -> None:
        self._gateway = gateway
        self._places = threading.BoundedSemaphore(AT_ONCE)
        self._failures = 0
        self._rests_until = 0.0

    def send(self, message: CodeMessage) -> None:
        if time.monotonic() < self._rests_until:
            raise self._counted("resting")
        if not self._places.acquire(blocking=False):
            raise self._counted("busy")
        outcome: Future[None] = Future()
        # A daemon: the process need not wait for a gateway when it ends.
        threading.Thread(target=self._work, args=[message, outcome], daemon=True).start()
        try:
            outcome.result(PATIENCE_SECONDS)
        except TimeoutError:
            self._failed()
            raise self._counted("late", SmsLate()) from None
        except SmsRefused as refusal:
            raise self._counted("refused", refusal) from None
        except SmsUnavailable as failure:
            self._failed()
            raise self._counted("failed", failure) from None
        self._worked()

    def _work(self, message: CodeMessage, outcome: "Future[None]") -> None:
        try:
            self._gateway.send(message)
        except SmsUnavailable as failure:
            outcome.set_exception(failure)
        except Exception as failure:  # noqa: BLE001  (whatever a gateway's library raises: the message did not leave)
            logger.error("the SMS gateway has failed: %s", type(failure).__name__)
            outcome.set_exception(SmsUnavailable())
        else:
            outcome.set_result(None)
        finally:
            self._places.release()

    def _counted(self, reason: str, failure: SmsUnavailable | None = None) -> SmsUnavailable:
        count("sms_failures", reason)
        return failure or SmsUnavailable()

    def _failed(self) -> None:
        self._failures += 1
        if self._failures >= FAILURES:
            self._rests_until = time.monotonic() + REST_SECONDS
        if self._failures == FAILURES:
            logger.warning("the SMS gateway does not take messages; it is asked again every %d s", REST_SECONDS)

    def _worked(self) -> None:
        if self._failures >= FAILURES:
            logger.info("the SMS gateway takes messages again")
        self._failures = 0


@functools.cache
def _line(_url: str) -> _Line:
    return _Line(sms.gateway())
