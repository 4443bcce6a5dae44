"""Phone numbers: checked, hashed for looking up, encrypted for showing. Nothing keeps them in the clear."""

import hashlib
import hmac
import re

import phonenumbers
from django.conf import settings

from accounts.encryption import decrypt, encrypt
from accounts.wire.refusals import InvalidRequest

E164 = re.compile(r"\+[1-9][0-9]{6,14}")


def require_phone_number(text: str) -> str:
    """The number itself. Raises InvalidRequest unless it is E.164 and of a length its country knows."""
    if not E164.fullmatch(text) or not _is_possible(text):
        raise InvalidRequest(sentence="The phone number must be a possible one, in E.164 form.", field="phone_number")
    return text


def _is_possible(text: str) -> bool:
    try:
        return phonenumbers.is_possible_number(phonenumbers.parse(text))
    except phonenumbers.NumberParseException:
        return False


def discovery_hash(number: str) -> bytes:
    """SHA-256 of the E.164 text: what clients send to look somebody up."""
    return hashlib.sha256(number.encode()).digest()


def hash_phone(number: str) -> bytes:
    """The hash an account is stored under."""
    return pepper(discovery_hash(number))


def pepper(discovery: bytes) -> bytes:
    """The stored hash of a number of which only the discovery hash is known. Worth nothing to a reader of the database alone."""
    return hmac.digest(settings.PHONE_PEPPER.encode(), discovery, hashlib.sha256)


def encrypt_phone(number: str) -> bytes:
    """The number under the first of PHONE_ENCRYPTION_KEYS."""
    return encrypt("phone", number.encode())


def decrypt_phone(encrypted: bytes | memoryview) -> str:
    """The number, whichever of PHONE_ENCRYPTION_KEYS it was encrypted with. Raises `InvalidToken` of cryptography when none fits."""
    return decrypt("phone", encrypted).decode()


def mask_phone(number: str) -> str:
    """Enough of the number to recognise it: +66•••••678."""
    country = phonenumbers.parse(number).country_code if _is_possible(number) else number[1:2]
    head = f"+{country}"
    return head + "•" * (len(number) - len(head) - 3) + number[-3:]
