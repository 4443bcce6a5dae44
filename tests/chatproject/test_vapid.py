"""The server's key for web push: made by a command, checked when the server starts."""

import base64
from io import StringIO

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command

from chatproject import vapid
from chatproject.launcher.secret import fresh_secrets


def test_the_command_makes_a_key_and_browsers_can_be_given_its_public_half() -> None:
    made = StringIO()
    call_command("vapid_key", stdout=made)
    point = base64.urlsafe_b64decode(vapid.public_key(made.getvalue().strip()) + "=")
    assert (len(point), point[0]) == (65, 4)
    assert vapid.new_private_key() != vapid.new_private_key()


def test_a_development_installation_has_one_too() -> None:
    assert vapid.public_key(fresh_secrets()["VAPID_PRIVATE_KEY"])


@pytest.mark.parametrize(
    "key", ["", "short", "A" * 43, "not base64 at all, and far too long for a key of 32 bytes", "ÄÖÜ"]
)
def test_what_is_no_key_stops_the_start_with_a_sentence(key: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="vapid_key"):
        vapid.public_key(key)


def test_push_services_are_told_a_host_of_this_server() -> None:
    assert vapid.host_of(["*", ".example.org", "chat.example.org"]) == "example.org"
    assert vapid.host_of(["*"]) == "localhost"
