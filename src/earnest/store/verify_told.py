"""Movements of money against the events that tell of them (17): neither is without the other."""

from earnest.store.invariant import Check

MOVEMENT_HAS_ITS_EVENT = """
SELECT t.id::text, NULL, format('one event of type %s in its commit', coalesce(t.told_as, '?')),
    coalesce(e.times, 0)::text
FROM (
    SELECT d.id, d.commit_id, CASE d.movement
        WHEN 'funded' THEN 'payment.completed'
        WHEN 'attached' THEN 'payment.completed'
        WHEN 'released' THEN 'contract.released'
        WHEN 'refunded' THEN 'contract.refunded'
        WHEN 'refunded_to_source' THEN 'contract.refunded'
        WHEN 'refund_returned' THEN 'refund.returned'
        WHEN 'refund_repaid' THEN 'refund.repaid'
        WHEN 'parked_refunded' THEN 'payment.refunded'
        WHEN 'withdrawn' THEN 'payout.requested'
        WHEN 'paid_out' THEN 'payout.transferred'
        WHEN 'payout_refused' THEN 'payout.refused'
        WHEN 'payout_returned' THEN 'payout.returned'
        WHEN 'charged_back' THEN 'chargeback.taken'
        WHEN 'chargeback_returned' THEN 'chargeback.given_back'
        WHEN 'chargeback_covered' THEN 'chargeback.covered'
        WHEN 'parked_covered' THEN 'chargeback.covered'
        WHEN 'booked' THEN 'provider.lines_booked'
        WHEN 'parked' THEN CASE
            WHEN d.payment_id IS NULL THEN 'payment.quarantined' ELSE 'payment.parked'
        END
    END AS told_as
    FROM transfer AS d
) AS t
LEFT JOIN (
    SELECT one.commit_id, one.type, count(*) AS times
    FROM event AS one
    WHERE one.type IN (
        'payment.completed', 'contract.released', 'contract.refunded', 'payment.refunded',
        'payment.quarantined', 'payment.parked', 'refund.returned', 'refund.repaid',
        'payout.requested', 'payout.transferred', 'payout.refused', 'payout.returned',
        'chargeback.taken', 'chargeback.given_back', 'chargeback.covered',
        'provider.lines_booked'
    )
    GROUP BY one.commit_id, one.type
) AS e ON e.commit_id = t.commit_id AND e.type = t.told_as
WHERE e.times IS DISTINCT FROM 1
ORDER BY t.id
LIMIT 1
"""

EVENT_HAS_ITS_MOVEMENT = """
SELECT e.id::text, e.subject, format('a transfer in the commit of %s', e.type), 'none'
FROM event AS e
LEFT JOIN transfer AS t ON t.commit_id = e.commit_id
WHERE e.type IN (
    'payment.completed', 'contract.released', 'contract.refunded', 'payment.refunded',
    'payment.parked', 'refund.returned', 'refund.repaid', 'payout.requested',
    'payout.transferred', 'payout.refused', 'payout.returned', 'chargeback.taken',
    'chargeback.given_back', 'chargeback.covered', 'provider.lines_booked'
) AND t.id IS NULL
ORDER BY e.id
LIMIT 1
"""

CHECKS = (
    Check(
        17,
        "money moves in a commit that says so in one event",
        "transfer",
        MOVEMENT_HAS_ITS_EVENT,
    ),
    Check(
        17,
        "an event that speaks of money has its transfer",
        "event",
        EVENT_HAS_ITS_MOVEMENT,
    ),
)
