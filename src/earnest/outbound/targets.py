"""A **target**: a URL that somebody gave us to send to, taken apart once and for all.

Invariant: a Target's host is a lower-case ASCII name or an address in its usual spelling, its
path is ASCII, its port one of few; there is no second way to read its URL. What a name resolves
to is not known here: the sender checks that each time it connects (spec/abuse-cases.md 112, 113).
"""

import re
import unicodedata
from ipaddress import IPv4Address, IPv6Address
from urllib.parse import quote

import idna
import msgspec

from earnest.errors import InvalidField
from earnest.outbound.addresses import Address, is_forbidden, is_loopback

URL_CHARACTERS_MAX = 2048
HTTPS_PORTS = (443, 8443)
HTTP_PORTS = (80, *HTTPS_PORTS)
DEFAULT_PORTS = {"http": 80, "https": 443}

# Names that mean something of one's own wherever they are asked for (RFC 6761, 6762 appendix G).
PRIVATE_SUFFIXES = {
    *("arpa", "corp", "home", "internal", "intranet", "lan", "local", "localdomain", "localhost"),
    *("onion", "private"),
}

# Control, format (zero-width, bidi), surrogate, private, unassigned; spaces and line ends.
UNSEEN_CATEGORIES = {"Cc", "Cf", "Cs", "Co", "Cn", "Zs", "Zl", "Zp"}

_URL = re.compile(r"(https?)://([^/?]+)([^#]*)", re.IGNORECASE | re.ASCII)
_AUTHORITY = re.compile(r"(\[[^\[\]]*\]|[^\[\]:]*)(?::([1-9][0-9]{0,4}))?")
_LABEL = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_RESERVED = "%/?:@!$&'()*+,;=~[]"


class Target(msgspec.Struct, frozen=True):
    """Where to send. `host` has no brackets, `path` begins with a slash and has the query;
    `address` is the host if that is one. `is_loopback`: may reach this machine, and only it."""

    scheme: str
    host: str
    port: int
    path: str
    address: Address | None
    is_loopback: bool

    @property
    def authority(self) -> str:
        """The host and port of the Host header: without a port that is the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """The URL, with everything in its usual spelling."""
        return f"{self.scheme}://{self.authority}{self.path}"


def check_url(
    url: str, *, allow_loopback: bool, is_production: bool, field: str = "webhookUrl"
) -> Target:
    """The target that `url` means, or InvalidField, which names `field`.

    Production: https on port 443 or 8443 of a public host. The sandbox takes plain http too, on
    port 80 as well; with `allow_loopback` (never in production) any port of localhost, 127.0.0.0/8
    and [::1]. Nothing is resolved or sent.
    """
    if len(url) > URL_CHARACTERS_MAX:
        raise InvalidField(field, f"must be at most {URL_CHARACTERS_MAX} characters long")
    if "\\" in url or any(unicodedata.category(each) in UNSEEN_CATEGORIES for each in url):
        raise InvalidField(
            field, "must not contain spaces, backslashes, control or invisible characters"
        )
    if "#" in url:
        raise InvalidField(field, "must not have a fragment")
    parts = _URL.fullmatch(url)
    if parts is None:
        raise InvalidField(field, "must be a valid http or https URL")
    scheme, authority = parts[1].lower(), parts[2]
    if "@" in authority:
        raise InvalidField(field, "must not contain a user name or password")
    if is_production and scheme != "https":
        raise InvalidField(field, "must be an https URL")
    place = _AUTHORITY.fullmatch(authority)
    if place is None:
        raise InvalidField(field, "must be a valid http or https URL")
    host, address = _host_of(place[1], field)
    loopback = allow_loopback and not is_production and _is_own(place[1], address)
    if not loopback:
        _refuse_private(host, address, field)
    port = int(place[2] or DEFAULT_PORTS[scheme])
    ports = HTTPS_PORTS if scheme == "https" else HTTP_PORTS
    if port > 65_535 or (port not in ports and not loopback):
        *others, last = ports
        raise InvalidField(field, f"must use port {', '.join(map(str, others))} or {last}")
    path = quote(parts[3], safe=_RESERVED)
    target = Target(scheme, host, port, "/" * (path[:1] != "/") + path, address, loopback)
    if len(target.url) > URL_CHARACTERS_MAX:
        raise InvalidField(field, f"must be at most {URL_CHARACTERS_MAX} characters when encoded")
    return target


def _host_of(written: str, field: str) -> tuple[str, Address | None]:
    """The host in its usual spelling and, if it is an address, that."""
    try:
        if written.startswith("["):
            v6 = IPv6Address(written[1:-1])
            return str(v6), v6
        host = idna.encode(written, uts46=True, std3_rules=True).decode("ascii")
    except (UnicodeError, ValueError):  # IDNAError and AddressValueError are these
        raise InvalidField(field, "must name a valid host") from None
    labels = host.split(".")
    if not all(map(_LABEL.fullmatch, labels)):
        raise InvalidField(field, "must name a valid host, without a dot at its end")
    if not _NUMBER.fullmatch(labels[-1]):
        return host, None
    # What ends in a number is an address to every resolver, and 127.1, 0177.0.0.1, 2130706433
    # and digits of other scripts are loopback to some: only one spelling is taken.
    try:
        v4 = IPv4Address(written)
    except ValueError:
        raise InvalidField(
            field, "must write an IPv4 address as four numbers, such as 93.184.216.34"
        ) from None
    return str(v4), v4


def _is_own(written: str, address: Address | None) -> bool:
    return is_loopback(address) if address is not None else written.lower() == "localhost"


def _refuse_private(host: str, address: Address | None, field: str) -> None:
    if address is not None:
        if is_forbidden(address):
            raise InvalidField(field, "must not be a private, loopback or reserved address")
    elif "." not in host or host.rpartition(".")[2] in PRIVATE_SUFFIXES:
        raise InvalidField(field, "must name a public host")
