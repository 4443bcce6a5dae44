"""Phone numbers at rest."""

from typing import Any

import pytest
from cryptography.fernet import InvalidToken

from accounts import phones


def test_keys_rotate_and_a_forgotten_key_opens_nothing(settings: Any) -> None:
    settings.PHONE_ENCRYPTION_KEYS = ["an-old-key-of-some-good-length-0000000000"]
    old = phones.encrypt_phone("+66812345678")
    settings.PHONE_ENCRYPTION_KEYS = ["a-new-key-of-some-good-length-00000000000", *settings.PHONE_ENCRYPTION_KEYS]
    assert phones.decrypt_phone(old) == "+66812345678"
    new = phones.encrypt_phone("+66812345678")
    settings.PHONE_ENCRYPTION_KEYS = settings.PHONE_ENCRYPTION_KEYS[:1]
    assert phones.decrypt_phone(new) == "+66812345678"
    with pytest.raises(InvalidToken):
        phones.decrypt_phone(old)


def test_the_hash_depends_on_the_pepper(settings: Any) -> None:
    first = phones.hash_phone("+66812345678")
    assert first == phones.pepper(phones.discovery_hash("+66812345678"))
    settings.PHONE_PEPPER = "another-pepper-of-some-good-length-0000000"
    assert phones.hash_phone("+66812345678") != first


@pytest.mark.parametrize(
    ("number", "masked"),
    [("+66812345678", "+66••••••678"), ("+12025550123", "+1•••••••123"), ("+999000000001", "+9••••••••001")],
)
def test_a_masked_number_shows_country_and_ending(number: str, masked: str) -> None:
    assert phones.mask_phone(number) == masked
