"""**Callback URLs**: where a hosted page sends people back to, when they are done (E14).

Invariant: what was accepted here is an https address of a host that the business allows, or, in
the sandbox, plain http on loopback; nothing in it can run, carry credentials or lead astray.
"""

import re
from urllib.parse import urlsplit

from earnest.domain.business import Business
from earnest.errors import InvalidField

CHARACTERS_MAX = 2_048
_FORBIDDEN = re.compile(r"[\x00-\x20\x7f-\x9f\\\"<>^`{|}\u2028\u2029]")
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


def check_callback(url: str, business: Business, field: str, *, is_production: bool) -> str:
    """`url` as it came. Raises InvalidField."""
    if len(url) > CHARACTERS_MAX:
        raise InvalidField(field, f"must be at most {CHARACTERS_MAX} characters long")
    expected = (
        "must be an https URL" if is_production else "must be an https URL, or http on loopback"
    )
    if _FORBIDDEN.search(url) or not url.isascii():
        raise InvalidField(field, expected)
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").lower()
        parts.port  # noqa: B018  raises on a port that is none
    except ValueError:
        raise InvalidField(field, expected) from None
    on_loopback = parts.scheme == "http" and host in _LOOPBACK and not is_production
    if not host or (parts.scheme != "https" and not on_loopback):
        raise InvalidField(field, expected)
    if parts.username is not None or parts.password is not None:
        raise InvalidField(field, "must not carry credentials")
    allowed = business.settings.callback_hosts
    if allowed and host not in allowed and not on_loopback:
        raise InvalidField(field, "must be on one of the hosts that this business allows")
    return url
