"""**Signing keys**, at work: RSA keys that all processes share and that take turns.

One key signs for 90 days; the next is there, and published, a day before its turn; a retired one
verifies until everything it signed is over, and is then deleted. Invariants: at any time at most
one key is being made, in whatever process; what verifies and what is published is derived from
the sealed private half, so nobody who can only write to the database can slip a key in.
"""

import asyncio
import hashlib
import time
from base64 import urlsafe_b64encode

import msgspec
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)

from earnest.sealing import SealBroken, Sealer
from earnest.store import signing_keys
from earnest.store.db import Pool
from earnest.store.signing_keys import SealedKey

RSA_BITS = 2_048
SIGNS_SECONDS = 90 * 86_400
SIGNED_LIVES_SECONDS = 2 * 86_400
"""Nothing that is signed here is good for longer."""
READY_SECONDS = 86_400
"""How long before its turn a key is made, so that who caches the published ones has it."""
RELOAD_SECONDS = 60
"""For how long this process does not hear of keys that were deleted by hand."""
ASK_AGAIN_SECONDS = 2
"""Unknown keys make this process look into the database at most this often."""


class Jwk(msgspec.Struct, frozen=True):
    """The public half of a key (RFC 7517)."""

    kid: str
    n: str
    e: str
    kty: str = "RSA"
    use: str = "sig"
    alg: str = "RS256"


class SigningKey(msgspec.Struct, frozen=True):
    """An opened key. Times are seconds since 1970."""

    kid: str
    private: rsa.RSAPrivateKey
    jwk: Jwk
    retires_at: float
    expires_at: float

    def sign(self, text: bytes) -> bytes:
        """RSASSA-PKCS1-v1_5 with SHA-256: `RS256`."""
        return self.private.sign(text, padding.PKCS1v15(), hashes.SHA256())

    def verify(self, signature: bytes, text: bytes) -> None:
        """Raises cryptography.exceptions.InvalidSignature."""
        self.private.public_key().verify(signature, text, padding.PKCS1v15(), hashes.SHA256())


class SigningKeys:
    """The keys of one installation, as this process knows them."""

    def __init__(self, pool: Pool, sealer: Sealer) -> None:
        self._pool = pool
        self._sealer = sealer
        self._keys: dict[str, SigningKey] = {}
        self._loaded_at = float("-inf")
        self._one_at_a_time = asyncio.Lock()

    async def signer(self) -> SigningKey:
        """The key whose turn it is; made if there is none."""
        await self._load(RELOAD_SECONDS)
        found = self._whose_turn()
        if found is None:
            await self.make(lasts_seconds=0)
            found = self._whose_turn()
            assert found is not None
        return found

    async def find(self, kid: str) -> SigningKey | None:
        """A key that verifies, by its id."""
        await self._load(RELOAD_SECONDS)
        if kid not in self._keys:
            await self._load(ASK_AGAIN_SECONDS)
        found = self._keys.get(kid)
        return found if found is not None and found.expires_at > time.time() else None

    async def published(self) -> list[Jwk]:
        """The public halves; never none, so that nobody caches that there are none."""
        await self.signer()
        return [key.jwk for key in self._keys.values() if key.expires_at > time.time()]

    async def rotate(self) -> int:
        """See that tomorrow's key is there, where there is one today, and forget those that are
        over; how many those are."""
        await self._load(0)
        if self._keys:
            await self.make(lasts_seconds=READY_SECONDS)
        async with self._pool.connection() as conn:
            return await signing_keys.purge(conn)

    async def make(self, *, lasts_seconds: float) -> None:
        """A new key, unless there is one that signs for longer than `lasts_seconds`."""
        async with self._pool.connection() as conn, conn.transaction():
            await signing_keys.lock(conn)
            self._keys = self._opened(await signing_keys.live(conn))
            until = time.time() + lasts_seconds
            if any(key.retires_at > until for key in self._keys.values()):
                return
            private = await asyncio.to_thread(rsa.generate_private_key, 65_537, RSA_BITS)
            kid = _jwk(private).kid
            plain = private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
            # Its turn comes when the present one retires, and lasts as long as anybody's.
            signs = max((k.retires_at for k in self._keys.values()), default=0) - time.time()
            signs = max(signs, 0) + SIGNS_SECONDS
            await signing_keys.insert(
                conn,
                kid,
                self._sealer.seal(plain, _about(kid)),
                signs_seconds=signs,
                verifies_seconds=signs + SIGNED_LIVES_SECONDS,
            )
            made = self._opened(await signing_keys.live(conn))
        self._keys = made

    async def _load(self, age_seconds: float) -> None:
        """Read the keys again, unless that was done within `age_seconds`."""
        if time.monotonic() - self._loaded_at < age_seconds:
            return
        async with self._one_at_a_time:
            if time.monotonic() - self._loaded_at < age_seconds:
                return
            async with self._pool.connection() as conn:
                rows = await signing_keys.live(conn)
            self._keys = self._opened(rows)
            self._loaded_at = time.monotonic()

    def _whose_turn(self) -> SigningKey | None:
        now = time.time()
        return next((key for key in self._keys.values() if key.retires_at > now), None)

    def _opened(self, rows: list[SealedKey]) -> dict[str, SigningKey]:
        """In the order of `rows`. What another secret key has sealed is none of our keys."""
        opened = {}
        for row in rows:
            known = self._keys.get(row.kid) or self._open(row)
            if known is not None:
                opened[row.kid] = msgspec.structs.replace(
                    known,
                    retires_at=row.retires_at.timestamp(),
                    expires_at=row.expires_at.timestamp(),
                )
        return opened

    def _open(self, row: SealedKey) -> SigningKey | None:
        try:
            plain = self._sealer.open(row.private_key, _about(row.kid))
        except SealBroken:
            return None
        # Sealed by ourselves, so it is as we made it: proving that takes a tenth of a second.
        private = load_der_private_key(plain, None, unsafe_skip_rsa_key_validation=True)
        assert isinstance(private, rsa.RSAPrivateKey)
        return SigningKey(row.kid, private, _jwk(private), 0, 0)


def encode(raw: bytes) -> str:
    """Base64url without padding (RFC 7515)."""
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def _about(kid: str) -> str:
    return f"signing-key:{kid}"


def _jwk(private: rsa.RSAPrivateKey) -> Jwk:
    """With its thumbprint (RFC 7638) as its id."""
    numbers = private.public_key().public_numbers()
    e, n = _number(numbers.e), _number(numbers.n)
    thumbprint = hashlib.sha256(f'{{"e":"{e}","kty":"RSA","n":"{n}"}}'.encode()).digest()
    return Jwk(encode(thumbprint), n, e)


def _number(value: int) -> str:
    return encode(value.to_bytes((value.bit_length() + 7) // 8, "big"))
