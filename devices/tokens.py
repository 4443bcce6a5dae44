"""Tokens."""

from devices.current import CurrentDevice


def authenticate(access_token: str) -> CurrentDevice:
    raise NotImplementedError
