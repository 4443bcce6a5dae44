"""The project as an app: what concerns all databases at once."""

from django.apps import AppConfig
from django.core import checks
from django.db.backends.signals import connection_created


class ChatprojectConfig(AppConfig):
    name = "chatproject"
    default = True

    def ready(self) -> None:
        from chatproject import routers  # noqa: PLC0415  (settings name the router, and models are not there before)

        connection_created.connect(routers.guard, dispatch_uid="chatproject.routers.guard")
        checks.register(routers.no_relation_across)
