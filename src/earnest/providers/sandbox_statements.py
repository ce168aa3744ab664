"""What the sandbox provider says to its own schema; see `earnest.providers.sandbox`."""

INSERT_SESSION = """
INSERT INTO sandbox.session (
    id, idempotency_key, request_hash, title, amount_minor, currency, metadata,
    success_url, cancel_url, state, created_at, expires_at
)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 'open', $10, $11)
ON CONFLICT (idempotency_key) DO NOTHING
"""

FIND_BY_KEY = """
SELECT id, request_hash, expires_at FROM sandbox.session WHERE idempotency_key = $1
"""

FIND_SESSION = """
SELECT
    id, title, amount_minor, currency, metadata, success_url, cancel_url, state, payment_id,
    created_at, expires_at
FROM sandbox.session
WHERE id = $1
"""

# The row lock makes the steps of one session follow each other.
LOCK_SESSION = """
SELECT
    id, title, amount_minor, currency, metadata, success_url, cancel_url, state, payment_id,
    created_at, expires_at
FROM sandbox.session
WHERE id = $1
FOR UPDATE
"""

LOCK_EXPIRED = """
SELECT id
FROM sandbox.session
WHERE state = 'open' AND expires_at <= $1
ORDER BY expires_at
LIMIT $2
FOR UPDATE SKIP LOCKED
"""

STEP_SESSION = """
UPDATE sandbox.session
SET state = $2, payment_id = $3, paid_at = CASE WHEN $2 = 'paid' THEN now() END
WHERE id = $1
"""

LAST_EVENT = """
SELECT id, body, attempts, created_at, delivered_at
FROM sandbox.outbox
WHERE session_id = $1
ORDER BY position DESC
LIMIT 1
"""

CLAIM_EVENT = """
UPDATE sandbox.outbox
SET attempts = attempts + 1, leased_until = now() + make_interval(secs => $2)
WHERE id = $1 AND delivered_at IS NULL AND leased_until <= now()
RETURNING id, body, attempts, created_at
"""

# SKIP LOCKED: two workers never wait for each other. The lease, not a transaction, keeps
# an event to one worker while it is on the wire.
CLAIM_DUE = """
WITH due AS MATERIALIZED (
    SELECT id
    FROM sandbox.outbox
    WHERE next_attempt_at <= $1 AND leased_until <= now()
    ORDER BY next_attempt_at, position
    LIMIT $2
    FOR UPDATE SKIP LOCKED
)
UPDATE sandbox.outbox AS o
SET attempts = o.attempts + 1, leased_until = now() + make_interval(secs => $3)
FROM due
WHERE o.id = due.id
RETURNING o.id, o.body, o.attempts, o.created_at
"""

RECORD_ANSWER = """
UPDATE sandbox.outbox
SET delivered_at = $2, next_attempt_at = $3, last_answer = $4, leased_until = now()
WHERE id = $1 AND delivered_at IS NULL
"""
