-- What an operator has to see: alerts, each once, and money that is held for too long.

-- `subject` names the row that it is about, as audit events do (refund:ID); `object_id` is that
-- row's key, where it has a number. `stage` tells several alerts about one row apart: days that
-- money is held, days before a deadline, the version that failed.
CREATE TABLE alert (
    id bigint PRIMARY KEY,
    public_id text NOT NULL,
    kind text NOT NULL,
    subject text NOT NULL,
    stage integer NOT NULL,
    object_id bigint,
    amount_minor bigint,
    currency text,
    detail text NOT NULL,
    -- business time, all of them
    raised_at timestamptz NOT NULL,
    mailed_at timestamptz,
    closed_at timestamptz,
    closed_by text,
    CONSTRAINT alert_once UNIQUE (kind, subject, stage),
    CONSTRAINT alert_kind_known CHECK (
        kind IN (
            'event_quarantined', 'refund_failed', 'refund_returned', 'payout_stuck',
            'chargeback_open', 'evidence_due', 'chargeback_lost', 'call_late',
            'webhook_disabled', 'hold_limit', 'reconciliation'
        )
    ),
    CONSTRAINT alert_amount_has_currency CHECK ((amount_minor IS NULL) = (currency IS NULL)),
    CONSTRAINT alert_closed_by_somebody CHECK ((closed_at IS NULL) = (closed_by IS NULL))
);
CREATE INDEX alert_open ON alert (id DESC) WHERE closed_at IS NULL;
CREATE INDEX alert_to_mail ON alert (id) WHERE closed_at IS NULL AND mailed_at IS NULL;
CREATE INDEX alert_mailed ON alert (mailed_at DESC) WHERE mailed_at IS NOT NULL;

-- How far money that came in has been looked at, for each limit in days: what was held then has
-- its alert, and what was not held any more never will be again.
CREATE TABLE hold_watch (
    days integer PRIMARY KEY,
    seen_to timestamptz NOT NULL
);

-- Money that waits, and what might be done about it: nothing is done by itself. The amount of a
-- contract stands in its accounts.
CREATE VIEW hold AS
SELECT
    'contract' AS kind,
    c.id,
    c.public_id,
    c.business_id,
    c.number,
    c.currency,
    c.tranches,
    NULL::bigint AS amount_minor,
    c.funded_at AS held_since,
    CASE
        WHEN c.charged_back THEN 'wait_for_bank'
        WHEN c.dispute = 'open' THEN 'ask_both'
        WHEN c.tranches @> ARRAY['refund_pending'] THEN 'refund'
        WHEN NOT c.live OR c.work = 'not_started' THEN 'refund'
        WHEN c.tranches @> ARRAY['release_requested'] OR c.work = 'completed' THEN 'release'
        ELSE 'ask_both'
    END AS proposal
FROM contract AS c
WHERE
    c.settled_at IS NULL AND c.funded_at IS NOT NULL
    AND c.tranches && ARRAY['held', 'release_requested', 'refund_pending']
UNION ALL
SELECT
    'payment' AS kind,
    p.id,
    p.public_id,
    p.business_id,
    NULL AS number,
    p.currency,
    NULL AS tranches,
    p.amount_minor,
    p.captured_at AS held_since,
    CASE
        WHEN EXISTS (
            SELECT FROM chargeback AS b
            WHERE b.payment_id = p.id AND b.due_at IS NOT NULL
        ) THEN 'wait_for_bank'
        ELSE 'attach_or_refund'
    END AS proposal
FROM payment AS p
WHERE p.state = 'parked';

GRANT SELECT, INSERT, UPDATE ON alert, hold_watch TO earnest_app;
GRANT SELECT ON hold TO earnest_app;
