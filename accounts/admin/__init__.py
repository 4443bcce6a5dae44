"""Pages of the web admin about people, and about what happened. `devices.admin` adds what concerns their devices."""

from django.contrib import admin
from django.contrib.auth.models import Group

from accounts.admin import audit_log

# Roles stand in the code.
admin.site.unregister(Group)

__all__ = ["audit_log"]
