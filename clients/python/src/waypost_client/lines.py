"""What happened, as one line for a person to read."""

import math
from collections.abc import Mapping
from datetime import datetime

from .events import (
    Connected,
    ConnectionLost,
    Degraded,
    DeviceAdded,
    DevicesChanged,
    Event,
    IdentityChanged,
    Message,
    Missing,
    Receipt,
    SendFailed,
    SystemEvent,
    Unreadable,
)
from .values import Conversation, Device, KeyCount, User

HAPPENED = {
    "conversation_created": "{actor} created the conversation",
    "member_added": "{actor} added {user}",
    "member_removed": "{actor} removed {user}",
    "member_left": "{user} left",
    "role_changed": "{actor} made {user} {role}",
    "renamed": "{actor} named the conversation {name}",
    "updated": "{actor} changed the conversation",
    "conversation_archived": "the conversation was archived",
    "device_linked": "{user}: a new device",
    "device_unlinked": "{user}: a device was unlinked",
    "gap": "messages {from_seq} to {to_seq} were not kept for this device",
    "unavailable": "a message is not available any more",
}


def duration(seconds: float) -> str:
    """How long to wait, in a unit a person counts in; never less than it is."""
    if seconds <= 120:
        return f"{seconds:g} s"
    minutes = math.ceil(seconds / 60)
    return f"{minutes} min" if minutes <= 120 else f"{math.ceil(minutes / 60)} h"


def clock(moment: datetime | None) -> str:
    """The local time of day."""
    return (moment or datetime.now().astimezone()).astimezone().strftime("[%H:%M:%S]")


def message(event: Message, sender: str, place: str | None) -> str:
    where = f" ({place})" if place else ""
    late = " [late]" if event.late else ""
    return f"{clock(event.sent_at)} {sender}{where}: {event.text}{late}"


def system(event: SystemEvent, names: Mapping[str, str], place: str | None) -> str:
    """`names` gives what to call the people of the event, by user_id."""
    facts = {name: str(value) for name, value in event.details.items()}
    facts |= {
        "actor": names.get(event.actor_user_id or "", "somebody"),
        "user": names.get(event.user_id or "", "somebody"),
    }
    happened = HAPPENED.get(event.event, event.event.replace("_", " ")).format_map(_Facts(facts))
    return f"{clock(event.sent_at)} * {happened}" + (f" ({place})" if place else "")


def prekeys(left: KeyCount) -> str:
    return f"{left.count} one-time prekeys are left at the server."


def notice(event: Event, name: str) -> str | None:
    """Anything but messages and changes of a conversation; None for what a person need not see."""
    match event:
        case Unreadable():
            return f"{clock(event.sent_at)} ! A message from {name} cannot be read: {event.reason}."
        case Missing():
            return f"{clock(None)} ! Messages {event.from_seq} to {event.to_seq} are not available any more."
        case IdentityChanged():
            return f"{clock(None)} ! {name} has a new identity key; compare fingerprints: {event.new_fingerprint}"
        case DeviceAdded():
            vouched = "a known device signed for it" if event.vouched else "no known device signed for it"
            has = "have" if name == "You" else "has"
            return f"{clock(None)} ! {name} {has} a new device ({vouched}): {event.fingerprint}"
        case SendFailed():
            return f"{clock(None)} ! Not sent: {event.error}"
        case _:
            return _warning(event)


def _warning(event: Event) -> str | None:
    """What one's own devices are told when somebody tries to be oneself."""
    match event:
        case DevicesChanged(reason="registration_attempt"):
            return f"{clock(None)} ! Somebody proved your phone number, did not know your PIN, and was not let in."
        case DevicesChanged(reason="token_reuse"):
            return f"{clock(None)} ! Your device {event.device_id} was signed out: somebody else had its tokens."
        case _:
            return None


def status(event: Event) -> str | None:
    """How the connection is."""
    match event:
        case Connected():
            return "Connected."
        case ConnectionLost():
            return f"Connection lost; trying again in {event.retry_in:g} s."
        case Degraded(stores=()):
            return "The server is well again."
        case Degraded():
            return f"The server reports trouble with: {', '.join(event.stores)}."
        case _:
            return None


def receipt(event: Receipt, name: str) -> str:
    happened = "read by" if event.read_at else "delivered to"
    return f"{clock(event.read_at or event.delivered_at)} . message {event.seq} {happened} {name}"


def conversation(listed: Conversation) -> str:
    unread = f"  {listed.unread_count} unread" if listed.unread_count else ""
    return f"{listed.conversation_id}  {listed.title}  {listed.kind}{unread}"


def device(listed: Device) -> str:
    marks = [mark for mark, holds in (("primary", listed.is_primary), ("this device", listed.is_current)) if holds]
    marks += [f"let in by {listed.linked_by.device_id}"] if listed.linked_by else []
    marks += [f"seen {listed.last_seen_at[:10]}"] if listed.last_seen_at else []
    return f"{listed.device_id}  {listed.name}  {listed.platform}" + (f"  {', '.join(marks)}" if marks else "")


def user(person: User) -> str:
    return f"{person.name} (@{person.username})" if person.username and person.username != person.name else person.name


class _Facts(dict[str, str]):
    def __missing__(self, name: str) -> str:
        return name
