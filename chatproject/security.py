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
    named = {name: settings[name] for name in ("SECRET_KEY", "PHONE_PEPPER", "PIN_PEPPER", "HINT_KEY")}
    for name in ("TOKEN_KEYS", "PHONE_ENCRYPTION_KEYS"):
        named |= {name: min(settings[name], key=len, default="")}
    weak = [f"{name} must be at least {SHORTEST_SECRET} random characters" for name, value in named.items() if _is_weak(value)]
    if len(set(named.values())) < len(named):
        weak.append("each secret must have a value of its own")
    return weak


def _is_weak(secret: str) -> bool:
    return len(secret) < SHORTEST_SECRET or len(set(secret)) < 12 or "insecure" in secret
