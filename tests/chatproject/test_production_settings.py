"""Outside development the server starts with good settings or not at all."""

import os
import re
import secrets
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent


def good_settings() -> dict[str, str]:
    names = ("SECRET_KEY", "PHONE_PEPPER", "PIN_PEPPER", "HINT_KEY", "PHONE_ENCRYPTION_KEYS")
    return {name: secrets.token_urlsafe(48) for name in names} | {
        "TOKEN_KEYS": f"k1:{secrets.token_urlsafe(48)}",
        "ALLOWED_HOSTS": "chat.example.org",
        "SMS_URL": "clicksend://user:password@{to}",
        "PATH": os.environ["PATH"],
    }


def check(settings: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"]
    return subprocess.run(command, cwd=ROOT, env=settings, capture_output=True, text=True, check=False)


def test_with_good_settings_and_empty_ones_nothing_is_left_to_say() -> None:
    names = re.findall(r"env\.\w+\(\s*\"([A-Z_]+)\"", (ROOT / "chatproject" / "settings.py").read_text())
    empty = dict.fromkeys([*names, "LIMIT_MEMBERS"], "")
    assert {"SECURITY_EVENT_DAYS", "CODES_ENABLED"} < empty.keys()
    checked = check(empty | good_settings())
    assert (checked.returncode, checked.stdout.strip()) == (0, "System check identified no issues (0 silenced)."), (
        checked.stderr
    )


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("SECRET_KEY", "", "SECRET_KEY must be at least 32 random characters"),
        ("SECRET_KEY", "a" * 64, "SECRET_KEY must be at least 32 random characters"),
        ("PHONE_PEPPER", "short-but-mixed-0123", "PHONE_PEPPER must be"),
        ("TOKEN_KEYS", "a-long-secret-without-any-kid-0123456789", "TOKEN_KEYS (kid:secret) must be"),
        (
            "TOKEN_KEYS",
            "k2:Zb7tWq0aLr5mXc9vNe2kHs8dPf4uYj6g1TiOoQxRzE3wMnBh,k1:short",
            "TOKEN_KEYS (kid:secret) must be",
        ),
        ("PHONE_ENCRYPTION_KEYS", "", "PHONE_ENCRYPTION_KEYS must be"),
        ("DEBUG", "true", "DEBUG must be off"),
        ("ALLOWED_HOSTS", "*", "ALLOWED_HOSTS must name the hosts"),
        ("ALLOWED_HOSTS", "", "ALLOWED_HOSTS must name the hosts"),
    ],
)
def test_a_bad_setting_refuses_to_start_and_says_which(name: str, value: str, sentence: str) -> None:
    checked = check(good_settings() | {name: value})
    assert checked.returncode != 0
    assert sentence in checked.stderr
    assert not value or len(value) < 8 or value not in checked.stderr, "a secret does not belong into an error"


def test_one_secret_twice_refuses_to_start() -> None:
    settings = good_settings()
    assert "each secret must have a value of its own" in check(settings | {"HINT_KEY": settings["SECRET_KEY"]}).stderr
