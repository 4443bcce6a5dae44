"""The `waypost` command: what it takes, where it keeps things, what it says."""

import asyncio
import json
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest
from waypost_client import advice, cli, console, lines
from waypost_client.codes import from_file
from waypost_client.errors import NoCode, ProfileInUse, Refused, SignedOut, Unreachable, WaypostError
from waypost_client.events import Degraded, IdentityChanged, Message, SystemEvent
from waypost_client.locks import FolderLock
from waypost_client.values import Conversation, Device, User

from tests.clients.people import ALICE, BOB, CONVERSATION

PHONE = "+66812345678"


def test_the_profile_may_be_named_before_or_after_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAYPOST_HOME", str(tmp_path))
    before = cli.parser().parse_args(["--profile", "alice", "listen"])
    after = cli.parser().parse_args(["listen", "--profile", "alice", "--json"])
    assert console.folder(before) == console.folder(after) == tmp_path / "alice"
    assert (before.json, after.json) == (False, True)


def test_the_state_folder_beats_the_profile(tmp_path: Path) -> None:
    options = cli.parser().parse_args(["--profile", "alice", "send", "bob", "hello", "there", "--state", str(tmp_path)])
    assert console.folder(options) == tmp_path
    assert options.text == ["hello", "there"]


@pytest.mark.parametrize(
    "arguments", [[], ["send", "bob"], ["register"], ["shout", "bob"], ["listen", "--count", "many"]]
)
def test_wrong_usage_ends_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.parser().parse_args(arguments)
    assert ended.value.code == 2
    assert "usage: waypost" in capsys.readouterr().err


def test_a_profile_without_a_device_is_told_in_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["conversations", "--state", str(tmp_path / "nobody")]) == 3
    captured = capsys.readouterr()
    assert captured.err == "waypost: This profile holds no device yet: register first.\n"
    assert captured.out == ""
    assert not (tmp_path / "nobody").exists(), "asking makes no profile"


def test_an_unreachable_server_is_told_in_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["register", "--server", "http://127.0.0.1:1", "--phone", PHONE, "--state", str(tmp_path / "alice")]
    assert cli.main(arguments) == 4
    assert capsys.readouterr().err.startswith("waypost: The server at http://127.0.0.1:1 cannot be reached")


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (
            Refused("RATE_LIMITED", "Too many codes.", facts={"retry_after_seconds": 60}),
            "Too many codes. Try again in 60 s.",
        ),
        (
            Refused("RATE_LIMITED", "Too many codes.", facts={"retry_after_seconds": 86_311}),
            "Too many codes. Try again in 24 h.",
        ),
        (
            Refused("STORAGE_UNAVAILABLE", "The code could not be sent.", facts={"retry_after_seconds": 301}),
            "The code could not be sent. Try again in 6 min.",
        ),
        (
            Refused("INVALID_OTP", "The code has expired.", facts={"attempts_remaining": 0}),
            "The code has expired. Register again to be sent another one.",
        ),
        (Refused("REGISTRATION_LOCKED", "A lock is on."), "A lock is on. Give the account's PIN with --pin."),
        (
            Refused(
                "DEVICE_LIMIT", "Six devices are enough.", facts={"devices": [{"device_id": "1001", "name": "phone"}]}
            ),
            "Six devices are enough. Unlink one of them with --unlink: 1001 phone.",
        ),
        (SignedOut(), "The server no longer accepts this device: it was unlinked, signed out, or its account is gone."),
    ],
)
def test_errors_say_what_to_do(error: WaypostError, says: str) -> None:
    assert advice.explain(error) == says


def test_every_error_says_a_sentence() -> None:
    for kind in (ProfileInUse, SignedOut, Unreachable, NoCode):
        assert str(kind()).endswith(".")


async def test_the_code_is_the_first_one_written_after_asking(tmp_path: Path) -> None:
    codes = tmp_path / "codes"
    codes.write_text(_sms(PHONE, "111111"))
    source = from_file(codes, PHONE, patience=5)
    waiting = asyncio.ensure_future(source())
    await asyncio.sleep(0.2)
    assert not waiting.done(), "an older code is not taken"
    with codes.open("a") as file:
        file.write(_sms("+66887654321", "222222") + "no json\n" + _sms(PHONE, "333333") + _sms(PHONE, "444444")[:20])
    assert await waiting == "333333"


async def test_a_code_that_never_comes_ends_the_waiting(tmp_path: Path) -> None:
    with pytest.raises(NoCode):
        await from_file(tmp_path / "codes", PHONE, patience=0.2)()


def test_one_process_speaks_for_a_device(tmp_path: Path) -> None:
    first, second = FolderLock(tmp_path, "device"), FolderLock(tmp_path, "device")
    assert first.take()
    assert not second.take()
    first.release()
    assert second.take()
    second.release()
    assert stat.S_IMODE((tmp_path / "device.lock").stat().st_mode) == 0o600


def test_a_message_is_a_line_with_time_and_name() -> None:
    message = Message(
        conversation_id=CONVERSATION,
        seq=1,
        message_id="7",
        client_message_id=CONVERSATION,
        sender_user_id=BOB,
        sender_device_id="1002",
        text="hello",
        sent_at=datetime(2025, 11, 21, 10, 15, 2, tzinfo=UTC),
    )
    local = message.sent_at.astimezone().strftime("%H:%M:%S")
    assert lines.message(message, "Bob", None) == f"[{local}] Bob: hello"
    assert lines.message(message, "Bob", "Weekend") == f"[{local}] Bob (Weekend): hello"


def test_changes_of_a_conversation_are_lines_too() -> None:
    added = SystemEvent(
        conversation_id=CONVERSATION, seq=2, message_id="8", event="member_added", actor_user_id=ALICE, user_id=BOB
    )
    assert lines.system(added, {ALICE: "Alice", BOB: "Bob"}, "Weekend").endswith("] * Alice added Bob (Weekend)")
    unknown = SystemEvent(conversation_id=CONVERSATION, seq=3, message_id="9", event="something_new")
    assert lines.system(unknown, {}, None).endswith("] * something new")


def test_a_changed_identity_is_a_warning_with_the_new_fingerprint() -> None:
    changed = IdentityChanged(user_id=BOB, device_id="1002", old_fingerprint="3f9a 01c2", new_fingerprint="77ab 0000")
    assert "Bob has a new identity key; compare fingerprints: 77ab 0000" in (lines.notice(changed, "Bob") or "")


def test_conversations_and_devices_are_lines() -> None:
    direct = Conversation(
        conversation_id=CONVERSATION, kind="direct", peer=User(user_id=BOB, username="bob"), unread_count=2
    )
    assert lines.conversation(direct) == f"{CONVERSATION}  bob  direct  2 unread"
    phone = Device(device_id="1001", name="Alice's phone", platform="android", is_primary=True, is_current=True)
    assert lines.device(phone) == "1001  Alice's phone  android  primary, this device"


def _sms(to: str, code: str) -> str:
    return json.dumps({"to": to, "body": f"Your code is {code}", "code": code}) + "\n"


def test_trouble_at_the_server_is_told_in_a_line_and_so_is_its_end() -> None:
    assert lines.status(Degraded(stores=("redis", "messages"))) == "The server reports trouble with: redis, messages."
    assert lines.status(Degraded()) == "The server is well again."
