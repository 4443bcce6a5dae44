"""The app that installs the web admin."""

from django.contrib.admin.apps import AdminConfig


class WaypostAdminConfig(AdminConfig):
    """Django's admin app, with our site."""

    default_site = "chatproject.web_admin.site.WaypostAdminSite"
