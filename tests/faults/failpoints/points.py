"""The points at which a worker may die, stand still, be late or see its store time out, and how they are put into the running product."""

from collections.abc import Awaitable, Callable, Sequence
from functools import wraps
from typing import Any

import msgspec
import psycopg

from tests.faults.failpoints.control import Failpoints
from tests.faults.failpoints.seams import wrap

# point -> what has happened there, and what has not
POINTS = {
    "parsed": "a send is parsed, nothing is looked up",
    "looked_up": "audience and idempotency keys are read under the lock, nothing is written",
    "before_commit": "everything is written under the lock, nothing is committed",
    "committed": "committed, nobody is answered and nothing is deposited",
    "half_deposited": "half of the recipients have their mailbox rows",
    "deposited": "everything is deposited, nobody is told",
    "before_done": "answered, deposited and told, but the outbox still has it",
    "before_ack": "a device has acknowledged, the ack is not written",
    "after_ack": "the ack is written, the sender is not told",
    "code_verified": "a code is exchanged for a token, nobody is answered",
    "refreshed": "tokens are rotated, nobody is answered",
    "prekeys_taken": "prekeys are out of their pools, nobody is answered",
    "registered": "a device is registered, nobody is answered",
    "link_approved": "a device is let in by another one, nobody is answered",
    "unlinked": "a device is unlinked, nobody is answered",
    "membership_changed": "a change of members is committed, nobody is told or answered",
}
Failure = Callable[[], Exception]


def install(failpoints: Failpoints) -> None:
    """Put every point into the loaded product. SeamGone when it has changed."""
    _sends(failpoints)
    _deposits(failpoints)
    _requests(failpoints)


def _sends(failpoints: Failpoints) -> None:
    from accounts.wire.refusals import StorageUnavailable  # noqa: PLC0415  (only once Django is set up, here and below)
    from conversations import log  # noqa: PLC0415
    from messaging import frames  # noqa: PLC0415

    wrap(frames, "to_send", "frame sender", _after(failpoints, "parsed", StorageUnavailable))
    wrap(log, "_read", "conn sends waiting", _after_async(failpoints, "looked_up", _lost))
    wrap(log, "write", "conn made heads", _around_commit(failpoints))


def _lost() -> Exception:
    """A connection that broke: before the COMMIT nothing happened, after it nobody knows."""
    return psycopg.OperationalError("the connection is gone")


def _around_commit(failpoints: Failpoints) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    from conversations.planning import Plan  # noqa: PLC0415

    def wrapper(write: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(write)
        async def watched(conn: Any, made: Any, heads: Any) -> None:
            # Changes of members have a point of their own.
            if type(made) is not Plan:
                await write(conn, made, heads)
                return
            if failpoints.is_armed("before_commit"):
                between = _BeforeCommit(conn, failpoints)
                await write(between, made, heads)
                assert between.has_committed, "log.write does not end with COMMIT any more"
            else:
                await write(conn, made, heads)
            await failpoints.reach_async("committed", _lost)

        return watched

    return wrapper


class _BeforeCommit:
    """A connection that stops before its COMMIT, once all that was sent before it is done."""

    def __init__(self, conn: Any, failpoints: Failpoints) -> None:
        self._conn = conn
        self._failpoints = failpoints
        self.has_committed = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._conn, name)

    async def execute(self, query: Any, *arguments: Any, **options: Any) -> Any:
        if query == "COMMIT":
            # A nested pipeline ends with a round trip.
            async with self._conn.pipeline():
                pass
            self.has_committed = True
            await self._failpoints.reach_async("before_commit", _lost)
        return await self._conn.execute(query, *arguments, **options)


def _deposits(failpoints: Failpoints) -> None:
    from accounts.wire.refusals import StorageUnavailable  # noqa: PLC0415
    from conversations import outbox  # noqa: PLC0415

    store, failure = _store_class()
    wrap(store, "deposit", "self entries", _half_way(failpoints, failure))
    wrap(store, "acknowledge", "self acks", _before_async(failpoints, "before_ack", failure))
    wrap(store, "acknowledge", "self acks", _after_async(failpoints, "after_ack", failure))
    wrap(outbox, "done", "entries", _before_async(failpoints, "before_done", StorageUnavailable))


def _store_class() -> tuple[type, Failure]:
    """The store this process uses, and what it raises when it does not answer in time."""
    from django.conf import settings  # noqa: PLC0415

    from messaging.store.protocol import StoreUnavailable  # noqa: PLC0415

    if settings.MESSAGES_ENGINE == "postgresql":
        from messaging.store.sql import SqlStore  # noqa: PLC0415

        return SqlStore, StoreUnavailable
    from messaging.store.cassandra import CassandraStore  # noqa: PLC0415

    return CassandraStore, StoreUnavailable


def _half_way(failpoints: Failpoints, failure: Failure) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def wrapper(deposit: Callable[..., Awaitable[None]]) -> Callable[..., Any]:
        @wraps(deposit)
        async def watched(self: Any, entries: Sequence[Any]) -> None:
            if failpoints.is_armed("half_deposited"):
                await deposit(self, [_with_half(entry) for entry in entries])
                await failpoints.reach_async("half_deposited", failure)
            await deposit(self, entries)
            await failpoints.reach_async("deposited", failure)

        return watched

    return wrapper


def _with_half(entry: Any) -> Any:
    return msgspec.structs.replace(entry, recipients=entry.recipients[: (len(entry.recipients) + 1) // 2])


def _requests(failpoints: Failpoints) -> None:
    from accounts import otp  # noqa: PLC0415
    from accounts.wire.refusals import StorageUnavailable  # noqa: PLC0415
    from conversations import changes  # noqa: PLC0415
    from devices import bundles, linking, registration, tokens, unlinking  # noqa: PLC0415

    wrap(otp, "verify_code", "session_id code", _after(failpoints, "code_verified", StorageUnavailable))
    wrap(tokens, "refresh", "refresh_token", _after(failpoints, "refreshed", StorageUnavailable))
    wrap(bundles, "_hand_out", "caller devices", _after(failpoints, "prekeys_taken", StorageUnavailable))
    wrap(
        registration,
        "register",
        "registration_token new pin unlink_device_id",
        _after(failpoints, "registered", StorageUnavailable),
    )
    wrap(linking, "approve", "caller link_id signature", _after(failpoints, "link_approved", StorageUnavailable))
    wrap(unlinking, "unlink", "caller device_id pin", _after(failpoints, "unlinked", StorageUnavailable))
    wrap(changes, "announce", "entries", _before(failpoints, "membership_changed", StorageUnavailable))


def _after(failpoints: Failpoints, point: str, failure: Failure) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def wrapper(function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def watched(*arguments: Any, **options: Any) -> Any:
            result = function(*arguments, **options)
            failpoints.reach(point, failure)
            return result

        return watched

    return wrapper


def _before(failpoints: Failpoints, point: str, failure: Failure) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def wrapper(function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def watched(*arguments: Any, **options: Any) -> Any:
            failpoints.reach(point, failure)
            return function(*arguments, **options)

        return watched

    return wrapper


def _after_async(
    failpoints: Failpoints, point: str, failure: Failure
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def wrapper(function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        async def watched(*arguments: Any, **options: Any) -> Any:
            result = await function(*arguments, **options)
            await failpoints.reach_async(point, failure)
            return result

        return watched

    return wrapper


def _before_async(
    failpoints: Failpoints, point: str, failure: Failure
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def wrapper(function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        async def watched(*arguments: Any, **options: Any) -> Any:
            await failpoints.reach_async(point, failure)
            return await function(*arguments, **options)

        return watched

    return wrapper
