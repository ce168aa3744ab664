"""Webhooks out: deliveries against events, attempts against deliveries and the clock (17, 18, 23).

The schedule in GAPS and the statuses that are tried again are those of earnest.domain.delivery,
spelled here a second time on purpose: what checks must not believe what it checks.
"""

from earnest.store.invariant import Check

DELIVERY_IS_OF_ITS_EVENT = """
SELECT d.id::text, NULL,
    coalesce(format('%s, event %s of contract %s', e.type, e.seq, e.contract_id), 'an event'),
    format('%s, event %s of contract %s', d.type, d.seq, d.contract_id)
FROM delivery AS d
LEFT JOIN event AS e ON e.id = d.event_id
WHERE d.event_id IS NOT NULL AND (
        (e.type, e.seq, e.contract_id) IS DISTINCT FROM (d.type, d.seq, d.contract_id)
        OR NOT is_public_event(d.type)
    )
    OR d.event_id IS NULL AND d.type <> 'webhook.test'
ORDER BY d.id
LIMIT 1
"""

DELIVERY_ONCE = """
SELECT max(d.id::text), NULL, format('one delivery of event %s', d.event_id),
    format('%s', count(*))
FROM delivery AS d
WHERE d.event_id IS NOT NULL
GROUP BY d.event_id
HAVING count(*) > 1
ORDER BY 1
LIMIT 1
"""

# `updated_at` is when an endpoint was last made active: what is active now has been so since. A
# minute is for commits that were under way just then.
EVENT_IS_DELIVERED = """
SELECT e.id::text, c.number, format('a delivery of %s', e.type), 'none'
FROM webhook_endpoint AS w
INNER JOIN contract AS c ON c.business_id = w.business_id
INNER JOIN event AS e ON e.contract_id = c.id AND is_public_event(e.type)
LEFT JOIN delivery AS d ON d.event_id = e.id
WHERE w.is_active AND w.deleted_at IS NULL AND d.id IS NULL
    AND e.recorded_at > w.updated_at + interval '1 minute'
ORDER BY e.id
LIMIT 1
"""

NO_ATTEMPT_BEFORE_ITS_EVENT = """
SELECT format('%s %s %s', a.delivery_id, a.series, a.number), NULL,
    format('at %s or later', coalesce(e.recorded_at, d.created_at)), a.created_at::text
FROM delivery_attempt AS a
INNER JOIN delivery AS d ON d.id = a.delivery_id
LEFT JOIN event AS e ON e.id = d.event_id
WHERE a.created_at < coalesce(e.recorded_at, d.created_at)
ORDER BY 1
LIMIT 1
"""

ATTEMPTS_ARE_CONSECUTIVE = """
SELECT a.delivery_id::text, NULL,
    format('attempts 1 to %s of series %s, which is %s at most', count(*), a.series, d.series),
    format('%s', string_agg(a.number::text, ', ' ORDER BY a.number))
FROM delivery_attempt AS a
LEFT JOIN delivery AS d ON d.id = a.delivery_id
GROUP BY a.delivery_id, a.series, d.series
HAVING min(a.number) <> 1 OR max(a.number) <> count(*) OR (a.series > d.series) IS NOT FALSE
ORDER BY 1
LIMIT 1
"""

ATTEMPTS_ARE_COUNTED = """
SELECT d.id::text, NULL, format('%s attempts', count(a.delivery_id)),
    format('%s', d.attempts)
FROM delivery AS d
LEFT JOIN delivery_attempt AS a ON a.delivery_id = d.id AND a.series = d.series
GROUP BY d.id
HAVING count(a.delivery_id) <> d.attempts
ORDER BY d.id
LIMIT 1
"""

# From the beginning of an attempt to that of the next: at least the published pause.
GAPS = """
SELECT format('%s %s %s', a.delivery_id, a.series, a.number), NULL,
    format('%s s or more after attempt %s', p.seconds, a.number - 1),
    format('%s s', round(extract(EPOCH FROM a.created_at - b.created_at)))
FROM delivery_attempt AS a
INNER JOIN delivery_attempt AS b
    ON b.delivery_id = a.delivery_id AND b.series = a.series AND b.number = a.number - 1
INNER JOIN (VALUES (2, 10), (3, 30), (4, 120), (5, 600), (6, 3600)) AS p (number, seconds)
    ON p.number = a.number
WHERE a.created_at - b.created_at < make_interval(secs => p.seconds - 1)
ORDER BY 1
LIMIT 1
"""

SUCCESS_IS_2XX = """
SELECT format('%s %s %s', a.delivery_id, a.series, a.number), NULL,
    CASE WHEN a.is_success THEN 'a 2xx status and no error' ELSE 'an error and no 2xx status' END,
    format('status %s, error %s', coalesce(a.http_status::text, 'none'), a.error)
FROM delivery_attempt AS a
WHERE a.is_success IS DISTINCT FROM coalesce(a.http_status BETWEEN 200 AND 299, FALSE)
    OR a.is_success <> (a.error = '')
ORDER BY 1
LIMIT 1
"""

ONLY_WHAT_MAY_IS_TRIED_AGAIN = """
SELECT format('%s %s %s', a.delivery_id, a.series, a.number), NULL,
    'the last attempt of its series', format('another after status %s', b.http_status)
FROM delivery_attempt AS a
INNER JOIN delivery_attempt AS b
    ON b.delivery_id = a.delivery_id AND b.series = a.series AND b.number = a.number - 1
WHERE b.is_success OR b.http_status NOT IN (408, 429, 500, 502, 503, 504)
ORDER BY 1
LIMIT 1
"""

# What the last attempt of the present series says. What was disabled or deleted had none to wait
# for; a pending one either had no attempt yet or one that is tried again.
STATE_IS_EARNED = """
SELECT d.id::text, NULL,
    CASE
        WHEN d.state = 'succeeded' THEN 'a last attempt that succeeded'
        WHEN d.failed_for = 'exhausted' THEN 'six attempts that failed'
        WHEN d.failed_for = 'refused' THEN 'a last attempt with a status that is not tried again'
        ELSE 'fewer than six attempts, and none that succeeded'
    END,
    format('attempt %s, status %s', d.attempts, coalesce(a.http_status::text, 'none'))
FROM delivery AS d
LEFT JOIN delivery_attempt AS a
    ON a.delivery_id = d.id AND a.series = d.series AND a.number = d.attempts
WHERE CASE
    WHEN d.state = 'succeeded' THEN a.is_success
    WHEN d.failed_for = 'exhausted' THEN
        d.attempts = 6 AND NOT a.is_success
        AND coalesce(a.http_status IN (408, 429, 500, 502, 503, 504), TRUE)
    WHEN d.failed_for = 'refused' THEN
        NOT a.is_success AND a.http_status NOT IN (408, 429, 500, 502, 503, 504)
    ELSE
        d.attempts < 6 AND NOT coalesce(a.is_success, FALSE)
        AND coalesce(a.http_status IN (408, 429, 500, 502, 503, 504), TRUE)
END IS NOT TRUE
ORDER BY d.id
LIMIT 1
"""

DELIVERY_IN_ITS_BUSINESS = """
SELECT d.id::text, NULL, format('business %s', d.business_id),
    format('endpoint of %s, contract of %s, attempt of %s', w.business_id,
        coalesce(c.business_id::text, 'none'), coalesce(a.business_id::text, 'none'))
FROM delivery AS d
LEFT JOIN webhook_endpoint AS w ON w.id = d.endpoint_id
LEFT JOIN contract AS c ON c.id = d.contract_id
LEFT JOIN delivery_attempt AS a ON a.delivery_id = d.id AND a.business_id <> d.business_id
WHERE w.business_id IS DISTINCT FROM d.business_id OR a.business_id IS NOT NULL
    OR (d.contract_id IS NOT NULL AND c.business_id IS DISTINCT FROM d.business_id)
ORDER BY d.id
LIMIT 1
"""

CHECKS = (
    Check(
        17,
        "a delivery is of a public event, or a test",
        "delivery",
        DELIVERY_IS_OF_ITS_EVENT,
    ),
    Check(17, "an event has one delivery", "delivery", DELIVERY_ONCE),
    Check(
        17,
        "an event that its partner listens for has a delivery",
        "event",
        EVENT_IS_DELIVERED,
    ),
    Check(
        17,
        "nobody hears of an event before it happened",
        "delivery_attempt",
        NO_ATTEMPT_BEFORE_ITS_EVENT,
    ),
    Check(18, "attempts count from 1 without a gap", "delivery", ATTEMPTS_ARE_CONSECUTIVE),
    Check(18, "a delivery knows how often it was attempted", "delivery", ATTEMPTS_ARE_COUNTED),
    Check(18, "attempts are as far apart as published", "delivery_attempt", GAPS),
    Check(18, "an attempt succeeds by a 2xx answer", "delivery_attempt", SUCCESS_IS_2XX),
    Check(
        18,
        "what succeeded or was refused is not tried again",
        "delivery_attempt",
        ONLY_WHAT_MAY_IS_TRIED_AGAIN,
    ),
    Check(18, "a delivery's state is what its attempts say", "delivery", STATE_IS_EARNED),
    Check(
        23,
        "a delivery, its endpoint, contract and attempts are of one business",
        "delivery",
        DELIVERY_IN_ITS_BUSINESS,
    ),
)
