"""**Sealing**: what must not be readable in the database, as bytes that only we can open.

AES-256-GCM with a key that is derived from EARNEST_SECRET_KEY and so lives outside the database.
Invariant: sealed bytes open only in the place they were sealed for (`about`): whoever copies them
into another row gets nothing out of it.
"""

import hmac
import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_VERSION = b"\x01"
_NONCE_BYTES = 12


def derive_key(secret_key: bytes, purpose: str) -> bytes:
    """A key of its own for each purpose, so that no signature is good for another one."""
    return hmac.digest(secret_key, f"earnest/{purpose}".encode(), "sha256")


class SealBroken(Exception):
    """These bytes were sealed with another key or for another place, or were changed."""


class Sealer:
    """Seals and opens with one key of 32 bytes."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)

    def seal(self, plain: bytes, about: str) -> bytes:
        """`plain`, sealed for the place `about`: `webhook:0190...`; 29 bytes longer."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return _VERSION + nonce + self._cipher.encrypt(nonce, plain, about.encode())

    def open(self, sealed: bytes, about: str) -> bytes:
        """What was sealed for `about`. Raises SealBroken."""
        nonce, rest = sealed[1 : 1 + _NONCE_BYTES], sealed[1 + _NONCE_BYTES :]
        if sealed[:1] != _VERSION or len(nonce) != _NONCE_BYTES:
            raise SealBroken
        try:
            return self._cipher.decrypt(nonce, rest, about.encode())
        except InvalidTag:
            raise SealBroken from None
