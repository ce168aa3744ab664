"""The ledger's own invariants: transfers, balances, rollups, currencies (1, 2, 4, 5, 6, 9, 15,
21, 24). An account's number is taken apart as in `earnest.ledger.accounts`."""

from earnest.store.invariant import Check

TRANSFER_SOUND = """
SELECT t.id::text, NULL, 'amount > 0, two accounts, one currency',
    format('%s from %s to %s', t.amount_minor, t.debit, t.credit)
FROM transfer AS t
WHERE t.amount_minor <= 0 OR t.debit = t.credit
    OR account_currency(t.debit) <> account_currency(t.credit)
ORDER BY t.id
LIMIT 1
"""

BALANCE_IS_SUM = """
SELECT account::text, NULL, coalesce(s.amount, 0)::text, coalesce(b.amount_minor::text, 'no row')
FROM (
    SELECT side.account, sum(side.amount) AS amount
    FROM transfer AS t
    CROSS JOIN LATERAL (
        VALUES (t.credit, t.amount_minor), (t.debit, -t.amount_minor)
    ) AS side (account, amount)
    WHERE side.account >> 57 <= 2
    GROUP BY side.account
) AS s
FULL JOIN balance AS b USING (account)
WHERE coalesce(s.amount, 0) <> coalesce(b.amount_minor, 0)
ORDER BY account
LIMIT 1
"""

# Rollup + tail = plain sum, so the rollup must be the plain sum below the horizon.
ROLLUP_IS_SUM = """
SELECT account::text, NULL,
    format('debits %s, credits %s', coalesce(s.debits, 0), coalesce(s.credits, 0)),
    format('debits %s, credits %s', coalesce(r.debits_minor, 0), coalesce(r.credits_minor, 0))
FROM (
    SELECT side.account, sum(side.debit) AS debits, sum(side.credit) AS credits
    FROM transfer AS t
    CROSS JOIN LATERAL (
        VALUES (t.debit, t.amount_minor, 0), (t.credit, 0, t.amount_minor)
    ) AS side (account, debit, credit)
    WHERE side.account >> 57 > 2
        AND t.xid < (SELECT h.horizon_xid FROM ledger_horizon AS h)
    GROUP BY side.account
) AS s
FULL JOIN rollup AS r USING (account)
WHERE coalesce(s.debits, 0) <> coalesce(r.debits_minor, 0)
    OR coalesce(s.credits, 0) <> coalesce(r.credits_minor, 0)
ORDER BY account
LIMIT 1
"""

# Above the oldest transaction that runs, a rollup could miss one that commits later.
HORIZON_IS_CLOSED = """
SELECT h.singleton::text, NULL, format('at most %s', now.xmin), h.horizon_xid::text
FROM ledger_horizon AS h
CROSS JOIN LATERAL (
    SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint + h.xid_offset AS xmin
) AS now
WHERE h.horizon_xid > now.xmin
"""

# Held accounts are of kind 1: owner in the low 40 bits, tranche in the 7 above them.
HELD_FITS_STATE = """
SELECT contract_id::text, c.public_id,
    CASE
        WHEN c.id IS NULL THEN 'no balance without a tranche'
        WHEN c.state IN ('held', 'release_requested', 'refund_pending')
            THEN format('more than 0 held for tranche %s, which is %s', tranche, c.state)
        ELSE format('0 held for tranche %s, which is %s', tranche, c.state)
    END,
    coalesce(h.amount_minor, 0)::text
FROM (
    SELECT c.id, c.id AS contract_id, (one.position - 1)::integer AS tranche, one.state,
        c.public_id
    FROM contract AS c
    CROSS JOIN LATERAL unnest(c.tranches) WITH ORDINALITY AS one (state, position)
) AS c
FULL JOIN (
    SELECT b.account & ((1::bigint << 40) - 1) AS contract_id,
        ((b.account >> 40) & 127)::integer AS tranche, b.amount_minor
    FROM balance AS b
    WHERE b.account >> 57 = 1
) AS h USING (contract_id, tranche)
WHERE c.id IS NULL OR (coalesce(h.amount_minor, 0) > 0)
    <> (c.state IN ('held', 'release_requested', 'refund_pending'))
ORDER BY contract_id, tranche
LIMIT 1
"""

NEVER_BELOW_ZERO = """
SELECT b.account::text, NULL, '0 or more', b.amount_minor::text
FROM balance AS b
WHERE b.amount_minor < 0
ORDER BY b.account
LIMIT 1
"""

# Who may own an account: a tranche of a contract, a person, one of our accounts at a provider,
# or a business; and in whose currency. Suspense takes money in any currency.
ACCOUNT_IS_WHOLE = """
WITH account AS (
    SELECT used.number, used.number >> 57 AS kind, account_currency(used.number) AS currency,
        ((used.number >> 40) & 127)::integer AS sub, used.number & ((1::bigint << 40) - 1) AS owner
    FROM (
        SELECT t.debit AS number FROM transfer AS t
        UNION
        SELECT t.credit FROM transfer AS t
        UNION
        SELECT b.account FROM balance AS b
        UNION
        SELECT r.account FROM rollup AS r
    ) AS used
)
SELECT a.number::text, NULL,
    'a known kind and currency, and an owner with that currency',
    format('kind %s, currency %s, sub %s, owner %s', a.kind, a.currency, a.sub, a.owner)
FROM account AS a
LEFT JOIN unnest($1::text[], $2::integer[]) AS n (code, number) ON n.number = a.currency
LEFT JOIN contract AS c ON a.kind = 1 AND c.id = a.owner
LEFT JOIN party AS p ON a.kind = 2 AND p.id = a.owner
LEFT JOIN provider_account AS v ON a.kind IN (3, 8, 9, 10, 11, 12, 13) AND v.id = a.owner
LEFT JOIN business AS b ON b.id = CASE WHEN a.kind = 2 THEN p.business_id
    WHEN a.kind IN (4, 5, 6, 7) THEN a.owner END
WHERE (CASE
    WHEN a.kind = 1 THEN c.currency = n.code AND a.sub < cardinality(c.tranches)
    WHEN a.kind IN (2, 4, 5, 6, 7) THEN b.currency = n.code AND a.sub = 0
    WHEN a.kind IN (3, 8, 9, 10, 11, 12, 13)
        THEN n.code IS NOT NULL AND v.id IS NOT NULL AND a.sub = 0
END) IS NOT TRUE
ORDER BY a.number
LIMIT 1
"""

ONE_CURRENCY_PER_CONTRACT = """
SELECT c.id::text, c.public_id, b.currency, c.currency
FROM contract AS c
INNER JOIN business AS b ON b.id = c.business_id
WHERE c.currency <> b.currency
ORDER BY c.id
LIMIT 1
"""

ONE_CURRENCY_PER_PAYMENT = """
SELECT p.id::text, p.public_id, b.currency, p.currency
FROM payment AS p
INNER JOIN business AS b ON b.id = p.business_id
WHERE p.currency <> b.currency
ORDER BY p.id
LIMIT 1
"""

# The last leg of a refund, from transit to the provider, names its contract and holds nothing; so
# does what a payer's bank takes, see verify_chargebacks.
TRANSFER_OF_ITS_CONTRACT = """
SELECT t.id::text, NULL, format('contract %s', t.owner), coalesce(t.contract_id::text, 'none')
FROM (
    SELECT d.id, d.contract_id, d.debit & ((1::bigint << 40) - 1) AS owner
    FROM transfer AS d
    WHERE d.debit >> 57 = 1
    UNION ALL
    SELECT d.id, d.contract_id, d.credit & ((1::bigint << 40) - 1)
    FROM transfer AS d
    WHERE d.credit >> 57 = 1
    UNION ALL
    SELECT d.id, d.contract_id, NULL
    FROM transfer AS d
    WHERE d.debit >> 57 <> 1 AND d.credit >> 57 <> 1
        AND NOT (d.movement = 'refunded_to_source' AND d.debit >> 57 = 9 AND d.credit >> 57 = 3)
        AND d.movement NOT IN ('charged_back', 'chargeback_returned')
) AS t
WHERE t.contract_id IS DISTINCT FROM t.owner
ORDER BY t.id
LIMIT 1
"""

NO_MORE_OUT_THAN_IN = """
SELECT account::text, NULL, format('at most %s', went.came_minor), went.gone_minor::text
FROM (
    SELECT side.account, sum(side.credit) AS came_minor, sum(side.debit) AS gone_minor
    FROM transfer AS t
    CROSS JOIN LATERAL (
        VALUES (t.credit, t.amount_minor, 0), (t.debit, 0, t.amount_minor)
    ) AS side (account, credit, debit)
    WHERE side.account >> 57 = 1
    GROUP BY side.account
) AS went
WHERE went.gone_minor > went.came_minor
ORDER BY account
LIMIT 1
"""

SETTLED_ONCE = """
SELECT t.debit::text, NULL, 'one release or refund',
    format('%s commits', count(DISTINCT t.commit_id))
FROM transfer AS t
WHERE t.debit >> 57 = 1
GROUP BY t.debit
HAVING count(DISTINCT t.commit_id) > 1
ORDER BY t.debit
LIMIT 1
"""

REVERSED_ONCE = """
SELECT t.id::text, NULL, 'the mirror of a transfer, once',
    CASE
        WHEN r.id IS NULL THEN format('reverses %s, which is not there', t.reverses_id)
        ELSE format('number %s: %s from %s to %s reverses %s from %s to %s', t.position,
            t.amount_minor, t.debit, t.credit, r.amount_minor, r.debit, r.credit)
    END
FROM (
    SELECT d.id, d.reverses_id, d.debit, d.credit, d.amount_minor,
        row_number() OVER (PARTITION BY d.reverses_id ORDER BY d.id) AS position
    FROM transfer AS d
    WHERE d.reverses_id IS NOT NULL
) AS t
LEFT JOIN transfer AS r ON r.id = t.reverses_id
WHERE t.position > 1
    OR (r.debit, r.credit, r.amount_minor) IS DISTINCT FROM (t.credit, t.debit, t.amount_minor)
ORDER BY t.id
LIMIT 1
"""

# Balances, rollups and the tail, all as credits less debits: what everybody reads, not the
# transfers, which balance by construction.
TRIAL_BALANCE_IS_ZERO = """
SELECT currency::text, n.code, '0', sum(side.amount)::text
FROM (
    SELECT account_currency(b.account) AS currency, b.amount_minor::numeric AS amount
    FROM balance AS b
    UNION ALL
    SELECT account_currency(r.account), r.credits_minor - r.debits_minor FROM rollup AS r
    UNION ALL
    SELECT account_currency(tail.account), tail.amount
    FROM transfer AS t
    CROSS JOIN LATERAL (
        VALUES (t.credit, t.amount_minor), (t.debit, -t.amount_minor)
    ) AS tail (account, amount)
    WHERE tail.account >> 57 > 2
        AND t.xid >= (SELECT h.horizon_xid FROM ledger_horizon AS h)
) AS side
LEFT JOIN unnest($1::text[], $2::integer[]) AS n (code, number) ON n.number = side.currency
GROUP BY currency, n.code
HAVING sum(side.amount) <> 0
ORDER BY currency
LIMIT 1
"""

CHECKS = (
    Check(
        1,
        "a transfer moves more than nothing between two accounts of one currency",
        "transfer",
        TRANSFER_SOUND,
    ),
    Check(
        2,
        "the balance of a held account or wallet is the sum of its transfers",
        "balance",
        BALANCE_IS_SUM,
        accounts=True,
    ),
    Check(
        2,
        "the rollup of an account is the sum of its transfers below the horizon",
        "rollup",
        ROLLUP_IS_SUM,
        accounts=True,
    ),
    Check(
        2,
        "the horizon of the rollups lies below every transaction that still runs",
        "ledger_horizon",
        HORIZON_IS_CLOSED,
    ),
    Check(
        3,
        "a transfer that touches held money belongs to the contract that holds it",
        "transfer",
        TRANSFER_OF_ITS_CONTRACT,
    ),
    Check(
        4,
        "money is held for a tranche exactly while its state says so",
        "contract",
        HELD_FITS_STATE,
    ),
    Check(
        5,
        "no held account and no wallet is below zero",
        "balance",
        NEVER_BELOW_ZERO,
        accounts=True,
    ),
    Check(
        6,
        "an account has a known kind, one currency, and an owner with that currency",
        "transfer",
        ACCOUNT_IS_WHOLE,
        currencies=True,
        accounts=True,
    ),
    Check(6, "a contract is in its business's currency", "contract", ONE_CURRENCY_PER_CONTRACT),
    Check(6, "a payment is in its business's currency", "payment", ONE_CURRENCY_PER_PAYMENT),
    Check(
        9,
        "no more leaves a held account than came in",
        "transfer",
        NO_MORE_OUT_THAN_IN,
        accounts=True,
    ),
    Check(
        15,
        "a tranche is released or refunded once",
        "transfer",
        SETTLED_ONCE,
        accounts=True,
    ),
    Check(
        21,
        "a correction is the mirror of one transfer, and the only one",
        "transfer",
        REVERSED_ONCE,
    ),
    Check(
        24,
        "all balances of a currency, rollups and tail included, sum to zero",
        "balance",
        TRIAL_BALANCE_IS_ZERO,
        currencies=True,
    ),
)
