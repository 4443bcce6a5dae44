"""Pages of the web admin about devices, and about people with what they hold."""

from devices.admin import devices, people

__all__ = ["devices", "people"]
