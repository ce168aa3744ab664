"""What tests of the partner face share: refusals that changed nothing, and the books.

body = await refused(broker, deal.release(), 400, "This contract is in dispute.")
await refused(broker, deal.refund(...), 400, field="amount", says="must be greater than 0")
await only_its_own(broker, rival, lambda who, number: who.client.post(...), deal.number)
assert await books(deal) == row("1143.75", ...)
"""

import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from decimal import Decimal
from typing import Any, NamedTuple

import httpx

from deal import Deal
from digest import digest
from earnest.domain.money import CURRENCIES, to_major
from earnest.ledger.accounts import Kind
from earnest.store.db import Pool
from earnest.store.verify import verify
from partners import Broker
from web import INSIDES

FAILURE = ["message", "status", "validationErrors", "succeeded", "errors"]
SUCCESS = ["data", "message", "status", "validationErrors", "succeeded", "errors"]
UNKNOWN_NUMBER = "CNT-2601-00999999"
MALFORMED_NUMBERS = (
    "xyz",
    "CNT-2601-0010000",
    "CNT-2601-001000021",
    "cnt-2601-00100002",
    "CNT-26O1-00100002",
    "CNT-2601-00100002%0A",
    "%20CNT-2601-00100002",
    "CNT-2601-0010000%D9%A2",
    "CON48120377",
    "6" * 24,
    "%00",
    "null",
    "undefined",
    "[object%20Object]",
)
SET_CLIENT_STATUS = "UPDATE api_client SET status = $2 WHERE client_id = $1"
BALANCES = """
SELECT account >> 57 AS kind, sum(amount_minor)::bigint AS minor
FROM (
    SELECT credit AS account, amount_minor FROM transfer
    UNION ALL
    SELECT debit, -amount_minor FROM transfer
) AS entry
GROUP BY account >> 57
"""


async def at(broker: Broker, *points: str, **terms: Any) -> list[Deal]:
    """A contract at each of these points."""
    return [await Deal.at(broker, point, **terms) for point in points]


def failure(answer: httpx.Response, status: int) -> dict[str, Any]:
    """The body of a refusal, which must have the shape of every refusal (spec 1.1)."""
    assert answer.status_code == status, answer.text
    assert not INSIDES.search(answer.text), answer.text
    assert answer.headers["content-type"] == "application/json"
    body: dict[str, Any] = answer.json()
    assert list(body) == FAILURE
    assert (body["status"], body["succeeded"]) == (status, False)
    assert body["message"]
    assert body["errors"]
    return body


async def refused(
    broker: Broker,
    asked: Awaitable[httpx.Response],
    status: int,
    message: str | None = None,
    *,
    field: str | None = None,
    says: str | None = None,
) -> dict[str, Any]:
    """A refusal with this status, after which nothing has changed.

    With a `field`, it is the one that is named; `says` is what is said of it.
    """
    pool: Pool = broker.app.state.pool
    before = await digest(pool)
    body = failure(await asked, status)
    assert await digest(pool) == before
    if message is not None:
        assert body["message"] == message
    if field is not None or says is not None:
        (error,) = body["validationErrors"]
        assert error["field"] == (field or error["field"]), body
        assert error["message"].startswith(error["field"])
        if says is not None:
            assert error["message"] == f"{error['field']} {says}"
    elif message is not None and message != "Invalid contract ID":
        assert body["validationErrors"] == []
    return body


Ask = Callable[[Broker, str], Awaitable[httpx.Response]]


async def only_its_own(broker: Broker, rival: Broker, ask: Ask, number: str) -> None:
    """A contract of `broker` is to `rival` as one that there is not, down to the bytes (E13);
    malformed ids are 400; a blocked client is refused at once, a lost token 401."""
    await refused(broker, ask(rival, number), 404, "Contract not found")
    others, unknown = await ask(rival, number), await ask(rival, UNKNOWN_NUMBER)
    assert others.content == unknown.content
    assert others.headers.keys() == unknown.headers.keys()
    await refused(broker, ask(broker, UNKNOWN_NUMBER), 404, "Contract not found")
    for malformed in MALFORMED_NUMBERS:
        await refused(broker, ask(broker, malformed), 400, "Invalid contract ID")
    async with blocked(broker):
        await refused(broker, ask(broker, number), 403, "Your account is blocked")


@contextlib.asynccontextmanager
async def blocked(broker: Broker) -> AsyncIterator[None]:
    """While the operator has blocked its client."""
    pool: Pool = broker.app.state.pool
    async with pool.connection() as conn:
        await conn.execute(SET_CLIENT_STATUS, broker.client_id, "Blocked")
    yield
    async with pool.connection() as conn:
        await conn.execute(SET_CLIENT_STATUS, broker.client_id, "Active")


async def once_only(
    broker: Broker, ask: Callable[[str], Awaitable[httpx.Response]], other: Awaitable[Any]
) -> httpx.Response:
    """`ask` with one key twice has one effect and one reply; the key with `other` is 422 (E5)."""
    pool: Pool = broker.app.state.pool
    first = await ask("key-1")
    assert first.status_code == 200, first.text
    assert "idempotent-replayed" not in first.headers
    before = await digest(pool)
    again = await ask("key-1")
    assert (again.status_code, again.content) == (200, first.content)
    assert again.headers["idempotent-replayed"] == "true"
    assert await digest(pool) == before
    reused = "This Idempotency-Key was already used for a different request."
    await refused(broker, other, 422, reused)
    return first


def done(answer: httpx.Response, message: str) -> Any:
    """The data of a success, with its numbers as they are written."""
    assert answer.status_code == 200, answer.text
    body = json.loads(answer.text, parse_float=Decimal)
    assert list(body) == SUCCESS
    assert body["message"] == message
    assert (body["status"], body["validationErrors"]) == (200, [])
    assert (body["succeeded"], body["errors"]) == (True, [])
    return body["data"]


async def sound(broker: Broker) -> None:
    """Nothing is wrong in the whole database, to the product's own eyes."""
    report = await verify(broker.app.state.settings.database_url)
    assert report.violations == (), report.lines()
    assert report.counts["contract"] > 0


class Books(NamedTuple):
    """What the ledger says, in major units: money at the provider, what is held, what Omar has,
    our fees, the state's tax, and what is owed to the business."""

    cash: Decimal
    held: Decimal
    seller: Decimal
    fees: Decimal
    tax: Decimal
    partner: Decimal


async def books(deal: Deal) -> Books:
    """The books of a server that has `deal`'s currency only."""
    pool: Pool = deal.broker.app.state.pool
    currency = CURRENCIES[(await deal.proof())["currency"]]
    async with pool.connection() as conn:
        found = {Kind(row["kind"]): row["minor"] for row in await conn.fetch(BALANCES)}
    kinds = (
        Kind.PROVIDER_CASH,
        Kind.HELD,
        Kind.WALLET,
        Kind.ESCROW_FEE_INCOME,
        Kind.TAX_PAYABLE,
        Kind.PARTNER_PAYABLE,
    )
    assert sum(found.values()) == 0
    assert {kind for kind in found if found[kind]} <= set(kinds)
    cash, *others = (to_major(found.get(kind, 0), currency) for kind in kinds)
    return Books(-cash, *others)


def row(*amounts: str) -> Books:
    """A row of a table of books."""
    return Books(*map(Decimal, amounts))
