"""**Callback URLs**: where a hosted page sends people back to, when they are done (E14).

Invariant: what was accepted here is an https address of a host that the business allows, or, in
the sandbox, plain http on loopback; nothing in it can run, carry credentials or lead astray, and
no two readers of URLs find another host in it.
"""

import re
from ipaddress import ip_address
from urllib.parse import unquote_plus, urlencode, urlsplit

from earnest.domain.business import Business
from earnest.domain.partner_settings import is_host_name
from earnest.errors import InvalidField

CHARACTERS_MAX = 2_048
_FORBIDDEN = re.compile(r"[\x00-\x20\x7f-\x9f\\\"<>^`{|}\u2028\u2029]")
_AUTHORITY = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+)(?::0*[1-9][0-9]{0,4})?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
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
        if ":" in host or _NUMBER.fullmatch(host.rpartition(".")[2]):
            ip_address(host)  # raises on 2130706433, which is an address to browsers only
    except ValueError:
        raise InvalidField(field, expected) from None
    on_loopback = parts.scheme == "http" and host in _LOOPBACK and not is_production
    if not host or (parts.scheme != "https" and not on_loopback):
        raise InvalidField(field, expected)
    if parts.username is not None or parts.password is not None:
        raise InvalidField(field, "must not carry credentials")
    if not _AUTHORITY.fullmatch(parts.netloc) or not (":" in host or is_host_name(host)):
        raise InvalidField(field, expected)
    allowed = business.settings.callback_hosts
    if allowed and host not in allowed and not on_loopback:
        raise InvalidField(field, "must be on one of the hosts that this business allows")
    return url


def is_allowed(url: str, business: Business, *, is_production: bool) -> bool:
    """Whether people may still be sent to `url`, which was accepted once."""
    try:
        check_callback(url, business, "callbackUrl", is_production=is_production)
    except InvalidField:
        return False
    return True


def with_query(url: str, **added: str) -> str:
    """`url` with its own query as it was, and `added` after it; what it says itself under one of
    these names is dropped, so that nobody takes the first of two words for ours.

    >>> with_query("https://shop.example/back?order=7&Status=success#top", Status="failed")
    'https://shop.example/back?order=7&Status=failed#top'
    """
    parts = urlsplit(url)
    ours = {name.casefold() for name in added}
    own = [pair for pair in parts.query.split("&") if _name_of(pair) not in ours]
    query = "&".join(filter(None, (*own, urlencode(added))))
    return parts._replace(query=query).geturl()


def _name_of(pair: str) -> str:
    return unquote_plus(pair.partition("=")[0]).casefold()
