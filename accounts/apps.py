from django.apps import AppConfig
from django.core import checks
from django.db.backends.signals import connection_created

from accounts.lineage_guard import refuse_connections


class AccountsConfig(AppConfig):
    name = "accounts"

    def ready(self) -> None:
        from accounts import profiles  # noqa: PLC0415  (they need models, which are not there before)
        from accounts.checks import codes_can_be_sent  # noqa: PLC0415

        profiles.connect()
        checks.register(codes_can_be_sent)
        connection_created.connect(refuse_connections, dispatch_uid="accounts.lineage")
