"""The gateways of this installation, as its settings say."""

from django.conf import settings

from messaging.push.apns import Apns
from messaging.push.console import Console
from messaging.push.fcm import Fcm
from messaging.push.gateway import Gateway
from messaging.push.webpush import WebPush

PROVIDERS = ("webpush", "fcm", "apns")


def configured_gateways() -> dict[str, Gateway]:
    """By provider. One without configuration is not among them, or the console where PUSH_CONSOLE is on."""
    found: dict[str, Gateway] = dict.fromkeys(PROVIDERS, Console()) if settings.PUSH_CONSOLE else {}
    if settings.VAPID_PRIVATE_KEY:
        found["webpush"] = WebPush()
    if settings.FCM_CREDENTIALS:
        found["fcm"] = Fcm(settings.FCM_CREDENTIALS)
    if settings.APNS_KEY_FILE:
        found["apns"] = Apns()
    return found
