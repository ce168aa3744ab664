"""Whether **seals** open: what the database keeps sealed, against the secret key of this server.

Invariant: it looks and changes nothing, and lets go of what it has opened at once.
"""

import asyncpg
import msgspec

from earnest.sealing import SealBroken, Sealer

# The youngest of each kind: what was sealed with a key of long ago may be lost already. What each
# is sealed for is said where it is sealed: store/kyc.py, store/idempotency.py, partner/signing.py
# and partner/webhooks.py.
YOUNGEST = """
(
    SELECT 'identity data' AS what, 'kyc:' || k.party_id || ':' || s.name AS about, s.sealed
    FROM kyc AS k
    CROSS JOIN LATERAL (
        VALUES ('national_id', k.national_id), ('first_name', k.first_name), ('iban', k.iban)
    ) AS s (name, sealed)
    WHERE s.sealed IS NOT NULL
    ORDER BY k.updated_at DESC, k.party_id, s.name
    LIMIT 100
)
UNION ALL
(
    SELECT 'webhook secrets', 'webhook:' || w.id, w.secret FROM webhook_endpoint AS w
    ORDER BY w.updated_at DESC, w.id
    LIMIT 100
)
UNION ALL
(
    SELECT 'signing keys', 'signing-key:' || g.kid, g.private_key FROM signing_key AS g
    ORDER BY g.created_at DESC, g.kid
    LIMIT 2
)
UNION ALL
(
    SELECT 'stored replies', 'reply:' || encode(i.scope, 'hex'), i.reply FROM idempotency_key AS i
    WHERE i.is_sealed AND i.reply <> ''
    ORDER BY i.created_at DESC, i.scope
    LIMIT 100
)
"""


class Tried(msgspec.Struct, frozen=True):
    """How many of the youngest values of one kind there are, and how many open."""

    what: str
    found: int
    opened: int


async def try_seals(conn: asyncpg.Connection, sealer: Sealer) -> list[Tried]:
    """One for each kind of which there is anything."""
    tried: dict[str, list[bool]] = {}
    for what, about, sealed in await conn.fetch(YOUNGEST):
        tried.setdefault(what, []).append(_opens(sealer, sealed, about))
    return [Tried(what, len(opened), sum(opened)) for what, opened in tried.items()]


def _opens(sealer: Sealer, sealed: bytes, about: str) -> bool:
    try:
        sealer.open(sealed, about)
    except SealBroken:
        return False
    return True
