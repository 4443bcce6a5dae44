"""Every path of the server. What is not here is 404, in JSON."""

from django.urls import path, re_path

from chatproject import errors
from chatproject.api import api

urlpatterns = [
    path("api/", api.urls),
    re_path(r"", errors.not_found),
]

handler400 = "chatproject.errors.bad_request"
handler404 = "chatproject.errors.not_found"
handler500 = "chatproject.errors.server_error"
