"""The page at the root: what runs here."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe


@csrf_exempt
@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """One calm page for somebody who opens the server's address in a browser."""
    scheme = "wss" if request.is_secure() else "ws"
    return render(request, "chatproject/home.html", {"socket_url": f"{scheme}://{request.get_host()}/ws"})
