"""Makes the pairs of users, with a device each, and prints them. Runs in the environment of the installation that is loaded."""

import os
import secrets
import sys
import uuid

import django
import msgspec

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "chatproject.settings")
django.setup()

# Models can be imported only now.
from django.db import transaction  # noqa: E402

from accounts.models import User  # noqa: E402
from accounts.positions import XID_BITS  # noqa: E402
from benchmarks.events import Pair, Party  # noqa: E402
from conversations.models import Conversation, Member  # noqa: E402
from devices import tokens  # noqa: E402
from devices.models import Device  # noqa: E402


def pair() -> Pair:
    """Two new users in a direct conversation."""
    with transaction.atomic():
        (sender, sending), (recipient, receiving) = person(), person()
        low, high = sorted([sender.pk, recipient.pk])
        conversation = Conversation.objects.create(
            kind=Conversation.Kind.DIRECT, direct_low=low, direct_high=high, last_position=1 << XID_BITS
        )
        for user in (sender, recipient):
            Member.objects.create(conversation=conversation, user=user, joined_seq=1)
    return Pair(str(conversation.pk), sending, receiving)


def person() -> tuple[User, Party]:
    """A new user and the device of it."""
    user = User.objects.create_user(f"+99{secrets.randbelow(10**12):012d}")
    registration_id = 1 + secrets.randbelow(16_383)
    device = Device.objects.create(
        user=user,
        device_number=1,
        device_uuid=uuid.uuid4(),
        name="benchmark",
        platform=Device.Platform.BOT,
        registration_id=registration_id,
        identity_key=b"\x05" + secrets.token_bytes(32),
        is_primary=True,
    )
    return user, Party(str(device.pk), registration_id, tokens.begin(device).access_token)


if __name__ == "__main__":
    sys.stdout.buffer.write(msgspec.json.encode([pair() for _ in range(int(sys.argv[1]))]))
