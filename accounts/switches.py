"""Switches: what an operator turns off, and on again, for all processes at once. In PostgreSQL, so that it outlives every restart."""

import enum
import logging

from django.utils import timezone

from accounts.models import Switch

logger = logging.getLogger(__name__)


class Name(enum.StrEnum):
    """What can be turned off."""

    CODES = "codes"


def is_off(name: Name) -> bool:
    """Whether it was turned off."""
    return Switch.objects.filter(name=name, is_off=True).exists()


def turn(name: Name, *, off: bool) -> None:
    """Turn it off or on; whatever is asked from now on finds it so."""
    Switch.objects.update_or_create(name=name, defaults={"is_off": off, "changed_at": timezone.now()})
    logger.warning("%s: switched %s", name, "off" if off else "on")
