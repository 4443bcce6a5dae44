"""The project as an app: what concerns all databases at once."""

from django.apps import AppConfig, apps
from django.core import checks
from django.db.backends.signals import connection_created
from django.db.models.signals import post_migrate


class ChatprojectConfig(AppConfig):
    name = "chatproject"
    default = True

    def ready(self) -> None:
        # Settings name the router, and models are not there before.
        from chatproject import routers  # noqa: PLC0415
        from chatproject.web_admin.roles import make_roles  # noqa: PLC0415

        connection_created.connect(routers.guard, dispatch_uid="chatproject.routers.guard")
        checks.register(routers.no_relation_across)
        # The app after the last one whose permissions a role has: by then they are there.
        post_migrate.connect(
            make_roles, sender=apps.get_app_config("conversations"), dispatch_uid="chatproject.web_admin.roles"
        )
