"""Codes by day and country: counted in PostgreSQL, so that no restart and no emptied Redis gives a pumped country a new budget.

One statement counts a message before it leaves, and refuses it when the budget is used up or codes are switched off. What is sent and what is
verified in the end stands side by side: numbers that are texted for the money of it are never verified.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from django.db import connection

from accounts import countries, switches
from accounts.chores import by_blocks
from accounts.wire.refusals import RateLimited, StorageUnavailable

SWITCHED_OFF_SECONDS = 300
KEPT_DAYS = 400

_TODAY = "(clock_timestamp() AT TIME ZONE 'UTC')::date"

_RESERVE = f"""
INSERT INTO accounts_code_day AS d (day, country, sent, budgeted, verified)
SELECT {_TODAY}, %(country)s, 1, %(budgeted)s, 0
WHERE NOT EXISTS (SELECT FROM accounts_switch WHERE name = '{switches.Name.CODES}' AND is_off)
ON CONFLICT (day, country) DO UPDATE SET sent = d.sent + 1, budgeted = d.budgeted + excluded.budgeted
WHERE excluded.budgeted = 0 OR %(most)s = 0 OR d.budgeted < %(most)s
RETURNING day
"""  # noqa: S608  (constants)

_GIVE_BACK = """
UPDATE accounts_code_day SET sent = sent - 1, budgeted = budgeted - %(budgeted)s WHERE day = %(day)s AND country = %(country)s
"""

_VERIFIED = f"""
INSERT INTO accounts_code_day AS d (day, country, sent, budgeted, verified) VALUES ({_TODAY}, %s, 0, 0, 1)
ON CONFLICT (day, country) DO UPDATE SET verified = d.verified + 1
"""  # noqa: S608  (constants)

_OF_TODAY = f"""
SELECT country, sent, budgeted, verified FROM accounts_code_day WHERE day = {_TODAY} ORDER BY sent DESC, country
"""  # noqa: S608  (constants)

_BY_DAY = f"""
SELECT day, count(*), sum(sent)::bigint, sum(verified)::bigint FROM accounts_code_day
WHERE day > {_TODAY} - %s GROUP BY day ORDER BY day DESC
"""  # noqa: S608  (constants)


class SwitchedOff(StorageUnavailable):
    """No codes are sent at the moment; try again later."""


class BudgetUsedUp(RateLimited):
    """No more codes are sent to this country today."""


@dataclass(frozen=True, slots=True)
class Reservation:
    """A message that was counted and may leave."""

    day: date
    country: str
    budgeted: int


def reserve(country: str, *, is_budgeted: bool) -> Reservation:
    """Count a message to this country; `is_budgeted`: against its budget. Raises SwitchedOff, or BudgetUsedUp until midnight UTC."""
    facts: dict[str, str | int] = {"country": country, "budgeted": int(is_budgeted), "most": countries.budget(country)}
    with connection.cursor() as cursor:
        cursor.execute(_RESERVE, facts)
        row = cursor.fetchone()
    if row is not None:
        return Reservation(row[0], country, int(is_budgeted))
    if switches.is_off(switches.Name.CODES):
        raise SwitchedOff(retry_after=SWITCHED_OFF_SECONDS)
    raise BudgetUsedUp(retry_after=_seconds_of_today())


def give_back(reserved: Reservation) -> None:
    """The message did not leave."""
    with connection.cursor() as cursor:
        cursor.execute(_GIVE_BACK, {"day": reserved.day, "country": reserved.country, "budgeted": reserved.budgeted})


def note_verified(country: str) -> None:
    """A code to this country was typed in rightly."""
    with connection.cursor() as cursor:
        cursor.execute(_VERIFIED, [country])


@dataclass(frozen=True, slots=True)
class Today:
    """One country's numbers of today."""

    country: str
    sent: int
    budgeted: int
    verified: int
    budget: int


def today() -> list[Today]:
    """What there is of today, the countries with the most messages first."""
    with connection.cursor() as cursor:
        cursor.execute(_OF_TODAY)
        rows = cursor.fetchall()
    return [
        Today(country, sent, budgeted, verified, countries.budget(country))
        for country, sent, budgeted, verified in rows
    ]


@dataclass(frozen=True, slots=True)
class Day:
    """All countries' numbers of one day."""

    day: date
    countries: int
    sent: int
    verified: int

    @property
    def percent(self) -> int:
        """How many of a hundred messages led to a right code."""
        return round(100 * self.verified / self.sent) if self.sent else 0


def by_day(days: int) -> list[Day]:
    """So many days, today first. A day without codes is left out."""
    with connection.cursor() as cursor:
        cursor.execute(_BY_DAY, [days])
        return [Day(*row) for row in cursor.fetchall()]


def _seconds_of_today() -> float:
    now = datetime.now(UTC)
    midnight = (now + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    return (midnight - now).total_seconds()


PRUNING = by_blocks("days of codes", "accounts_code_day", f"r.day < {_TODAY} - {KEPT_DAYS}")
