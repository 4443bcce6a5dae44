"""What an installation must have before it may start outside development."""

from collections.abc import Mapping
from typing import Any

from django.core.exceptions import ImproperlyConfigured

SHORTEST_SECRET = 32


def require_production_settings(settings: Mapping[str, Any]) -> None:
    """Raise ImproperlyConfigured, naming everything that is wrong, unless the settings may face the world (or are for development)."""
    if not settings["IN_PRODUCTION"]:
        return
    problems = list(_weak_secrets(settings))
    if settings["DEBUG"]:
        problems.append("DEBUG must be off")
    if not settings["ALLOWED_HOSTS"] or "*" in settings["ALLOWED_HOSTS"]:
        problems.append("ALLOWED_HOSTS must name the hosts this server answers for, not *")
    if problems:
        raise ImproperlyConfigured("Waypost does not start: " + "; ".join(problems) + ".")


def _weak_secrets(settings: Mapping[str, Any]) -> list[str]:
    named = [(name, settings[name]) for name in ("SECRET_KEY", "PHONE_PEPPER", "PIN_PEPPER", "HINT_KEY")]
    named += [("PHONE_ENCRYPTION_KEYS", secret) for secret in settings["PHONE_ENCRYPTION_KEYS"] or [""]]
    named += [("TOKEN_KEYS (kid:secret)", entry.partition(":")[2]) for entry in settings["TOKEN_KEYS"] or [""]]
    weak = dict.fromkeys(
        f"{name} must be at least {SHORTEST_SECRET} random characters" for name, secret in named if _is_weak(secret)
    )
    if len({secret for _, secret in named}) < len(named):
        weak["each secret must have a value of its own"] = None
    return list(weak)


def _is_weak(secret: str) -> bool:
    return len(secret) < SHORTEST_SECRET or len(set(secret)) < 12 or "insecure" in secret
