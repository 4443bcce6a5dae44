from pathlib import Path

from cryptography.fernet import Fernet

from chatproject.launcher.secret import fresh_secrets, kept_secrets


def test_secrets_are_made_once_and_only_their_owner_may_read_them(tmp_path: Path) -> None:
    path = tmp_path / "secrets"
    first = kept_secrets(path, {})
    assert kept_secrets(path, {}) == first
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_secret_of_the_environment_wins_and_is_not_written_down(tmp_path: Path) -> None:
    path = tmp_path / "secrets"
    kept = kept_secrets(path, {"HINT_KEY": "given by Alice"})
    assert "HINT_KEY" not in kept
    assert "HINT_KEY" not in path.read_text()


def test_a_secret_that_a_newer_version_asks_for_is_added_to_those_that_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "secrets"
    path.write_text("SECRET_KEY=made by an older version\n")
    kept = kept_secrets(path, {})
    assert kept["SECRET_KEY"] == "made by an older version"
    assert kept_secrets(path, {}) == kept


def test_every_secret_has_the_shape_its_reader_expects() -> None:
    secrets = fresh_secrets()
    Fernet(secrets["PHONE_ENCRYPTION_KEYS"])
    assert secrets["TOKEN_KEYS"].startswith("k1:")
    lengths = {name: len(secrets[name]) for name in ("SECRET_KEY", "PHONE_PEPPER", "PIN_PEPPER", "HINT_KEY")}
    assert set(lengths.values()) == {64}
    assert len(set(secrets.values())) == len(secrets)
