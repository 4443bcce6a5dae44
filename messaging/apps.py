"""The messaging app: ciphertext on its way."""

from django.apps import AppConfig


class MessagingConfig(AppConfig):
    name = "messaging"

    def ready(self) -> None:
        from messaging import receivers  # noqa: PLC0415  (models are not there before)

        receivers.connect()
