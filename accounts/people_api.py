"""HTTP: one's settings, and how one stands to others."""

from typing import Annotated
from uuid import UUID

from django.conf import settings
from ninja import Query, Router

from accounts import preferences, relationships
from accounts.api import UserRequest
from accounts.limits import Limit, WithoutRedis, spend
from accounts.people_schemas import (
    NotificationChanges,
    NotificationsOut,
    RelationshipOut,
    RelationshipQuery,
    SettingOut,
    SettingValue,
    Standing,
    show_relationship,
    show_setting,
)
from accounts.preferences import PUSH_ENABLED, PUSH_PREVIEWS, QUIET_HOURS
from accounts.relationships import State
from accounts.wire import paging
from accounts.wire.paging import Page
from accounts.wire.requests import JsonBody, Nothing
from accounts.wire.scalars import Uuid

router = Router(tags=["People"])

CHANGES = Limit("RELATIONSHIPS_PER_HOUR", 3600, WithoutRedis.COUNT_HERE)


@router.get("/settings/{key}", response=SettingOut)
def get_setting(request: UserRequest, key: str) -> SettingOut:
    """One setting of the caller: what was put there, or the default of a known key."""
    return show_setting(preferences.access(request.auth.user_id, key))


@router.put("/settings/{key}", response=SettingOut)
def put_setting(request: UserRequest, key: str, body: Annotated[SettingValue, JsonBody()]) -> SettingOut:
    """Keep any JSON value under a key; null puts the default back, or removes. Known keys take only what they know."""
    return show_setting(preferences.change(request.auth.user_id, {key: body.value}, field="value")[key])


@router.get("/notifications/preferences", response=NotificationsOut)
def get_notification_preferences(request: UserRequest) -> NotificationsOut:
    """The settings that concern push, and the key a browser subscribes with."""
    return _notifications(request.auth.user_id)


@router.put("/notifications/preferences", response=NotificationsOut)
def put_notification_preferences(
    request: UserRequest, body: Annotated[NotificationChanges, JsonBody()]
) -> NotificationsOut:
    """Change some of them, all or none; what is left out stays."""
    preferences.change(request.auth.user_id, body.model_dump(exclude_unset=True))
    return _notifications(request.auth.user_id)


@router.get("/relationships", response=Page[RelationshipOut], exclude_none=True)
def list_relationships(request: UserRequest, query: Query[RelationshipQuery]) -> Page[RelationshipOut]:
    """Friends, requests and blocks of the caller; with `state` those alone. Who blocks the caller is not told."""
    after = paging.position_of(query, "relationships")
    seen = relationships.listed(
        request.auth.user_id,
        state=None if query.state is None else State(query.state),
        after=None if after is None else UUID(after),
        most=query.limit + 1,
    )
    return paging.page(
        seen, query, "relationships", show=show_relationship, position=lambda relationship: str(relationship.user_id)
    )


@router.get("/relationships/{user_id}", response=RelationshipOut, exclude_none=True)
def get_relationship(request: UserRequest, user_id: Uuid) -> RelationshipOut:
    """How the caller stands to somebody; "none" too."""
    return show_relationship(relationships.access(request.auth.user_id, user_id))


@router.put("/relationships/{user_id}", response=RelationshipOut, exclude_none=True)
def put_relationship(request: UserRequest, user_id: Uuid, body: Annotated[Standing, JsonBody()]) -> RelationshipOut:
    """Ask for friendship, or accept it; or block. A block ends the friendship, and the other is not told."""
    change = relationships.befriend if body.state == "friends" else relationships.block
    spend(CHANGES, str(request.auth.user_id))
    return show_relationship(change(request.auth.user_id, user_id))


@router.delete("/relationships/{user_id}", response={204: None})
def delete_relationship(request: UserRequest, user_id: Uuid, body: Annotated[Nothing, JsonBody()]) -> None:
    """Unfriend, withdraw, decline, unblock; nothing, where there is nothing."""
    relationships.end(request.auth.user_id, user_id)


def _notifications(user_id: UUID) -> NotificationsOut:
    names = (PUSH_ENABLED, PUSH_PREVIEWS, QUIET_HOURS)
    mine = {name: preferences.read(user_id, name) for name in names}
    return NotificationsOut(**mine, webpush_public_key=settings.WEBPUSH_PUBLIC_KEY or None)
