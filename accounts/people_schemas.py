"""Settings and relationships on the wire."""

from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from accounts.preferences import Setting
from accounts.relationships import Seen
from accounts.wire.paging import ListQuery
from accounts.wire.requests import Changes, Fields
from accounts.wire.scalars import TimeOut, UuidOut


class SettingValue(Fields):
    """What is put under a key."""

    nullable: ClassVar[frozenset[str]] = frozenset({"value"})

    value: Any = Field(description="Any JSON value of at most 8 KiB; null: the default again, or nothing.")


class SettingOut(BaseModel):
    """One setting. Without `updated_at` it is the default."""

    key: str
    value: Any
    updated_at: TimeOut | None = None


class QuietHours(BaseModel):
    """No push from `start` to `end`, on the clock of that time zone."""

    start: str
    end: str
    timezone: str


class NotificationChanges(Changes):
    """What is left out stays; null puts the default back."""

    push_enabled: bool | None = None
    push_previews: bool | None = None
    quiet_hours: dict[str, Any] | None = None


class NotificationsOut(BaseModel):
    """What holds for push to the caller's devices."""

    push_enabled: bool
    push_previews: bool
    quiet_hours: QuietHours | None = None
    webpush_public_key: str | None = Field(default=None, description="null: the server does no web push.")


class RelationshipQuery(ListQuery):
    """The list, or those in one state alone."""

    model_config = ConfigDict(frozen=True)

    state: Literal["requested", "incoming", "friends", "blocked"] | None = None


class RelationshipOut(BaseModel):
    """How the caller stands to somebody."""

    user_id: UuidOut
    state: Literal["none", "requested", "incoming", "friends", "blocked"]
    updated_at: TimeOut | None = None


class Standing(Fields):
    """How the caller wants to stand to somebody."""

    state: Literal["friends", "blocked"]


def show_setting(setting: Setting) -> SettingOut:
    """The setting as it is."""
    return SettingOut(key=setting.key, value=setting.value, updated_at=setting.updated_at)


def show_relationship(seen: Seen) -> RelationshipOut:
    """The relationship as its first side sees it."""
    return RelationshipOut(user_id=seen.user_id, state=seen.state.value, updated_at=seen.updated_at)
