"""The ASGI application: HTTP by Django, `/ws` by Channels, and the running parts of the process between start-up and shutdown."""

import asyncio
import os
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "chatproject.settings")
# Whatever loads this serves: its connections are pooled, and have the limits of serving processes.
os.environ.setdefault("POOL_CONNECTIONS", "true")

from django.core.asgi import get_asgi_application

django_application = get_asgi_application()

from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402  (models are there only now)
from django.core.exceptions import ImproperlyConfigured  # noqa: E402
from django.urls import path  # noqa: E402

from accounts.checks import require_well_configured, warn_of_codes_for_nobody  # noqa: E402
from chatproject import metrics  # noqa: E402
from chatproject.bodies import limited_bodies  # noqa: E402
from chatproject.punctual import in_time  # noqa: E402
from messaging import runtime  # noqa: E402
from messaging.consumers import DeviceConsumer  # noqa: E402
from messaging.heart import Misplaced  # noqa: E402

router = ProtocolTypeRouter(
    {
        "http": in_time(limited_bodies(django_application)),
        "websocket": URLRouter([path("ws", DeviceConsumer.as_asgi())]),
    }
)


class Application:
    """One request or socket, or the process's life from start-up to shutdown."""

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await live(receive, send)
        else:
            await router(scope, receive, send)

    async def farewell(self) -> None:
        """Called by `serve` when nobody new is let in any more, and before connections are closed."""
        await runtime.farewell()


application = Application()


async def live(receive: Any, send: Any) -> None:
    """Start the running parts when the server starts; stop them when it stops, so that nothing committed is left half-way."""
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            try:
                await asyncio.to_thread(require_well_configured)
                warn_of_codes_for_nobody()
                await runtime.running()
            except ImproperlyConfigured as failure:
                await send({"type": "lifespan.startup.failed", "message": str(failure)})
                return
            except Misplaced:
                # The guard has logged why.
                await send({"type": "lifespan.startup.failed", "message": "Nothing is served."})
                return
            telling = asyncio.create_task(metrics.write_for_ever())
            await send({"type": "lifespan.startup.complete"})
        else:
            telling.cancel()
            await asyncio.gather(telling, return_exceptions=True)
            await runtime.stop()
            await send({"type": "lifespan.shutdown.complete"})
            return
