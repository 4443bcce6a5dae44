"""Committed -> deposited -> woken: devices that have no socket are told that there is something.

Nothing waits for it: it begins when a message is in its store, forgets what is too much, and a wake-up that is lost costs time, never a message. Whoever
has a socket is not woken; but a socket may be dead and a process gone without anybody knowing yet, so a while later it is looked whether the device has
taken its mail, and if not it is woken after all.
"""

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence
from uuid import UUID

from cryptography.fernet import InvalidToken
from django.db import Error

from conversations.entries import MESSAGE, LogEntry
from devices import push_tokens
from devices.push_tokens import Address, Kept
from messaging import hints
from messaging.counts import counts
from messaging.envelopes import Mailbox
from messaging.pauses import about, end_all, is_set_within
from messaging.push.choosing import Wake, choose, claim
from messaging.push.gateway import Gateway, Gone, Knock, Refused, TryAgain
from messaging.push.lanes import Lanes, Turn, pause_after
from messaging.push.mail import left_in
from messaging.push.waiting import Waiting
from messaging.store.protocol import MessageStore

logger = logging.getLogger(__name__)

# A burst of messages is one wake-up, and a device that is just connecting needs none.
DELAY_SECONDS = 1.0
# One device is woken no more often, by all processes together; for calls, see `_claimed`.
APART_SECONDS = 10.0
CALLS_APART_SECONDS = 1.0
# A socket whose client is gone is noticed within 45 s (`serve`), a message that is not acknowledged sooner.
WATCH_SECONDS = 60.0
ROUND_SECONDS = 0.25
IDLE_SECONDS = 5.0
MOST_WAITING = 10_000
MOST_WATCHED = 50_000
BATCH = 500
MOST_FAILURES = 8
MOST_FAILURES_OF_CALLS = 2
LAST_SECONDS = 2.0


class Pusher:
    """Wakes devices, as one process of several that do."""

    def __init__(self, store: MessageStore, gateways: Mapping[str, Gateway]) -> None:
        self._store = store
        self._gateways = gateways
        self._lanes = Lanes()
        self._waiting = Waiting(MOST_WAITING)
        self._watched = Waiting(MOST_WATCHED)
        self._sending: dict[int, asyncio.Task[None]] = {}
        self._news = asyncio.Event()

    # --- what there is to wake for ---------------------------------------------------------------------------------------------

    def deposited(self, entries: Iterable[LogEntry]) -> None:
        """These are in the mailboxes of their recipients. Returns at once, never raises."""
        if not self._gateways:
            return
        now = asyncio.get_running_loop().time()
        for entry in entries:
            if entry.urgent and entry.kind == MESSAGE:
                for recipient in entry.recipients:
                    if recipient.user_id != entry.sender_user_id:
                        self._note(Mailbox(recipient.user_id, recipient.device_id), entry.conversation_id, now)

    def call(self, conversation_id: UUID, mailboxes: Iterable[Mailbox]) -> None:
        """Somebody calls these devices: those without a socket are woken at once. Returns at once, never raises."""
        if not self._gateways:
            return
        for mailbox in mailboxes:
            if not hints.is_listening_here(mailbox.device_id):
                self._wait(Wake(mailbox.user_id, mailbox.device_id, {conversation_id}, is_call=True))

    def _note(self, mailbox: Mailbox, conversation_id: UUID, now: float) -> None:
        is_here = hints.is_listening_here(mailbox.device_id)
        known = (self._watched if is_here else self._waiting).get(mailbox.device_id)
        if known is not None:
            known.also(conversation_id)
            return
        wake = Wake(mailbox.user_id, mailbox.device_id, {conversation_id}, not_before=now + DELAY_SECONDS)
        if is_here:
            self._watch(wake, now)
        else:
            self._wait(wake)

    def _wait(self, wake: Wake) -> None:
        if not self._waiting.put(wake):
            counts.push("dropped")
        counts.pushes_waiting = len(self._waiting)
        self._news.set()

    def _watch(self, wake: Wake, now: float) -> None:
        """It is believed to have a socket: look later whether it took its mail."""
        wake.not_before, wake.needs_mail = now + WATCH_SECONDS, True
        if not self._watched.put(wake):
            counts.push("dropped")

    # --- rounds ----------------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """For ever, if there is anything to wake by. Outlives the outage of every store."""
        while self._gateways:
            await is_set_within(self._news, about(IDLE_SECONDS) if not len(self._waiting) else ROUND_SECONDS)
            self._news.clear()
            try:
                await self._round()
            except Exception as failure:  # noqa: BLE001
                # Something nobody has thought of; its text may name an endpoint. Better no push than never again one.
                logger.error("a round of pushes failed: %s", type(failure).__name__)
            await asyncio.sleep(ROUND_SECONDS)

    async def _round(self) -> None:
        now = asyncio.get_running_loop().time()
        for wake in self._watched.take(now, BATCH):
            # A socket that was open then and is open now has answered pings in between.
            if not hints.is_listening_here(wake.device_id):
                self._waiting.put(wake)
        due = self._waiting.take(now, BATCH) if self._lanes.free else []
        if due:
            try:
                await self._wake(due, now)
            except Error:
                for wake in due:
                    self._put_back(wake, now + pause_after(wake.failures + 1))
        counts.pushes_waiting = len(self._waiting)

    async def _wake(self, due: Sequence[Wake], now: float) -> None:
        chosen = await asyncio.to_thread(choose, due)
        for reason in chosen.withheld.values():
            counts.withhold(reason.value)
        willing = [wake for wake in due if wake.device_id in chosen.kept and wake.device_id not in chosen.withheld]
        ready = [(wake, chosen.kept[wake.device_id]) for wake in await self._unheard(willing, now)]
        begun = [(wake, kept, *begin) for wake, kept in ready if (begin := self._begin(wake, kept, now)) is not None]
        try:
            claimed = await self._claimed([wake for wake, *_ in begun])
        except Error:
            claimed = set()
        for wake, kept, knock, turn in begun:
            if wake.device_id in claimed:
                self._start(wake, kept, knock, turn)
            else:
                self._lanes.end(turn)
                wake.needs_mail = True
                self._put_back(wake, now + about(APART_SECONDS))

    async def _unheard(self, wakes: Sequence[Wake], now: float) -> list[Wake]:
        """Those that have no socket, or have one and did not take their mail."""
        doubtful = [Mailbox(wake.user_id, wake.device_id) for wake in wakes if wake.needs_mail]
        with_mail = await left_in(self._store, doubtful)
        listening = await hints.listening([wake.device_id for wake in wakes if not wake.needs_mail])
        for wake in wakes:
            if wake.device_id in listening and not wake.is_call:
                self._watch(wake, now)
        return [
            wake
            for wake in wakes
            if wake.device_id in with_mail or not (wake.needs_mail or wake.device_id in listening)
        ]

    def _begin(self, wake: Wake, kept: Kept, now: float) -> tuple[Knock, Turn] | None:
        """What to send and the right to do so now; None: later, or never."""
        address = _address(kept)
        gateway = self._gateways.get(address.provider) if address is not None else None
        if address is None or gateway is None:
            counts.withhold("unconfigured")
            return None
        lane = gateway.lane(address)
        moment = self._lanes.not_before(lane, now)
        if wake.device_id in self._sending:
            moment = max(moment, now + DELAY_SECONDS)
        if moment > now:
            self._put_back(wake, moment)
            return None
        return Knock(wake.device_id, address, wake.is_call), self._lanes.begin(lane)

    async def _claimed(self, wakes: Sequence[Wake]) -> set[int]:
        """Those of them that are this process's to wake now. One that has failed is so already."""
        again = {wake.device_id for wake in wakes if wake.failures}
        calls = {wake.device_id for wake in wakes if wake.is_call} - again
        others = {wake.device_id for wake in wakes} - again - calls
        claimed_calls = await asyncio.to_thread(claim, calls, apart_seconds=CALLS_APART_SECONDS)
        return again | claimed_calls | await asyncio.to_thread(claim, others, apart_seconds=APART_SECONDS)

    def _put_back(self, wake: Wake, not_before: float) -> None:
        wake.not_before = not_before
        if not self._waiting.put(wake):
            counts.push("dropped")

    # --- sending ---------------------------------------------------------------------------------------------------------------

    def _start(self, wake: Wake, kept: Kept, knock: Knock, turn: Turn) -> None:
        task = asyncio.get_running_loop().create_task(self._send(wake, kept, knock, turn))
        self._sending[wake.device_id] = task

    async def _send(self, wake: Wake, kept: Kept, knock: Knock, turn: Turn) -> None:
        try:
            counts.push(await self._outcome(wake, kept, knock, turn))
        finally:
            del self._sending[wake.device_id]
            self._lanes.end(turn)
            self._news.set()

    async def _outcome(self, wake: Wake, kept: Kept, knock: Knock, turn: Turn) -> str:
        try:
            await self._gateways[knock.address.provider].wake(knock)
        except Gone:
            await _remove(kept)
            return "gone"
        except Refused:
            # Whoever registers nonsense must not have the service rest for everybody.
            return "refused"
        except TryAgain as failure:
            return self._failed(wake, turn, failure.after_seconds)
        except Exception as failure:  # noqa: BLE001
            # Of a provider's library. Its text may name an endpoint or a token.
            logger.error("a push gateway failed: %s", type(failure).__name__)
            return self._failed(wake, turn, None)
        self._lanes.is_well(turn.lane)
        return "sent"

    def _failed(self, wake: Wake, turn: Turn, advice: float | None) -> str:
        now = asyncio.get_running_loop().time()
        self._lanes.has_failed(turn.lane, now, advice)
        wake.failures += 1
        if wake.failures >= (MOST_FAILURES_OF_CALLS if wake.is_call else MOST_FAILURES):
            return "given_up"
        # It may have come by itself meanwhile.
        wake.needs_mail = not wake.is_call
        self._put_back(wake, now + (pause_after(wake.failures) if advice is None else about(advice)))
        return "retried"

    async def close(self) -> None:
        """Wake whoever waits, as far as that is possible at once; then end."""
        try:
            async with asyncio.timeout(LAST_SECONDS):
                await self._round_of_all()
                while self._sending:
                    await asyncio.wait(self._sending.values())
        except (TimeoutError, Error):
            logger.info("some pushes were not sent before the process ended")
        await end_all(set(self._sending.values()))
        for gateway in set(self._gateways.values()):
            await gateway.close()

    async def _round_of_all(self) -> None:
        fresh = [wake for wake in self._waiting.take(float("inf"), BATCH) if not wake.failures]
        if fresh:
            await self._wake(fresh, asyncio.get_running_loop().time())


def _address(kept: Kept) -> Address | None:
    """None when the key it was encrypted with is gone."""
    try:
        return kept.address()
    except InvalidToken:
        return None


async def _remove(kept: Kept) -> None:
    try:
        await asyncio.to_thread(push_tokens.remove, kept)
    except Error:
        # The next wake-up finds out again.
        logger.info("a push token that is gone could not be removed now")
