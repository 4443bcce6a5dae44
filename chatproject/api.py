"""The one HTTP API: every app's router under /api/v1, one error table, the documentation beside them."""

from ninja import NinjaAPI

from accounts.api import router as accounts
from chatproject import errors
from conversations.api import router as conversations
from devices.api import router as devices
from devices.bearer import bearer
from messaging.api import router as messaging

PREFIX = "/v1"

api = NinjaAPI(
    title="Waypost",
    version="1",
    description="End-to-end encrypted, multi-device messaging. Errors are `{error, error_code, …facts}` everywhere.",
    urls_namespace="api",
    auth=bearer,
    docs_url="/docs",
    openapi_url="/openapi.json",
)
errors.install(api)
api.add_router(PREFIX, accounts)
api.add_router(PREFIX, devices)
api.add_router(PREFIX, conversations)
api.add_router(PREFIX, messaging)
