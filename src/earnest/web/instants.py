"""One spelling of an **instant**, for all that leaves."""

from datetime import UTC, date, datetime

import msgspec

_encode = msgspec.json.Encoder().encode


def instant(at: datetime) -> str:
    """A time in UTC, cut to milliseconds.

    >>> instant(datetime(2026, 5, 1, 9, 0, 0, 123999, UTC))
    '2026-05-01T09:00:00.123Z'
    """
    if at.tzinfo is not UTC:
        at = at.astimezone(UTC)
    # The encoder takes a quarter of the time of isoformat, and leaves out a fraction of 0.
    text = _encode(at)
    return f"{text[1:24].decode()}Z" if at.microsecond else f"{text[1:20].decode()}.000Z"


def midnight(day: date) -> str:
    """A day as the instant with which it begins: 2026-05-01T00:00:00.000Z"""
    return f"{day.isoformat()}T00:00:00.000Z"
