"""The **reckoning**: what a clientele's receipts add up to, against what a server has.

    reckon(books_of(diary.receipts()), await books_at(dsn))

Both are **books** of the same form. One side is computed from the diary alone, the other read
from the tables alone; nothing of the product's code comes between. Lost is what was acknowledged
and is not there, doubled what is there and was not acknowledged (when every outcome is known,
nothing may be), imbalance an amount that differs.
"""

from collections import Counter

import asyncpg
import msgspec

from clientele import Receipt

HAPPENED = {
    "post a job": ("job",),
    "apply": ("application",),
    "hire": ("contract.created",),
    "pay": ("payment.completed",),
    "approve": ("contract.approved",),
    "work": ("contract.work_updated",),
    "ask for the release": ("release.requested",),
    "release": ("contract.released",),
    "cancel": ("contract.cancelled",),
    "refund": ("contract.refunded",),
    "withdraw": ("payout", "transfer at the provider", "payout at the provider"),
    "offer": ("contract.created",),
    "accept": ("contract.approved",),
    "deliver": ("contract.delivered",),
    "release a part": ("contract.released",),
    "give back": (
        "refund.full-initiated", "refund.full-succeeded", "contract.refunded",
        "refund at the provider",
    ),
    "call off": (
        "contract.cancelled", "refund.full-initiated", "refund.full-succeeded",
        "contract.refunded", "refund at the provider",
    ),
    "reject": ("contract.rejected",),
    "pay out": ("payout", "transfer at the provider", "payout at the provider"),
}  # fmt: skip
"""What each verb leaves behind, exactly once; refunds and payouts when the worker has made them."""

# One row for each: of what, what, how often.
EVENTS = """
SELECT CASE WHEN c.business_id = 1 THEN c.public_id ELSE c.number END, e.type, count(*)
FROM event AS e INNER JOIN contract AS c ON c.id = e.contract_id
WHERE e.type = ANY($1::text[])
GROUP BY 1, 2
UNION ALL
SELECT public_id, 'job', 1 FROM job
UNION ALL
SELECT j.public_id, 'application', count(*)
FROM application AS a INNER JOIN job AS j ON j.id = a.job_id
GROUP BY 1
UNION ALL
SELECT public_id, 'payout', 1 FROM payout
UNION ALL
SELECT reference, 'transfer at the provider', count(*) FROM sandbox.transfer GROUP BY 1
UNION ALL
SELECT reference, 'payout at the provider', count(*) FROM sandbox.payout GROUP BY 1
UNION ALL
SELECT c.number, 'refund at the provider', count(*)
FROM sandbox.refund AS r
INNER JOIN payment AS p ON p.provider_payment_id = r.payment_id
INNER JOIN contract AS c ON c.id = p.contract_id
GROUP BY 1
"""
# An account's kind is its first bits, its owner the last (docs/decisions/0002).
MONEY = """
SELECT CASE WHEN c.business_id = 1 THEN c.public_id ELSE c.number END, 'paid in',
    sum(t.amount_minor)
FROM transfer AS t INNER JOIN contract AS c ON c.id = t.contract_id
WHERE t.credit >> 57 = 1
GROUP BY 1
UNION ALL
SELECT coalesce(p.phone, p.public_id), 'wallet', sum(side.minor)
FROM (
    SELECT credit AS account, amount_minor AS minor FROM transfer
    UNION ALL SELECT debit, -amount_minor FROM transfer
) AS side
INNER JOIN party AS p ON p.id = side.account & ((1::bigint << 40) - 1)
WHERE side.account >> 57 = 2
GROUP BY 1
UNION ALL
SELECT coalesce(p.phone, p.public_id), 'balance', b.amount_minor
FROM balance AS b INNER JOIN party AS p ON b.account & ((1::bigint << 40) - 1) = p.id
WHERE b.account >> 57 = 2
UNION ALL
SELECT 'nobody', 'suspense', sum(amount_minor) FROM transfer WHERE credit >> 57 = 12
"""
REPLIES = "SELECT key, status, reply FROM idempotency_key"


class Books(msgspec.Struct):
    """What has happened to each thing and how often, minor units, and the answer under each key."""

    done: Counter[tuple[str, str]] = msgspec.field(default_factory=Counter)
    money: Counter[tuple[str, str]] = msgspec.field(default_factory=Counter)
    replies: dict[str, tuple[int, str]] = {}


class Reckoning(msgspec.Struct):
    """What differs, one line each; nothing of it may be."""

    lost: list[str] = []
    doubled: list[str] = []
    imbalance: list[str] = []


def books_of(receipts: list[Receipt]) -> Books:
    """What must be there, by the clientele's own word."""
    books = Books()
    for receipt in receipts:
        if receipt.key:
            books.replies[receipt.key] = (receipt.status, receipt.answer)
        if receipt.surplus:
            continue
        for what in HAPPENED.get(receipt.verb, ()):
            books.done[receipt.of, what] += 1
        if receipt.paid_in:
            books.money[receipt.of, "paid in"] += receipt.paid_in
        for whose, minor in receipt.owed.items():
            books.money[whose, "wallet"] += minor
            books.money[whose, "balance"] += minor
    return books


async def books_at(dsn: str) -> Books:
    """What is there, in one snapshot."""
    types = sorted({what for verb in HAPPENED.values() for what in verb if "." in what})
    conn = await asyncpg.connect(dsn)
    try:
        async with conn.transaction(isolation="repeatable_read", readonly=True):
            done = await conn.fetch(EVENTS, types)
            money = await conn.fetch(MONEY)
            replies = await conn.fetch(REPLIES)
    finally:
        await conn.close()
    return Books(
        Counter({(of, what): count for of, what, count in done}),
        Counter({(of, what): int(minor) for of, what, minor in money if minor}),
        {key: (status, reply.decode()) for key, status, reply in replies},
    )


def reckon(own: Books, theirs: Books) -> Reckoning:
    """Compare, thing by thing."""
    found = Reckoning()
    for (of, what), count in (own.done - theirs.done).items():
        found.lost.append(f"{what} of {of}: acknowledged, {count} missing")
    for (of, what), count in (theirs.done - own.done).items():
        found.doubled.append(f"{what} of {of}: {count} more than were acknowledged")
    for key, reply in own.replies.items():
        kept = theirs.replies.get(key)
        if kept != reply:
            found.lost.append(f"the answer under {key} was {reply}, and is {kept}")
    for key in theirs.replies.keys() - own.replies.keys():
        found.doubled.append(f"there is an answer under {key} that nobody got")
    for of, what in own.money.keys() | theirs.money.keys():
        ours, other = own.money[of, what], theirs.money[of, what]
        if ours != other:
            found.imbalance.append(f"{what} of {of}: {ours} by the receipts, {other} by the tables")
    return found
