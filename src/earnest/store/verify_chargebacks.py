"""Chargebacks against their events, their payments and the ledger (10, 12, 14, 23).

Every step of a chargeback is an event of its own, subject `chargeback:PUBLIC_ID`. Kinds of account:
1 is held money, 2 a wallet, 3 money at a provider, 11 what chargebacks cost us.
"""

from earnest.store.invariant import Check

CHARGEBACK_STEPS = """
SELECT coalesce(c.id::text, t.subject), c.public_id,
    coalesce(format('%s steps to %s', t.steps, t.state), 'no events'),
    coalesce(format('%s steps to %s', c.version, c.state), 'a chargeback')
FROM (
    SELECT e.subject, count(DISTINCT e.commit_id) AS steps,
        coalesce((
            array_agg(e.body::jsonb ->> 'state' ORDER BY e.recorded_at DESC, e.id DESC)
            FILTER (WHERE e.type = 'chargeback.looked_up')
        )[1], 'noticed') AS state
    FROM event AS e
    WHERE e.contract_id IS NULL AND starts_with(e.subject, 'chargeback:')
    GROUP BY e.subject
) AS t
FULL JOIN chargeback AS c ON t.subject = 'chargeback:' || c.public_id
WHERE (t.steps, t.state) IS DISTINCT FROM (c.version::bigint, c.state)
ORDER BY c.id, t.subject
LIMIT 1
"""

# What the lines say was taken and given back, by whom it was borne, is what was posted.
LINES_ARE_POSTED = """
SELECT c.id::text, c.public_id,
    format('%s taken, %s from the buyer and %s from the seller; %s given back, %s and %s to them',
        l.taken, l.by_buyer, l.by_seller, l.given, l.to_buyer, l.to_seller),
    format('%s taken, %s from the buyer and %s from the seller; %s given back, %s and %s to them',
        coalesce(t.taken, 0), coalesce(t.by_buyer, 0), coalesce(t.by_seller, 0),
        coalesce(t.given, 0), coalesce(t.to_buyer, 0), coalesce(t.to_seller, 0))
FROM chargeback AS c
INNER JOIN payment AS p ON p.id = c.payment_id
CROSS JOIN LATERAL (
    SELECT coalesce(-sum(one.minor) FILTER (WHERE one.minor < 0), 0) AS taken,
        coalesce(-sum(one.buyer) FILTER (WHERE one.minor < 0), 0) AS by_buyer,
        coalesce(-sum(one.seller) FILTER (WHERE one.minor < 0), 0) AS by_seller,
        coalesce(sum(one.minor) FILTER (WHERE one.minor > 0), 0) AS given,
        coalesce(sum(one.buyer) FILTER (WHERE one.minor > 0), 0) AS to_buyer,
        coalesce(sum(one.seller) FILTER (WHERE one.minor > 0), 0) AS to_seller
    FROM jsonb_array_elements(c.lines::jsonb) AS line (value)
    CROSS JOIN LATERAL (
        SELECT (line.value ->> 'amount_minor')::bigint AS minor,
            (line.value ->> 'buyer_minor')::bigint AS buyer,
            (line.value ->> 'seller_minor')::bigint AS seller
    ) AS one
) AS l
LEFT JOIN (
    SELECT e.subject,
        sum(x.amount_minor) FILTER (WHERE w.is_taken) AS taken,
        sum(x.amount_minor) FILTER (WHERE w.is_taken AND w.person = q.buyer_id) AS by_buyer,
        sum(x.amount_minor) FILTER (WHERE w.is_taken AND w.person = q.seller_id) AS by_seller,
        sum(x.amount_minor) FILTER (WHERE NOT w.is_taken) AS given,
        sum(x.amount_minor) FILTER (WHERE NOT w.is_taken AND w.person = q.buyer_id) AS to_buyer,
        sum(x.amount_minor) FILTER (WHERE NOT w.is_taken AND w.person = q.seller_id) AS to_seller
    FROM transfer AS x
    INNER JOIN event AS e ON e.commit_id = x.commit_id AND e.type = 'chargeback.looked_up'
    LEFT JOIN payment AS q ON q.id = x.payment_id
    CROSS JOIN LATERAL (
        SELECT x.movement = 'charged_back' AS is_taken,
            CASE WHEN s.account >> 57 = 2 THEN s.account & ((1::bigint << 40) - 1) END AS person
        FROM (
            SELECT CASE x.movement WHEN 'charged_back' THEN x.debit ELSE x.credit END AS account
        ) AS s
    ) AS w
    WHERE x.movement IN ('charged_back', 'chargeback_returned')
    GROUP BY e.subject
) AS t ON t.subject = 'chargeback:' || c.public_id
WHERE (l.taken, l.by_buyer, l.by_seller, l.given, l.to_buyer, l.to_seller) IS DISTINCT FROM (
    coalesce(t.taken, 0), coalesce(t.by_buyer, 0), coalesce(t.by_seller, 0),
    coalesce(t.given, 0), coalesce(t.to_buyer, 0), coalesce(t.to_seller, 0)
)
ORDER BY c.id
LIMIT 1
"""

LINE_ONCE = """
SELECT max(c.id)::text, max(c.public_id), 'a balance transaction of the provider, booked once',
    format('%s, booked %s times', line.value ->> 'id', count(*))
FROM chargeback AS c
CROSS JOIN LATERAL jsonb_array_elements(c.lines::jsonb) AS line (value)
GROUP BY c.provider_account_id, line.value ->> 'id'
HAVING count(*) > 1
ORDER BY 1
LIMIT 1
"""

# Its own people and its own account at the provider bear it, in the currency of its payment.
POSTED_WHERE_IT_BELONGS = """
SELECT x.id::text, c.public_id,
    format('contract %s, wallets of %s and %s, account %s', c.contract_id, p.buyer_id, p.seller_id,
        c.provider_account_id),
    format('contract %s, %s from %s to %s', x.contract_id, x.movement, x.debit, x.credit)
FROM transfer AS x
LEFT JOIN event AS e ON e.commit_id = x.commit_id AND e.type = 'chargeback.looked_up'
LEFT JOIN chargeback AS c ON e.subject = 'chargeback:' || c.public_id
LEFT JOIN payment AS p ON p.id = c.payment_id
LEFT JOIN unnest($1::text[], $2::integer[]) AS n (code, number) ON n.code = p.currency
CROSS JOIN LATERAL (
    SELECT (3::bigint << 57) | (n.number::bigint << 47) | c.provider_account_id AS cash,
        (11::bigint << 57) | (n.number::bigint << 47) | c.provider_account_id AS loss,
        (12::bigint << 57) | (n.number::bigint << 47) | c.provider_account_id AS suspense,
        (2::bigint << 57) | (n.number::bigint << 47) | p.buyer_id AS buyer,
        (2::bigint << 57) | (n.number::bigint << 47) | p.seller_id AS seller
) AS a
WHERE x.movement IN (
        'charged_back', 'chargeback_returned', 'chargeback_covered', 'parked_covered'
    )
    -- A payment may find its contract after its payer's bank took it back.
    AND (coalesce(x.contract_id, c.contract_id) IS NOT DISTINCT FROM c.contract_id
    AND CASE x.movement
        WHEN 'charged_back' THEN x.debit IN (a.loss, a.buyer, a.seller) AND x.credit = a.cash
        WHEN 'chargeback_returned'
            THEN x.credit IN (a.loss, a.buyer, a.seller) AND x.debit = a.cash
        WHEN 'parked_covered' THEN x.debit = a.suspense AND x.credit = a.loss
        ELSE x.debit >> 57 = 1 AND x.credit = a.loss
    END) IS NOT TRUE
ORDER BY x.id
LIMIT 1
"""

LOSS_IS_A_CHARGEBACKS = """
SELECT x.id::text, NULL, 'a movement of a chargeback', x.movement
FROM transfer AS x
WHERE (x.debit >> 57 = 11 OR x.credit >> 57 = 11)
    AND x.movement NOT IN (
        'charged_back', 'chargeback_returned', 'chargeback_covered', 'parked_covered'
    )
ORDER BY x.id
LIMIT 1
"""

CHARGEBACK_OF_ITS_PAYMENT = """
SELECT c.id::text, c.public_id,
    format('business %s, %s, account %s', p.business_id, p.currency, p.provider_account_id),
    format('business %s, %s, account %s, contract %s of %s', c.business_id, c.currency,
        c.provider_account_id, c.contract_id, p.contract_id)
FROM chargeback AS c
LEFT JOIN payment AS p ON p.id = c.payment_id
WHERE (c.business_id, c.currency, c.provider_account_id)
    IS DISTINCT FROM (p.business_id, p.currency, p.provider_account_id)
    OR (c.contract_id IS NOT NULL AND c.contract_id IS DISTINCT FROM p.contract_id)
ORDER BY c.id
LIMIT 1
"""

# Who asks for a contract's money back has an undecided dispute about its payment.
CHARGED_BACK_BY_SOMEBODY = """
SELECT c.id::text, c.public_id, 'an undecided chargeback of its payment', 'none'
FROM contract AS c
WHERE c.charged_back AND NOT EXISTS (
    SELECT FROM chargeback AS b
    INNER JOIN payment AS p ON p.id = b.payment_id
    WHERE p.contract_id = c.id
    AND (b.state IN ('noticed', 'warning', 'open', 'review') OR b.due_at IS NOT NULL)
)
ORDER BY c.id
LIMIT 1
"""

CHECKS = (
    Check(
        10,
        "a chargeback has taken the steps that are told of it",
        "chargeback",
        CHARGEBACK_STEPS,
    ),
    Check(
        10,
        "a contract is charged back as long as that is undecided",
        "contract",
        CHARGED_BACK_BY_SOMEBODY,
    ),
    Check(12, "what a bank takes is booked once", "chargeback", LINE_ONCE),
    Check(
        14,
        "a chargeback is borne by its own seller and account",
        "transfer",
        POSTED_WHERE_IT_BELONGS,
        currencies=True,
    ),
    Check(14, "what a bank took and gave back is posted", "chargeback", LINES_ARE_POSTED),
    Check(14, "only chargebacks make such losses", "transfer", LOSS_IS_A_CHARGEBACKS),
    Check(
        23,
        "a chargeback is of its payment's business, contract and account",
        "chargeback",
        CHARGEBACK_OF_ITS_PAYMENT,
    ),
)
