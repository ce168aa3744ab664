"""Payments, the inbox, idempotency and what each commit says of itself (10, 12, 13, 14, 16, 17).

Kinds of account: 3 is money at a provider, 12 is suspense. Money comes in by a transfer from
kind 3, and only as part of a commit that consumed a provider's event.
"""

from earnest.store.invariant import Check

# The first event of a commit has the commit's id. What it is called, the payment must be.
PAYMENT_IS_AS_LAST_CHANGED = """
SELECT p.id::text, p.public_id, format('a state that %s leads to', coalesce(e.type, 'no event')),
    p.state
FROM payment AS p
LEFT JOIN event AS e ON e.id = p.commit_id
WHERE (CASE e.type
    WHEN 'payment.opening' THEN p.state = 'opening'
    WHEN 'payment.opened' THEN p.state = 'open'
    WHEN 'payment.processing' THEN p.state = 'processing'
    WHEN 'payment.failed' THEN p.state = 'failed'
    WHEN 'payment.expired' THEN p.state = 'expired'
    WHEN 'payment.parked' THEN p.state = 'parked'
    WHEN 'payment.refunded' THEN p.state = 'refunded'
    WHEN 'chargeback.noticed' THEN p.state = 'parked'
    WHEN 'chargeback.looked_up' THEN p.state = 'charged_back'
    WHEN 'payment.completed' THEN p.state = 'captured'
    WHEN 'contract.created' THEN p.state IN ('captured', 'opening', 'open', 'processing')
END) IS NOT TRUE
ORDER BY p.id
LIMIT 1
"""

EVENT_ONCE = """
SELECT format('%s %s', e.provider, e.event_id), NULL, 'one row', format('%s rows', count(*))
FROM provider_event AS e
GROUP BY e.provider, e.event_id
HAVING count(*) > 1
ORDER BY 1
LIMIT 1
"""

SESSION_FUNDS_ONCE = """
SELECT min(e.event_id), e.session_id, 'one event that takes the money of its session',
    format('%s events', count(*))
FROM provider_event AS e
WHERE e.took_money
GROUP BY e.provider, e.session_id, (e.outcome = 'quarantined')
HAVING count(*) > 1
ORDER BY 1
LIMIT 1
"""

SESSION_OF_ONE_PAYMENT = """
SELECT max(p.id)::text, max(p.public_id), 'one payment for a session',
    format('%s payments for %s', count(*), p.session_id)
FROM payment AS p
WHERE p.session_id IS NOT NULL
GROUP BY p.provider_account_id, p.session_id
HAVING count(*) > 1
ORDER BY 1
LIMIT 1
"""

PROVIDER_PAYMENT_OF_ONE_PAYMENT = """
SELECT max(p.id)::text, max(p.public_id), 'one payment for a payment of the provider',
    format('%s payments for %s', count(*), p.provider_payment_id)
FROM payment AS p
WHERE p.provider_payment_id IS NOT NULL
GROUP BY p.provider_account_id, p.provider_payment_id
HAVING count(*) > 1
ORDER BY 1
LIMIT 1
"""

FUNDED_BY_ONE_PAYMENT = """
SELECT c.id::text, c.public_id,
    CASE WHEN c.funded_at IS NULL THEN 'no captured payment' ELSE 'one captured payment' END,
    coalesce(p.captured, 0)::text
FROM contract AS c
LEFT JOIN (
    SELECT q.contract_id, count(*) AS captured
    FROM payment AS q
    WHERE q.state = 'captured'
    GROUP BY q.contract_id
) AS p ON p.contract_id = c.id
WHERE coalesce(p.captured, 0) <> CASE WHEN c.funded_at IS NULL THEN 0 ELSE 1 END
ORDER BY c.id
LIMIT 1
"""

# Taken money came in once, in the amount, the currency and at the account that we asked for.
PAYMENT_BROUGHT_WHAT_WAS_ASKED = """
SELECT p.id::text, p.public_id,
    CASE
        WHEN p.state IN ('captured', 'parked', 'refunded', 'charged_back')
            THEN format('%s %s, once, at account %s', p.amount_minor, p.currency,
                p.provider_account_id)
        ELSE format('no money for a payment that is %s', p.state)
    END,
    coalesce(t.came, 'nothing')
FROM payment AS p
INNER JOIN unnest($1::text[], $2::integer[]) AS n (code, number) ON n.code = p.currency
LEFT JOIN (
    -- A transfer for each tranche, all in one commit.
    SELECT d.payment_id, count(DISTINCT d.commit_id) AS times,
        sum(d.amount_minor) AS amount_minor, min(d.debit) AS debit, max(d.debit) AS last_debit,
        string_agg(format('%s from account %s', d.amount_minor, d.debit), ', ') AS came
    FROM transfer AS d
    WHERE d.debit >> 57 = 3 AND d.payment_id IS NOT NULL AND d.movement IN ('funded', 'parked')
    GROUP BY d.payment_id
) AS t ON t.payment_id = p.id
WHERE (CASE
    WHEN p.state IN ('captured', 'parked', 'refunded', 'charged_back') THEN t.times = 1
        AND t.amount_minor = p.amount_minor AND t.debit = t.last_debit
        AND t.debit = ((3::bigint << 57) | (n.number::bigint << 47) | p.provider_account_id)
    ELSE t.times IS NULL
END) IS NOT TRUE
ORDER BY p.id
LIMIT 1
"""

CAPTURED_FOR_ITS_CONTRACT = """
SELECT p.id::text, p.public_id,
    format('buyer %s, seller %s, business %s', c.buyer_id, c.seller_id, c.business_id),
    format('buyer %s, seller %s, business %s', p.buyer_id, p.seller_id, p.business_id)
FROM payment AS p
LEFT JOIN contract AS c ON c.id = p.contract_id
WHERE (p.state = 'captured' OR p.contract_id IS NOT NULL)
    AND (c.buyer_id, c.seller_id, c.business_id, c.job_id)
    IS DISTINCT FROM (p.buyer_id, p.seller_id, p.business_id, p.job_id)
ORDER BY p.id
LIMIT 1
"""

# An event that took money is the cause of one transfer from the provider (one for each tranche that
# it funds); of its own session's payment when it was applied or parked, into suspense when it was
# quarantined.
EVENT_BROUGHT_ITS_MONEY = """
SELECT format('%s %s', e.provider, e.event_id), e.session_id,
    CASE WHEN e.took_money THEN format('one transfer of money that was %s', e.outcome)
        ELSE 'no transfer' END,
    coalesce(t.came, 'nothing')
FROM provider_event AS e
LEFT JOIN (
    SELECT d.commit_id, count(*) AS times, min(d.payment_id) AS payment_id,
        max(d.payment_id) AS last_payment_id, count(DISTINCT d.credit) AS accounts,
        min(d.contract_id) AS contract_id, bool_and(d.credit >> 57 = 12) AS in_suspense,
        string_agg(format('%s to account %s', d.amount_minor, d.credit), ', ') AS came
    FROM transfer AS d
    WHERE d.debit >> 57 = 3
    GROUP BY d.commit_id
) AS t ON t.commit_id = e.commit_id
LEFT JOIN payment AS p ON p.id = t.payment_id
LEFT JOIN provider_account AS v ON v.id = p.provider_account_id
WHERE (CASE
    WHEN NOT e.took_money THEN t.times IS NULL
    WHEN e.outcome = 'quarantined' THEN t.times = 1 AND t.in_suspense
        AND t.payment_id IS NULL AND t.contract_id IS NULL
    ELSE (t.times = 1 OR (e.outcome = 'applied' AND t.times = t.accounts))
        AND t.in_suspense = (e.outcome = 'parked') AND t.payment_id = t.last_payment_id
        AND p.session_id = e.session_id AND v.provider = e.provider
        AND e.outcome IN ('applied', 'parked')
END) IS NOT TRUE
ORDER BY 1
LIMIT 1
"""

# What comes back to us was looked up, not told: its own checks say where it had been.
MONEY_CAME_BY_AN_EVENT = """
SELECT t.id::text, NULL, 'a provider event that took this money', 'none'
FROM transfer AS t
LEFT JOIN provider_event AS e ON e.commit_id = t.commit_id AND e.took_money
WHERE t.debit >> 57 = 3 AND e.event_id IS NULL
    AND t.movement NOT IN ('payout_returned', 'chargeback_returned', 'refund_returned', 'booked')
ORDER BY t.id
LIMIT 1
"""

# What is parked, and what was quarantined; whatever found its contract or went back is gone.
SUSPENSE_IS_WHAT_WAITS = """
SELECT coalesce(s.account, w.account)::text, NULL, coalesce(w.waits, 0)::text,
    coalesce(s.balance, 0)::text
FROM (
    SELECT side.account, sum(side.amount) AS balance
    FROM transfer AS t
    CROSS JOIN LATERAL (
        VALUES (t.credit, t.amount_minor), (t.debit, -t.amount_minor)
    ) AS side (account, amount)
    WHERE side.account >> 57 = 12
    GROUP BY side.account
) AS s
FULL JOIN (
    SELECT waiting.account, sum(waiting.amount) AS waits
    FROM (
        SELECT (12::bigint << 57) | (n.number::bigint << 47) | p.provider_account_id AS account,
            p.amount_minor AS amount
        FROM payment AS p
        INNER JOIN unnest($1::text[], $2::integer[]) AS n (code, number) ON n.code = p.currency
        WHERE p.state = 'parked'
        UNION ALL
        SELECT t.credit, t.amount_minor
        FROM provider_event AS e
        INNER JOIN transfer AS t ON t.commit_id = e.commit_id AND t.credit >> 57 = 12
        WHERE e.outcome = 'quarantined' AND e.took_money
    ) AS waiting
    GROUP BY waiting.account
) AS w ON w.account = s.account
WHERE coalesce(s.balance, 0) <> coalesce(w.waits, 0)
ORDER BY 1
LIMIT 1
"""

# The payment is the intent: stored before the provider is called, its public id is the key.
CALL_HAS_AN_OUTCOME = """
SELECT p.id::text, p.public_id, CASE WHEN p.session_id IS NULL THEN 'its id' ELSE 'none' END,
    coalesce(p.session_id, 'none')
FROM payment AS p
WHERE (p.session_id IS NULL) <> (p.state = 'opening' OR (p.state = 'failed' AND NOT EXISTS (
    SELECT FROM event AS e -- what the provider refused failed without a session
    WHERE e.subject = 'payment:' || p.public_id AND e.type = 'payment.opened'
)))
ORDER BY p.id
LIMIT 1
"""

# scope = SHA-256(principal, route, key), each but the last with a zero byte after it.
SCOPE_IS_DIGEST = """
SELECT encode(k.scope, 'hex'), NULL, encode(d.digest, 'hex'), encode(k.scope, 'hex')
FROM idempotency_key AS k
CROSS JOIN LATERAL (
    SELECT sha256(
        convert_to(k.principal, 'UTF8') || decode('00', 'hex') || convert_to(k.route, 'UTF8')
        || decode('00', 'hex') || convert_to(k.key, 'UTF8')
    ) AS digest
) AS d
WHERE k.scope <> d.digest
ORDER BY k.scope
LIMIT 1
"""

KEY_ONCE = """
SELECT min(encode(k.scope, 'hex')), k.key, 'one record', format('%s records', count(*))
FROM idempotency_key AS k
GROUP BY k.principal, k.route, k.key
HAVING count(*) > 1
ORDER BY 1
LIMIT 1
"""

KEY_OF_A_COMMIT = """
SELECT encode(k.scope, 'hex'), k.key, 'the commit that carried it out, once, and a 2xx reply',
    format('commit %s, status %s', k.commit_id, k.status)
FROM (
    SELECT r.scope, r.key, r.commit_id, r.status,
        row_number() OVER (PARTITION BY r.commit_id ORDER BY r.scope) AS position
    FROM idempotency_key AS r
) AS k
LEFT JOIN event AS e ON e.id = k.commit_id AND e.commit_id = k.commit_id
WHERE k.status NOT BETWEEN 200 AND 299
    OR (k.commit_id <> 0 AND (e.id IS NULL OR k.position > 1))
ORDER BY k.scope
LIMIT 1
"""

INBOX_HAS_ITS_EVENT = """
SELECT format('%s %s', i.provider, i.event_id), i.session_id, 'the first event of its commit',
    'none'
FROM provider_event AS i
LEFT JOIN event AS e ON e.id = i.commit_id AND e.commit_id = i.commit_id
WHERE e.id IS NULL
ORDER BY 1
LIMIT 1
"""

CHECKS = (
    Check(
        10,
        "a payment is in the state that its last commit brought it to",
        "payment",
        PAYMENT_IS_AS_LAST_CHANGED,
    ),
    Check(12, "a provider event is consumed once", "provider_event", EVENT_ONCE),
    Check(12, "a session brings its money in once", "provider_event", SESSION_FUNDS_ONCE),
    Check(12, "a session belongs to one payment", "payment", SESSION_OF_ONE_PAYMENT),
    Check(
        12,
        "a payment of the provider belongs to one of ours",
        "payment",
        PROVIDER_PAYMENT_OF_ONE_PAYMENT,
    ),
    Check(
        12,
        "a contract is funded by one captured payment, or by none",
        "contract",
        FUNDED_BY_ONE_PAYMENT,
    ),
    Check(
        13,
        "a payment brought exactly what we asked for",
        "payment",
        PAYMENT_BROUGHT_WHAT_WAS_ASKED,
        currencies=True,
    ),
    Check(
        13,
        "a payment is for the people and the job of its contract",
        "payment",
        CAPTURED_FOR_ITS_CONTRACT,
    ),
    Check(
        13,
        "a provider event brought in its own money, quarantined money only into suspense",
        "provider_event",
        EVENT_BROUGHT_ITS_MONEY,
    ),
    Check(
        13,
        "money comes in by a provider event only",
        "transfer",
        MONEY_CAME_BY_AN_EVENT,
    ),
    Check(
        13,
        "suspense holds the parked payments and the quarantined money, nothing else",
        "transfer",
        SUSPENSE_IS_WHAT_WAITS,
        currencies=True,
        accounts=True,
    ),
    Check(
        14,
        "a payment has a session exactly once its provider call is done",
        "payment",
        CALL_HAS_AN_OUTCOME,
    ),
    Check(16, "an idempotency record is filed under its key", "idempotency_key", SCOPE_IS_DIGEST),
    Check(16, "an idempotency key has one record", "idempotency_key", KEY_ONCE),
    Check(
        16,
        "an idempotency record has a 2xx reply and a commit of its own",
        "idempotency_key",
        KEY_OF_A_COMMIT,
    ),
    Check(
        17,
        "a consumed provider event is told of in its commit",
        "provider_event",
        INBOX_HAS_ITS_EVENT,
    ),
)
