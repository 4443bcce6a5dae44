"""How a group is called and shown."""

from collections.abc import Mapping
from functools import partial
from typing import Any
from uuid import UUID

import msgspec

from conversations import changes
from conversations.changes import Decision, Scene
from conversations.membership import require_admin
from conversations.sends import Sender


async def describe(actor: Sender, conversation_id: UUID, wanted: Mapping[str, Any]) -> None:
    """Change `name`, `avatar` and `metadata`, whichever are given; None clears. What is so already is no event. Raises NotFound, Forbidden."""
    await changes.change(actor, conversation_id, Decision(require_admin, partial(_describe, wanted)))


def _describe(wanted: Mapping[str, Any], scene: Scene) -> None:
    asked = dict(wanted)
    if "name" in asked:
        asked["name"] = asked["name"] or ""
    changed = {field: value for field, value in asked.items() if value != getattr(scene.description, field)}
    if not changed:
        return
    scene.begin()
    scene.made.description = msgspec.structs.replace(scene.description, **changed)
    if "name" in changed:
        scene.say("renamed", name=changed.pop("name") or None)
    if changed:
        scene.say(
            "updated", **{field: str(value) if isinstance(value, UUID) else value for field, value in changed.items()}
        )
