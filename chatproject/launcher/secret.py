import base64
import os
import secrets
from collections.abc import Mapping
from pathlib import Path


def fresh_secrets() -> dict[str, str]:
    """One random value for each secret the application asks for."""
    return {
        "SECRET_KEY": _letters(),
        "PHONE_PEPPER": _letters(),
        "PIN_PEPPER": _letters(),
        "PHONE_ENCRYPTION_KEYS": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        "TOKEN_KEYS": f"k1:{_letters()}",
        "HINT_KEY": _letters(),
        # 32 bytes that are a private key of P-256, with a probability next to which nothing else matters.
        "VAPID_PRIVATE_KEY": secrets.token_urlsafe(32),
    }


def kept_secrets(path: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """The secrets of this installation: the environment's, else the file's, else new ones, which the file then keeps.

    Whoever reads the file can read phone numbers and sign tokens, so only its owner may.
    """
    known = _read(path)
    missing = {
        name: value for name, value in fresh_secrets().items() if name not in known and not environment.get(name)
    }
    if missing:
        known |= missing
        _write(path, known)
    return {name: value for name, value in known.items() if not environment.get(name)}


def _letters() -> str:
    return secrets.token_urlsafe(48)


def _read(path: Path) -> dict[str, str]:
    if not path.exists():
        return {}
    pairs = (line.partition("=") for line in path.read_text().splitlines() if "=" in line)
    return {name: value for name, _, value in pairs}


def _write(path: Path, values: Mapping[str, str]) -> None:
    """Replaced in one step: half a file of secrets would lock everybody out."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f"{path.name}.new")
    fresh.unlink(missing_ok=True)
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write("".join(f"{name}={value}\n" for name, value in values.items()))
        os.fsync(file.fileno())
    fresh.rename(path)
