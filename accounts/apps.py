from django.apps import AppConfig
from django.db.backends.signals import connection_created

from accounts.lineage_guard import refuse_connections


class AccountsConfig(AppConfig):
    name = "accounts"

    def ready(self) -> None:
        connection_created.connect(refuse_connections, dispatch_uid="accounts.lineage")
