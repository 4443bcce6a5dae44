"""Middleware of our own. All of it works both ways: one that could not run on the event loop would turn the whole chain into thread hops."""

from collections.abc import Callable
from typing import Any

from asgiref.sync import iscoroutinefunction
from django.http import HttpRequest, HttpResponseBase, JsonResponse
from django.utils.decorators import sync_and_async_middleware

from chatproject.errors import as_refusal

LIVE_PATHS = ("/health", "/health/live")
CALLS = "/api/v1/"

Handler = Callable[[HttpRequest], Any]


def _alive(request: HttpRequest) -> HttpResponseBase | None:
    if request.path_info in LIVE_PATHS and request.method in ("GET", "HEAD"):
        return JsonResponse({"status": "ok"}, headers={"Cache-Control": "no-store"})
    return None


@sync_and_async_middleware
def liveness(get_response: Handler) -> Handler:
    """Answer /health before anything else does any work: it says that this process answers, and nothing more."""
    if iscoroutinefunction(get_response):

        async def async_liveness(request: HttpRequest) -> HttpResponseBase:
            alive: HttpResponseBase | None = _alive(request)
            return alive if alive is not None else await get_response(request)

        return async_liveness

    def sync_liveness(request: HttpRequest) -> HttpResponseBase:
        alive = _alive(request)
        return alive if alive is not None else get_response(request)

    return sync_liveness


@sync_and_async_middleware
def answers(get_response: Handler) -> Handler:
    """Give refusals that were not written by the error table its body, and let nobody keep what the API answered."""
    if iscoroutinefunction(get_response):

        async def async_answers(request: HttpRequest) -> HttpResponseBase:
            return _finished(request, await get_response(request))

        return async_answers

    def sync_answers(request: HttpRequest) -> HttpResponseBase:
        return _finished(request, get_response(request))

    return sync_answers


def _finished(request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
    answer = as_refusal(response)
    if request.path_info.startswith(CALLS):
        answer.headers.setdefault("Cache-Control", "no-store")
    return answer
