"""An **answer**: what became of one thing that was sent.

Invariant: an answer tells who chose the address one word of a closed list, a status and a time,
and never an error's own text: that would tell them what listens where.
"""

import re
import time
from datetime import UTC
from email.utils import parsedate_to_datetime
from enum import StrEnum

import msgspec

RETRY_AFTER_SECONDS_MAX = 3600
DATE_CHARACTERS_MAX = 64

_SECONDS = re.compile(r"[0-9]+", re.ASCII)


class Failure(StrEnum):
    """Why it did not arrive, or was not wanted."""

    FORBIDDEN_ADDRESS = "forbidden_address"  # an address of the host is on the deny list
    DNS = "dns"  # the host has no address
    CONNECTION_REFUSED = "connection_refused"
    CONNECTION_RESET = "connection_reset"  # hung up before it had answered
    UNREACHABLE = "unreachable"
    TLS = "tls"  # the certificate is not the host's, not trusted, or there is no TLS
    TIMEOUT = "timeout"
    PROTOCOL = "protocol"  # what came is not HTTP, or its headers are longer than we read
    REDIRECT = "redirect"  # 3xx: never followed
    STATUS = "status"  # any other status than 2xx
    UNSENT = "unsent"  # we could not make or sign it: our own log says why


class Answer(msgspec.Struct, frozen=True):
    """`status` is None unless a whole head came; `failure` is None if that said 2xx.

    `duration_ms` is the time to that head or failure. `retry_after_seconds`: 0 to 3600, if the
    receiver asked for it in a way that makes sense.
    """

    status: int | None
    failure: Failure | None
    duration_ms: int
    retry_after_seconds: int | None = None


def failure_of(status: int) -> Failure | None:
    """What a status means to whoever sent something."""
    if 200 <= status < 300:
        return None
    return Failure.REDIRECT if 300 <= status < 400 else Failure.STATUS


def parse_retry_after(text: str, now_seconds: float | None = None) -> int | None:
    """Seconds to wait, 0 to 3600, from a Retry-After header (RFC 9110, 10.2.3); else None.

    >>> parse_retry_after("120"), parse_retry_after("1000000000"), parse_retry_after("soon")
    (120, 3600, None)
    """
    text = text.strip()
    if _SECONDS.fullmatch(text):
        digits = text.lstrip("0") or "0"  # thousands of them are never made a number
        return RETRY_AFTER_SECONDS_MAX if len(digits) > 4 else _clamp(int(digits))
    if len(text) > DATE_CHARACTERS_MAX:
        return None
    try:
        moment = parsedate_to_datetime(text)
        until_seconds = moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()
    except (ValueError, OverflowError, TypeError, IndexError):
        return None
    return _clamp(round(until_seconds - (time.time() if now_seconds is None else now_seconds)))


def _clamp(seconds: int) -> int:
    return max(0, min(seconds, RETRY_AFTER_SECONDS_MAX))
