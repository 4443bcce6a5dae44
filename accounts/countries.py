"""Which countries' numbers codes are sent to, and how many a day.

SMS_COUNTRIES lists them by their ISO 3166 codes (`001` for numbers of no country, like satellite telephones), each with a daily budget of its own
if it has one: `TH, US:500`. `*` stands for all the others.
"""

import functools
import re

import phonenumbers
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from accounts.wire.refusals import InvalidRequest

ALL_OTHERS = "*"
# What a number that belongs to no region at all counts as.
NOWHERE = "ZZ"
_ENTRY = re.compile(r"(\*|[A-Z]{2}|001)(?::([1-9][0-9]{0,8}))?")


def country_of(number: str) -> str:
    """The country of a possible number. One from a range that nobody has been given is of the country its prefix is known for."""
    parsed = phonenumbers.parse(number)
    region = phonenumbers.region_code_for_number(parsed)
    return region or phonenumbers.region_code_for_country_code(parsed.country_code or 0) or NOWHERE


def require_texted(number: str) -> str:
    """The number's country. Raises InvalidRequest when no codes are sent there, or to no such number: one that costs its caller extra."""
    country = country_of(number)
    if country not in _rules() and ALL_OTHERS not in _rules():
        raise InvalidRequest("No codes are sent to numbers of this country.", field="phone_number")
    if is_premium_rate(number):
        raise InvalidRequest("No codes are sent to premium-rate numbers.", field="phone_number")
    return country


def is_premium_rate(number: str) -> bool:
    """Whether a possible number costs its caller extra."""
    kind = phonenumbers.number_type(phonenumbers.parse(number))
    return bool(kind == phonenumbers.PhoneNumberType.PREMIUM_RATE)


def budget(country: str) -> int:
    """How many codes a day go to this country's numbers; 0: as many as are asked for."""
    [of_each] = settings.LIMITS["OTP_PER_COUNTRY_DAY"]
    return _rules().get(country) or _rules().get(ALL_OTHERS) or of_each


def require_well_formed() -> None:
    """Raise ImproperlyConfigured unless SMS_COUNTRIES can be read and names countries that exist."""
    unknown = (
        _rules().keys() - phonenumbers.SUPPORTED_REGIONS - {ALL_OTHERS, phonenumbers.REGION_CODE_FOR_NON_GEO_ENTITY}
    )
    if unknown:
        sentence = f"SMS_COUNTRIES names what is no country: {', '.join(sorted(unknown))}"
        raise ImproperlyConfigured(sentence)


def _rules() -> dict[str, int | None]:
    return _parsed(tuple(settings.SMS_COUNTRIES))


@functools.cache
def _parsed(entries: tuple[str, ...]) -> dict[str, int | None]:
    found = {entry: _ENTRY.fullmatch(entry.strip()) for entry in entries}
    for entry, match in found.items():
        if match is None:
            sentence = f"SMS_COUNTRIES must look like TH,US:500 or *,TH:5000; this is neither a country nor *: {entry}"
            raise ImproperlyConfigured(sentence)
    return {match[1]: int(match[2]) if match[2] else None for match in found.values() if match}
