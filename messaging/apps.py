"""The messaging app: ciphertext on its way."""

from django.apps import AppConfig


class MessagingConfig(AppConfig):
    name = "messaging"
