"""The message store of this installation."""

import asyncio
from weakref import WeakKeyDictionary

from django.conf import settings

from messaging.store.protocol import MessageStore

_stores: WeakKeyDictionary[asyncio.AbstractEventLoop, MessageStore] = WeakKeyDictionary()


def message_store() -> MessageStore:
    """The store the settings name, one for each event loop. The caller opens it once; `close_message_store` closes it."""
    loop = asyncio.get_running_loop()
    if loop not in _stores:
        _stores[loop] = _configured()
    return _stores[loop]


def local_dc() -> str:
    """The data centre whose quorum counts for this process; nothing where messages are kept in PostgreSQL."""
    if settings.MESSAGES_ENGINE == "postgresql":
        return ""
    from messaging.store.profiles import cluster_config  # noqa: PLC0415

    return str(cluster_config(settings.DATABASES["messages"])["dc"])


async def close_message_store() -> None:
    """Close the running loop's store, if there is one. The loop may ask for another afterwards."""
    store = _stores.pop(asyncio.get_running_loop(), None)
    if store is not None:
        await store.close()


def _configured() -> MessageStore:
    # Only the driver that is used is imported.
    if settings.MESSAGES_ENGINE == "postgresql":
        from accounts.postgresql import conninfo  # noqa: PLC0415
        from messaging.store.sql import SqlStore  # noqa: PLC0415

        return SqlStore(conninfo("messages"))
    from messaging.store.cassandra import CassandraStore  # noqa: PLC0415
    from messaging.store.profiles import cluster_config  # noqa: PLC0415

    return CassandraStore(cluster_config(settings.DATABASES["messages"]))
