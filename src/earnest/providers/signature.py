"""Signed events: proof that a provider, and nobody else, sent these bytes just now.

A **signature header** is `t=<unix seconds>,v1=<hex>[,v1=<hex>]`, the `Stripe-Signature`
format: each v1 is HMAC-SHA256 under one shared secret over `<t>.<raw body>`. The same
code signs for the sandbox provider and verifies for every provider, so there is one
inbound path. Invariant: whatever `verify` accepts, Stripe's own library accepts as well;
it accepts less, because the library lets timestamps from the future pass and breaks on
characters outside ASCII (spec/abuse-cases.md rows 79-86).
"""

import functools
import hmac
import re
from collections.abc import Sequence

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.hmac import HMAC

from earnest.errors import InvalidSignature

HEADER = "Stripe-Signature"
HEADER_LENGTH_MAX = 4096
SIGNATURES_MAX = 16
TOLERANCE_SECONDS = 300

# What nearly every header is: one signature (and the old scheme's, which Stripe adds in test mode).
_USUAL = re.compile(r"t=(0|[1-9][0-9]{0,11}),v1=([0-9a-f]{64})(?:,v0=[0-9a-f]{64})?")
_TIMESTAMP = re.compile(r"0|[1-9][0-9]{0,11}")
_SIGNATURE = re.compile(r"[0-9a-f]{64}")


def sign(raw: bytes, secret: str, at_seconds: int) -> str:
    """The signature header for the body `raw`, sent at unix time `at_seconds`."""
    return f"t={at_seconds},v1={_digest(raw, secret, at_seconds)}"


def verify(
    raw: bytes,
    header: str | None,
    secrets: Sequence[str],
    now_seconds: int,
    tolerance_seconds: int = TOLERANCE_SECONDS,
) -> None:
    """Return if one v1 of `header` signs `raw` under one of `secrets`, not too far from now.

    Several secrets are accepted while one is being rotated; a blank one never verifies
    anything. `tolerance_seconds` holds in both directions, its ends included. Raises
    InvalidSignature for everything else, with a text that helps the sender and tells a
    forger nothing about the expected signature.
    """
    at_seconds, signatures = _parse(header)
    if abs(now_seconds - at_seconds) > tolerance_seconds:
        raise InvalidSignature(
            f"The signature's timestamp is more than {tolerance_seconds} seconds from now."
        )
    genuine = False
    for secret in secrets:
        if not secret.strip():
            continue
        expected = _digest(raw, secret, at_seconds)
        for given in signatures:
            # No early exit: how long this takes does not depend on which pair matched.
            genuine |= hmac.compare_digest(expected, given)
    if not genuine:
        raise InvalidSignature


def _digest(raw: bytes, secret: str, at_seconds: int) -> str:
    mac = _keyed(secret).copy()
    mac.update(b"%d." % at_seconds)
    mac.update(raw)
    return mac.finalize().hex()


# To begin with a key costs as much as to hash a body of 3 KB.
@functools.lru_cache(maxsize=64)
def _keyed(secret: str) -> HMAC:
    return HMAC(secret.encode(), hashes.SHA256())


def _parse(header: str | None) -> tuple[int, list[str]]:
    """The timestamp and the well-formed v1 signatures; refuses before it splits too much."""
    if not header:
        raise InvalidSignature(f"The {HEADER} header is missing.")
    if len(header) > HEADER_LENGTH_MAX:
        raise InvalidSignature(f"The {HEADER} header is too long.")
    if not header.isascii():
        raise InvalidSignature(f"The {HEADER} header has characters outside ASCII.")
    usual = _USUAL.fullmatch(header)
    if usual is not None:
        return int(usual[1]), [usual[2]]
    items = [item.partition("=") for item in header.split(",")]
    if not all(equals for _, equals, _ in items):
        raise InvalidSignature(f"The {HEADER} header is not a list of name=value.")
    timestamps = [value for key, _, value in items if key == "t"]
    if len(timestamps) != 1 or not _TIMESTAMP.fullmatch(timestamps[0]):
        raise InvalidSignature(f"The {HEADER} header needs exactly one t=<unix seconds>.")
    signatures = [value for key, _, value in items if key == "v1"]
    if len(signatures) > SIGNATURES_MAX:
        raise InvalidSignature(f"The {HEADER} header has too many signatures.")
    signatures = [value for value in signatures if _SIGNATURE.fullmatch(value)]
    if not signatures:
        raise InvalidSignature(f"The {HEADER} header has no v1 signature of 64 hex digits.")
    return int(timestamps[0]), signatures
