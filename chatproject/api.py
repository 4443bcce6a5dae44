"""The one HTTP API: every app's router under /api/v1, one error table, the documentation beside them."""

from typing import Any

from ninja import NinjaAPI

from accounts.api import router as accounts
from accounts.people_api import router as people
from chatproject import errors, openapi
from conversations.api import router as conversations
from devices.api import router as devices
from devices.bearer import bearer
from devices.link_api import router as linking
from devices.pin_api import router as pins
from messaging.api import router as messaging

PREFIX = "/v1"


class Api(NinjaAPI):
    """Ninja's, whose description tells of refusals too."""

    def get_openapi_schema(self, **kwargs: Any) -> Any:
        return openapi.complete(super().get_openapi_schema(**kwargs))


api = Api(
    title="Waypost",
    version="1",
    description=openapi.description(),
    urls_namespace="api",
    auth=bearer,
    docs_url="/docs",
    openapi_url="/openapi.json",
)
errors.install(api)
api.add_router(PREFIX, accounts)
api.add_router(PREFIX, pins)
api.add_router(PREFIX, people)
api.add_router(PREFIX, linking)
api.add_router(PREFIX, devices)
api.add_router(PREFIX, conversations)
api.add_router(PREFIX, messaging)
