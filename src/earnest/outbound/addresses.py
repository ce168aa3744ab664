"""The **deny list**: addresses that nobody can make this server send anything to.

Invariant: whatever is not plainly a public unicast address is forbidden, in every spelling that
carries another address inside (mapped, compatible, NAT64, 6to4, Teredo). The lists are the two
IANA special-purpose address registries and the metadata addresses of clouds, written out:
`ipaddress.is_global` changes with the version of Python and is wrong for some of them.
"""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

Address = IPv4Address | IPv6Address

FORBIDDEN_V4 = tuple(
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # this host: Linux dials itself
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # shared by carriers (CGNAT); 100.100.100.200 is a cloud's metadata
        "127.0.0.0/8",  # loopback
        "168.63.129.16/32",  # a cloud's host, which only its guests reach
        "169.254.0.0/16",  # link-local; 169.254.169.254 is most clouds' metadata
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments; 192.0.0.192 is a cloud's metadata
        "192.0.2.0/24",  # documentation
        "192.31.196.0/24",  # AS112
        "192.52.193.0/24",  # automatic multicast tunnels
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",  # private
        "192.175.48.0/24",  # AS112
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved
        "255.255.255.255/32",  # broadcast
    )
)
UNICAST_V6 = IPv6Network("2000::/3")
"""All that is handed out to the public. What lies outside is forbidden, listed or not."""
FORBIDDEN_V6 = tuple(
    IPv6Network(network)
    for network in (
        "::/96",  # unspecified, loopback, IPv4-compatible
        "::ffff:0:0/96",  # IPv4-mapped: dials the IPv4 address inside
        "64:ff9b::/96",  # NAT64: reaches the IPv4 address inside
        "64:ff9b:1::/48",  # NAT64 with a prefix of one's own
        "100::/64",  # discarded
        "100:0:0:1::/64",  # a placeholder
        "2001::/23",  # protocol assignments: Teredo, ORCHID, benchmarks
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4: reaches the IPv4 address inside
        "2620:4f:8000::/48",  # AS112
        "3fff::/20",  # documentation
        "5f00::/16",  # segment routing
        "fc00::/7",  # unique local; fd00:ec2::254 is a cloud's metadata
        "fe80::/10",  # link-local
        "fec0::/10",  # site-local, withdrawn, but some systems route it
        "ff00::/8",  # multicast
    )
)
LOOPBACK_V4 = IPv4Network("127.0.0.0/8")
LOOPBACK_V6 = IPv6Address("::1")


def is_forbidden(address: Address) -> bool:
    """Whether nothing may be sent to `address`.

    >>> is_forbidden(IPv6Address("2002:7f00:1::")), is_forbidden(IPv4Address("93.184.216.34"))
    (True, False)
    """
    if isinstance(address, IPv4Address):
        return any(address in network for network in FORBIDDEN_V4)
    return (
        address.scope_id is not None  # "%eth0" chooses one of our own interfaces
        or address not in UNICAST_V6
        or any(address in network for network in FORBIDDEN_V6)
    )


def is_loopback(address: Address) -> bool:
    """Whether `address` is this machine in a spelling of its own, not inside of another."""
    if isinstance(address, IPv4Address):
        return address in LOOPBACK_V4
    return address == LOOPBACK_V6 and address.scope_id is None
