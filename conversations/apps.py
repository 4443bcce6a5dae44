"""The conversations app: who talks with whom, and in what order."""

from django.apps import AppConfig


class ConversationsConfig(AppConfig):
    name = "conversations"
