"""**Businesses** and how they sign in: one **client** each, an id and a secret.

Invariants: a partner has exactly one client from the moment it exists; of its secret nothing but
a SHA-256 is kept (32 random bytes need no slower hash), so it is shown once; tokens of an earlier
generation are no longer good, and a new secret begins a new generation. Whatever changes a
business comes with its event (`business.created`, `.changed`, `.secret-rotated`, `.blocked`,
`.unblocked`, subject `business:PUBLIC_ID`) in the same database transaction.
"""

import hashlib
import hmac
import secrets
import string
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import asyncpg
import msgspec

from earnest.domain import partner_settings
from earnest.domain.audit import canonical
from earnest.domain.business import MARKETPLACE, Business, Settings
from earnest.domain.money import CURRENCIES, currency
from earnest.domain.partner_settings import Wanted
from earnest.errors import InvalidField, NotFound
from earnest.store.accounts import INSERT_EVENT, Account
from earnest.store.contracts import Page, business_from

CLIENT_ID_CHARACTERS = 24
SECRET_BYTES = 32
DEFAULT_CURRENCY = "SAR"
Status = Literal["Active", "Blocked"]
EVENTS: dict[Status, str] = {"Active": "business.unblocked", "Blocked": "business.blocked"}


class BusinessNotFound(NotFound):
    """Business not found"""


class Partner(msgspec.Struct, frozen=True):
    """A business with its client. `status` is Active or Blocked."""

    business: Business
    public_id: UUID
    client_id: str
    status: Status
    token_generation: int
    created_at: datetime
    rotated_at: datetime


class Credentials(msgspec.Struct, frozen=True):
    """What a partner signs in with. Nobody can read `secret` again."""

    partner: Partner
    secret: str


class Client(msgspec.Struct, frozen=True):
    """Who signs in. `business` is a key."""

    client_id: str
    business: int
    status: Status
    token_generation: int


FIND = "SELECT id, name, currency, settings FROM business WHERE id = $1"

GET = """
SELECT
    b.id, b.name, b.currency, b.settings, b.public_id, c.client_id, c.status, c.token_generation,
    b.created_at, c.rotated_at
FROM business AS b
INNER JOIN api_client AS c ON b.id = c.business_id
WHERE b.public_id = $1
"""

# Whoever changes a business holds its row, so that changes happen one after the other.
LOCK = """
SELECT
    b.id, b.name, b.currency, b.settings, b.public_id, c.client_id, c.status, c.token_generation,
    b.created_at, c.rotated_at
FROM business AS b
INNER JOIN api_client AS c ON b.id = c.business_id
WHERE b.public_id = $1
FOR NO KEY UPDATE OF b, c
"""

LOCK_MARKETPLACE = """
SELECT b.id, b.name, b.currency, b.settings, b.public_id
FROM business AS b WHERE b.id = $1
FOR NO KEY UPDATE OF b
"""

LIST = """
SELECT
    b.id, b.name, b.currency, b.settings, b.public_id, c.client_id, c.status, c.token_generation,
    b.created_at, c.rotated_at
FROM business AS b
INNER JOIN api_client AS c ON b.id = c.business_id
ORDER BY b.id DESC
LIMIT $1 OFFSET $2
"""

COUNT = "SELECT count(*) FROM api_client"

INSERT = """
INSERT INTO business (id, name, currency, settings, created_at)
VALUES (nextval('business_key'), $1, $2, $3, business_now())
RETURNING id, public_id, created_at
"""

INSERT_CLIENT = """
INSERT INTO api_client (client_id, business_id, secret_hash, created_at, rotated_at)
VALUES ($1, $2, $3, $4, $4)
"""

CHANGE = "UPDATE business SET name = $2, settings = $3 WHERE id = $1"

ROTATE = """
UPDATE api_client SET
    secret_hash = $2, token_generation = token_generation + 1, rotated_at = business_now()
WHERE business_id = $1
RETURNING token_generation, rotated_at
"""

SET_STATUS = "UPDATE api_client SET status = $2 WHERE business_id = $1"

NOW = "SELECT business_now()"

CLIENT = """
SELECT client_id, business_id AS business, status, token_generation, secret_hash
FROM api_client WHERE client_id = $1
"""

CLIENT_ACCOUNT = "SELECT status, token_generation FROM api_client WHERE business_id = $1"


async def marketplace(conn: asyncpg.Connection) -> Business:
    """The built-in business with its present settings."""
    found = await find(conn, MARKETPLACE)
    assert found is not None
    return found


async def find(conn: asyncpg.Connection, key: int) -> Business | None:
    """The business with this key."""
    row = await conn.fetchrow(FIND, key)
    return None if row is None else business_from(row, 0)


async def get(conn: asyncpg.Connection, public_id: UUID) -> Partner:
    """The partner with this public id. Raises BusinessNotFound, also for the marketplace."""
    row = await conn.fetchrow(GET, public_id)
    if row is None:
        raise BusinessNotFound
    return _partner(row)


class Partners(msgspec.Struct, frozen=True):
    """Some partners of `total`."""

    partners: list[Partner]
    total: int


async def every(conn: asyncpg.Connection, page: Page) -> Partners:
    """All partners, newest first."""
    rows = await conn.fetch(LIST, page.limit, page.offset)
    return Partners([_partner(row) for row in rows], await conn.fetchval(COUNT))


# -- changes, each within the caller's database transaction -----------------------------------


async def create(conn: asyncpg.Connection, wanted: Wanted, made_by: str) -> Credentials:
    """A new partner, active at once. `made_by` is an actor's name. Raises InvalidField."""
    of = currency(wanted.currency if isinstance(wanted.currency, str) else DEFAULT_CURRENCY)
    if not isinstance(wanted.name, str):
        raise InvalidField("name", "is required")
    name = partner_settings.business_name(wanted.name)
    settings = partner_settings.new_settings(wanted, of)
    client_id, secret = _new_client_id(), _new_secret()
    row = await conn.fetchrow(INSERT, name, of.code, _encoded(settings))
    assert row is not None
    key, public_id, at = row
    await conn.execute(INSERT_CLIENT, client_id, key, _hash(secret), at)
    partner = Partner(
        Business(key, name, of.code, settings), public_id, client_id, "Active", 1, at, at
    )
    await _tell(conn, partner, "business.created", made_by, at, described(partner))
    return Credentials(partner, secret)


async def change(
    conn: asyncpg.Connection, public_id: UUID, wanted: Wanted, made_by: str
) -> Partner:
    """Other settings from the next contract on. What stays the same is not written at all.

    The event's body is `{"before": ..., "after": ...}` with what differs. Raises InvalidField,
    for another currency too: the books of a partner have one; BusinessNotFound.
    """
    before = await _lock(conn, public_id)
    business = before.business
    if isinstance(wanted.currency, str) and wanted.currency != business.currency:
        raise InvalidField("currency", f"stays {business.currency}: create another business")
    of = CURRENCIES[business.currency]
    name = business.name
    if isinstance(wanted.name, str):
        name = partner_settings.business_name(wanted.name)
    settings = partner_settings.applied(business.settings, wanted, of)
    changed = msgspec.structs.replace(business, name=name, settings=settings)
    after = msgspec.structs.replace(before, business=changed)
    old, new = described(before), described(after)
    differing = [field for field in new if new[field] != old[field]]
    if not differing:
        return before
    await conn.execute(CHANGE, business.key, name, _encoded(settings))
    body = {"before": _only(old, differing), "after": _only(new, differing)}
    await _tell(conn, after, "business.changed", made_by, await conn.fetchval(NOW), body)
    return after


async def change_marketplace(conn: asyncpg.Connection, wanted: Wanted, made_by: str) -> Business:
    """Other payouts of the built-in business; what else is wanted is none of its settings.

    Its event is as `change` writes it. Raises InvalidField.
    """
    row = await conn.fetchrow(LOCK_MARKETPLACE, MARKETPLACE)
    assert row is not None
    before = business_from(row, 0)
    assert before is not None
    of = CURRENCIES[before.currency]
    settings = partner_settings.payouts_applied(before.settings, wanted, of)
    after = msgspec.structs.replace(before, settings=settings)
    old, new = (partner_settings.payouts_written(one.settings, of) for one in (before, after))
    differing = [field for field in new if new[field] != old[field]]
    if differing:
        await conn.execute(CHANGE, after.key, after.name, _encoded(settings))
        body = canonical({"before": _only(old, differing), "after": _only(new, differing)})
        subject, at = f"business:{row[4]}", await conn.fetchval(NOW)
        await conn.execute(INSERT_EVENT, subject, "business.changed", made_by, at, body)
    return after


async def rotate_secret(conn: asyncpg.Connection, public_id: UUID, made_by: str) -> Credentials:
    """Another secret. The old one and every token it was given for are void at once.

    Raises BusinessNotFound.
    """
    before = await _lock(conn, public_id)
    secret = _new_secret()
    row = await conn.fetchrow(ROTATE, before.business.key, _hash(secret))
    assert row is not None
    generation, at = row
    after = msgspec.structs.replace(before, token_generation=generation, rotated_at=at)
    await _tell(conn, after, "business.secret-rotated", made_by, at, {"clientId": after.client_id})
    return Credentials(after, secret)


async def set_status(
    conn: asyncpg.Connection, public_id: UUID, status: Status, made_by: str
) -> Partner:
    """Keep a partner out from its next request on, or let it in again; its tokens come back.

    Contracts and money stay as they are; what has that status already is not written. Raises
    BusinessNotFound.
    """
    before = await _lock(conn, public_id)
    if before.status == status:
        return before
    await conn.execute(SET_STATUS, before.business.key, status)
    after = msgspec.structs.replace(before, status=status)
    body = {"clientId": after.client_id}
    await _tell(conn, after, EVENTS[status], made_by, await conn.fetchval(NOW), body)
    return after


# -- signing in -------------------------------------------------------------------------------


async def authenticate(conn: asyncpg.Connection, client_id: str, secret: str) -> Client | None:
    """Whose id and secret these are, blocked or not; None for nobody's.

    An unknown id costs what a wrong secret does: one probe of an index, one comparison.
    """
    row = await conn.fetchrow(CLIENT, client_id)
    known: bytes = row["secret_hash"] if row else _NOBODYS
    fits = hmac.compare_digest(known, _hash(secret))
    if row is None or not fits:
        return None
    return Client(row["client_id"], row["business"], row["status"], row["token_generation"])


async def client_account(conn: asyncpg.Connection, business: int) -> Account | None:
    """Where the client of the business with this key stands now."""
    row = await conn.fetchrow(CLIENT_ACCOUNT, business)
    return None if row is None else Account(row["status"], row["token_generation"])


def described(partner: Partner) -> dict[str, Any]:
    """What operators may see of a partner, in the words of the admin API."""
    business = partner.business
    return {
        "name": business.name,
        "currency": business.currency,
        "clientId": partner.client_id,
        **partner_settings.written(business.settings, CURRENCIES[business.currency]),
    }


_NOBODYS = secrets.token_bytes(32)


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


def _new_client_id() -> str:
    alphabet = string.ascii_lowercase + string.digits
    return "ec_" + "".join(secrets.choice(alphabet) for _ in range(CLIENT_ID_CHARACTERS))


def _new_secret() -> str:
    return f"es_{secrets.token_urlsafe(SECRET_BYTES)}"


def _encoded(settings: Settings) -> str:
    return msgspec.json.encode(settings).decode()


def _only(described: dict[str, Any], fields: list[str]) -> dict[str, Any]:
    return {field: described[field] for field in fields}


async def _lock(conn: asyncpg.Connection, public_id: UUID) -> Partner:
    row = await conn.fetchrow(LOCK, public_id)
    if row is None:
        raise BusinessNotFound
    return _partner(row)


async def _tell(
    conn: asyncpg.Connection,
    partner: Partner,
    type_: str,
    made_by: str,
    at: datetime,
    body: dict[str, Any],
) -> None:
    subject = f"business:{partner.public_id}"
    await conn.execute(INSERT_EVENT, subject, type_, made_by, at, canonical(body))


def _partner(row: asyncpg.Record) -> Partner:
    business = business_from(row, 0)
    assert business is not None
    return Partner(business, *row[4:10])
