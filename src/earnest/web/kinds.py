"""**Kinds** of requests, by what is refused first when there is too much to do."""

import re
from enum import StrEnum


class Kind(StrEnum):
    """What is refused first, comes first."""

    READ = "read"
    CHANGE = "change"
    MONEY = "money"


API = ("/api/", "/apps/", "/connect/", "/webhook")
"""Where refusals are JSON. The others are pages."""

_READS = frozenset({"GET", "HEAD", "OPTIONS"})
_MONEY = re.compile(
    r"^/webhook$"
    r"|/(?:release|refund|payment|checkout|create-contract|cancel|withdraw|payout)[^/]*(?:/|$)"
)


def kind_of(method: str, path: str) -> Kind:
    """Of a request, by its line alone.

    >>> kind_of("GET", "/api/freelancer/contract/view-contract/6b0490390000000101794925").value
    'read'
    >>> kind_of("PUT", "/api/admin/escrow/release-fund/6b0490390000000101794925").value
    'money'
    >>> kind_of("POST", "/api/auth/login").value
    'change'
    """
    if method in _READS:
        return Kind.READ
    return Kind.MONEY if _MONEY.search(path) else Kind.CHANGE
