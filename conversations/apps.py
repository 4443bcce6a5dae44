"""The conversations app: who talks with whom, and in what order."""

from django.apps import AppConfig


class ConversationsConfig(AppConfig):
    name = "conversations"

    def ready(self) -> None:
        from conversations import blocks  # noqa: PLC0415  (models are there only now)
        from conversations.acquaintances import share_a_conversation  # noqa: PLC0415
        from devices import acquaintances  # noqa: PLC0415

        blocks.connect()
        acquaintances.ask_with(share_a_conversation)
