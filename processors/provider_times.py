"""A provider's timestamp in our form, whatever ISO 8601 form it came in, and what was odd about it.

Refuses to guess: a text that is not a full date and time is unreadable, and the event is kept
without a time. Never reads a clock; "now" is the time the gateway received the postback.
"""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import Final

from schemas.times import iso_ms

#: A clock may be wrong or in another zone; further ahead than this is not a clock (facts/reliability.md §3).
FUTURE_MAX_MS: Final = 24 * 60 * 60 * 1000

UNREADABLE: Final = "unreadable"
WITHOUT_ZONE: Final = "without_zone"
LEAP_SECOND: Final = "leap_second"
IN_FUTURE: Final = "in_future"

_NOTHING_ODD: Final[tuple[str, ...]] = ()
_NOTHING: Final[tuple[str | None, tuple[str, ...]]] = (None, ())
_UNREAD: Final[tuple[str | None, tuple[str, ...]]] = (None, (UNREADABLE,))

#: Every documented Braze sample looks like `2020-08-31T18:58:41.000+00:00`: 23 characters, then the zone.
_UTC: Final = ("+00:00", "Z")  # as in the postback examples, and as in other answers of Braze
_ORDINARY_LENGTHS: Final = (len("2020-08-31T18:58:42.000+00:00"), len("2020-08-31T18:58:42.000Z"))
_TO_MILLIS: Final = 23
_BLOCK_BITS: Final = 26  # 2^26 ms are 18.6 hours, less than FUTURE_MAX_MS: a shift costs less than a division
_fromisoformat: Final = datetime.fromisoformat
_SECONDS_MAX: Final = 60
_MINUTES_MAX: Final = 59
_HOURS_MAX: Final = 24

#: Calendar, week and ordinal dates, basic or extended; the lowest unit of the time may have a fraction.
_ISO: Final = re.compile(
    r"(?P<year>\d{4})"
    r"(?:-?W(?P<week>\d\d)-?(?P<weekday>\d)|-?(?P<ordinal>\d{3})|-?(?P<month>\d\d)-?(?P<day>\d\d))"
    r"[T ](?P<hour>\d\d)(?::?(?P<minute>\d\d)(?::?(?P<second>\d\d))?)?(?:[.,](?P<fraction>\d+))?"
    r"(?P<zone>Z|(?P<sign>[+\-\N{MINUS SIGN}])(?P<zone_hour>\d\d)(?::?(?P<zone_minute>\d\d))?)?",
    re.ASCII | re.IGNORECASE,
)


def read_time(value: object, received_ms: int) -> tuple[str | None, tuple[str, ...]]:
    """The time as `YYYY-MM-DDTHH:MM:SS.mmmZ`, or `None`, and the words for what was odd (usually none).

    Null and `""` are no time, and not odd. Fractions beyond milliseconds are cut, never rounded up. A
    time without a zone is taken as UTC. A leap second becomes the second after it. More than
    `FUTURE_MAX_MS` after `received_ms` (Unix milliseconds) is odd, and still what the provider said.
    """
    if type(value) is not str:
        return _NOTHING if value is None else _UNREAD
    # fromisoformat takes week dates and other forms as well; in what it takes, these three places tell
    # that it is year-month-day, T and a time with colons to the second.
    if (
        len(value) in _ORDINARY_LENGTHS
        and value[7] == "-"
        and value[10] == "T"
        and value[19] == "."
        and value[_TO_MILLIS:] in _UTC
    ):
        try:
            _fromisoformat(value)
        except ValueError:  # a leap second, perhaps: look again with care
            return _read_any(value, received_ms)
        if value < _surely_past(received_ms >> _BLOCK_BITS):
            return f"{value[:_TO_MILLIS]}Z", _NOTHING_ODD
    return _read_any(value, received_ms)


@lru_cache(maxsize=16)
def _surely_past(block: int) -> str:
    """The end of a block of time, in which no moment is more than a block's length (18.6 h) before it."""
    return iso_ms((block + 1) << _BLOCK_BITS)


def _read_any(value: str, received_ms: int) -> tuple[str | None, tuple[str, ...]]:
    if not value:
        return _NOTHING
    match = _ISO.fullmatch(value.strip())
    if match is None:
        return _UNREAD
    try:
        at = _instant(match)
    except (ValueError, OverflowError):  # 30 February; 0001-01-01T00:00:00+14:00 lies before year 1
        return _UNREAD
    text = at.isoformat(timespec="milliseconds") + "Z"
    found = {
        WITHOUT_ZONE: match["zone"] is None,
        LEAP_SECOND: match["second"] == str(_SECONDS_MAX),
        IN_FUTURE: text > iso_ms(received_ms + FUTURE_MAX_MS),
    }
    return text, tuple(word for word, odd in found.items() if odd)


def _instant(match: re.Match[str]) -> datetime:
    """The moment in UTC, as a datetime without a zone. Raises `ValueError` or `OverflowError`."""
    hour, minute, second = (int(match[unit] or 0) for unit in ("hour", "minute", "second"))
    if hour > _HOURS_MAX or minute > _MINUTES_MAX or second > _SECONDS_MAX:
        raise ValueError
    since_midnight = timedelta(hours=hour, minutes=minute, seconds=second) + _fraction(match)
    if hour == _HOURS_MAX and since_midnight > timedelta(days=1):  # 24:00 is the end of the day, and the last of it
        raise ValueError
    day = _day(match)
    midnight = datetime(day.year, day.month, day.day)  # noqa: DTZ001 - UTC by construction, zone added as text
    return midnight + (since_midnight - _offset(match))


def _day(match: re.Match[str]) -> date:
    year = int(match["year"])
    if match["week"]:
        return date.fromisocalendar(year, int(match["week"]), int(match["weekday"]))
    if match["ordinal"]:
        found = date(year, 1, 1) + timedelta(days=int(match["ordinal"]) - 1)
        if found.year != year:
            raise ValueError
        return found
    return date(year, int(match["month"]), int(match["day"]))


def _fraction(match: re.Match[str]) -> timedelta:
    """The fraction of the lowest unit given, cut to milliseconds. Nine digits are more than enough for that."""
    unit_ms = 1000 if match["second"] else 60_000 if match["minute"] else 3_600_000
    digits = (match["fraction"] or "0")[:9]
    return timedelta(milliseconds=int(digits) * unit_ms // 10 ** len(digits))


def _offset(match: re.Match[str]) -> timedelta:
    hours, minutes = int(match["zone_hour"] or 0), int(match["zone_minute"] or 0)
    if hours >= _HOURS_MAX or minutes > _MINUTES_MAX:
        raise ValueError
    offset = timedelta(hours=hours, minutes=minutes)
    return offset if match["sign"] == "+" else -offset
