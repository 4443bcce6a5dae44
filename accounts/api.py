"""HTTP: a person's profile, and finding other people.

How an app adds its calls: it makes a `Router` in its own `api.py`, with paths relative to /api/v1 and without a trailing slash, and
`chatproject/api.py` adds that router. Every operation wants a token unless it says `auth=None`. Bodies are declared with
`Annotated[Schema, JsonBody()]` (see `accounts.wire.requests`), refusals are raised (`accounts.wire.refusals`).
"""

from ninja import Router

router = Router(tags=["People"])
