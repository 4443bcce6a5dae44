"""What the settings of this app must be like: asked by `manage.py check`, and before a process serves."""

import logging
from typing import Any

from django.conf import settings
from django.core import checks
from django.core.exceptions import ImproperlyConfigured

from accounts import countries, sms

logger = logging.getLogger(__name__)


def require_well_configured() -> None:
    """Raise ImproperlyConfigured, in one sentence, unless codes can be sent as the settings say."""
    countries.require_well_formed()
    sms.gateway()


def warn_of_codes_for_nobody() -> None:
    """Say in the log of a process that serves the world when its codes reach no telephone."""
    if settings.IN_PRODUCTION and settings.SMS_URL.startswith(("console:", "file:")):
        logger.warning("SMS_URL sends codes to nobody's telephone: whoever reads them here can sign in as anybody")


def codes_can_be_sent(**_: Any) -> list[checks.CheckMessage]:
    """The same, as an error of `manage.py check`."""
    try:
        require_well_configured()
    except ImproperlyConfigured as failure:
        return [checks.Error(str(failure), id="accounts.E001")]
    return []
