"""Every path of the server. What is not here is 404, in JSON."""

from django.contrib import admin
from django.templatetags.static import static
from django.urls import path, re_path
from django.views.generic import RedirectView

from chatproject import asyncapi, errors, health, metrics, pages
from chatproject.api import api

urlpatterns = [
    path("", pages.home, name="home"),
    path("health/ready", health.ready, name="ready"),
    path("health/databases", health.databases, name="databases"),
    path("metrics", metrics.view, name="metrics"),
    path("favicon.ico", RedirectView.as_view(url=static("chatproject/waypost.svg"))),
    path("admin", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/", admin.site.urls),
    path("api/asyncapi.yaml", asyncapi.view, name="asyncapi"),
    path("api/", api.urls),
    re_path(r"", errors.not_found),
]

handler400 = "chatproject.errors.bad_request"
handler404 = "chatproject.errors.not_found"
handler500 = "chatproject.errors.server_error"
