"""The **address** of a client: whom limits count, behind proxies or not.

Invariant: a hop is believed only if the one that reported it is a trusted proxy, so nobody
chooses their own address, whatever X-Forwarded-For they send.
"""

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Any

from litestar.connection import ASGIConnection

IPV6_PREFIX_BITS = 64  # what a provider gives to one customer
HOPS_MAX = 32
UNKNOWN = "unknown"

Address = IPv4Address | IPv6Address


def address_of(connection: ASGIConnection[Any, Any, Any, Any]) -> str:
    """The client's address as limits count it: "203.0.113.7", or "2001:db8:1:2::/64".

    Without EARNEST_TRUSTED_PROXIES that is the peer of the connection. Otherwise it is the
    rightmost hop of X-Forwarded-For that is no trusted proxy; what stands left of that, or of
    something that is no address, was written by somebody we do not trust. Raises nothing.
    """
    client = connection.scope.get("client")
    peer = parse_address(client[0]) if client else None
    if peer is None:
        return UNKNOWN
    trusted = connection.app.state.settings.trusted_proxies
    if trusted and is_trusted(peer, trusted):
        peer = _through_proxies(peer, connection.scope["headers"], trusted)
    return counted(peer)


def counted(address: Address) -> str:
    """An address as limits count it: an IPv6 client owns a whole network."""
    if isinstance(address, IPv6Address):
        network = IPv6Network((address.packed, IPV6_PREFIX_BITS), strict=False)
        return str(network)
    return str(address)


def parse_address(text: str) -> Address | None:
    """An address in any of the ways proxies write one, with or without a port; else None.

    >>> str(parse_address("[2001:db8::1]:443"))
    '2001:db8::1'
    """
    text = text.strip().strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text)
    except ValueError:
        return None
    # A socket that listens for both families shows IPv4 peers as ::ffff:203.0.113.7.
    return getattr(address, "ipv4_mapped", None) or address


def is_trusted(address: Address, proxies: tuple[str, ...]) -> bool:
    """Whether `address` is one of `proxies`, which are addresses or networks."""
    return any(address in network for network in networks_of(proxies))


@lru_cache(maxsize=8)
def networks_of(proxies: tuple[str, ...]) -> tuple[IPv4Network | IPv6Network, ...]:
    """The proxies as networks. Raises ValueError for what is neither address nor network."""
    return tuple(ip_network(each) for each in proxies)


def _through_proxies(
    peer: Address, headers: Iterable[tuple[bytes, bytes]], trusted: tuple[str, ...]
) -> Address:
    hops = b",".join(value for name, value in headers if name == b"x-forwarded-for").split(b",")
    for hop in hops[: -HOPS_MAX - 1 : -1]:
        reported = parse_address(hop.decode("latin-1"))
        if reported is None:
            return peer
        peer = reported
        if not is_trusted(peer, trusted):
            return peer
    return peer
