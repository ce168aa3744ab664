-- The sandbox provider's own memory. It plays an outside company: nothing else in Earnest
-- reads or references this schema, and nothing here references the rest.
CREATE SCHEMA sandbox;

CREATE TABLE sandbox.session (
    id text NOT NULL,
    idempotency_key text NOT NULL,
    -- SHA-256 of the request: the same key with another request is refused.
    request_hash bytea NOT NULL,
    title text NOT NULL,
    amount_minor bigint NOT NULL,
    currency text NOT NULL,
    metadata jsonb NOT NULL,
    success_url text NOT NULL,
    cancel_url text NOT NULL,
    state text NOT NULL,
    -- Set when the payer is done; the number of a card is never stored anywhere.
    payment_id text,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    -- Real time: when the money came in.
    paid_at timestamptz,
    CONSTRAINT session_pkey PRIMARY KEY (id),
    CONSTRAINT session_idempotency_key_key UNIQUE (idempotency_key),
    CONSTRAINT session_payment_id_key UNIQUE (payment_id),
    CONSTRAINT session_amount_minor_check CHECK (amount_minor > 0),
    CONSTRAINT session_state_check
    CHECK (state IN ('open', 'processing', 'paid', 'failed', 'expired')),
    CONSTRAINT session_payment_id_check
    CHECK ((payment_id IS NULL) = (state IN ('open', 'expired'))),
    CONSTRAINT session_paid_at_check CHECK ((paid_at IS NOT NULL) = (state = 'paid'))
);

-- The worker asks which open sessions are past their time.
CREATE INDEX session_expiry_idx ON sandbox.session (expires_at) WHERE state = 'open';

CREATE TABLE sandbox.outbox (
    id text NOT NULL,
    position bigint GENERATED ALWAYS AS IDENTITY,
    -- Null for what is told of accounts, payouts and disputes.
    session_id text,
    type text NOT NULL,
    -- The very bytes of every attempt; only the signature is fresh.
    body bytea NOT NULL,
    attempts integer NOT NULL,
    -- Business time. Null: delivered, or given up after three days.
    next_attempt_at timestamptz,
    -- Real time: an attempt under way keeps other workers off until then.
    leased_until timestamptz NOT NULL,
    created_at timestamptz NOT NULL,
    delivered_at timestamptz,
    last_answer text NOT NULL,
    CONSTRAINT outbox_pkey PRIMARY KEY (id),
    CONSTRAINT outbox_session_id_fkey FOREIGN KEY (session_id) REFERENCES sandbox.session (id),
    -- A session never tells the same thing twice under two event ids.
    CONSTRAINT outbox_session_id_type_key UNIQUE (session_id, type),
    CONSTRAINT outbox_attempts_check CHECK (attempts >= 0),
    CONSTRAINT outbox_delivered_check CHECK (delivered_at IS NULL OR next_attempt_at IS NULL)
);

CREATE INDEX outbox_due_idx ON sandbox.outbox (next_attempt_at) WHERE next_attempt_at IS NOT NULL;

-- Money given back to payers; never more of a payment than was paid.
CREATE TABLE sandbox.refund (
    id text NOT NULL,
    idempotency_key text NOT NULL,
    request_hash bytea NOT NULL,
    reference text NOT NULL,
    payment_id text NOT NULL,
    amount_minor bigint NOT NULL,
    currency text NOT NULL,
    created_at timestamptz NOT NULL,
    -- Real time, as opposed to created_at.
    recorded_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT refund_pkey PRIMARY KEY (id),
    CONSTRAINT refund_idempotency_key_key UNIQUE (idempotency_key),
    CONSTRAINT refund_payment_id_fkey FOREIGN KEY (payment_id)
    REFERENCES sandbox.session (payment_id),
    CONSTRAINT refund_amount_minor_check CHECK (amount_minor > 0)
);
CREATE INDEX refund_payment_id_idx ON sandbox.refund (payment_id);

-- Who is paid, and whose onboarding page has been completed.
CREATE TABLE sandbox.account (
    id text NOT NULL,
    reference text NOT NULL,
    email text NOT NULL,
    name text NOT NULL,
    country text NOT NULL,
    is_company boolean NOT NULL,
    onboarded_at timestamptz,
    created_at timestamptz NOT NULL,
    CONSTRAINT account_pkey PRIMARY KEY (id),
    CONSTRAINT account_reference_key UNIQUE (reference)
);

-- A link opens once: then it leads to its visit, which can be reloaded until its time is over.
CREATE TABLE sandbox.onboarding_link (
    token text NOT NULL,
    visit text NOT NULL,
    account_id text NOT NULL,
    return_url text NOT NULL,
    refresh_url text NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    opened_at timestamptz,
    done_at timestamptz,
    CONSTRAINT onboarding_link_pkey PRIMARY KEY (token),
    CONSTRAINT onboarding_link_visit_key UNIQUE (visit),
    CONSTRAINT onboarding_link_account_id_fkey FOREIGN KEY (account_id)
    REFERENCES sandbox.account (id)
);

-- From our balance to an account's. recorded_at is real time, here and below.
CREATE TABLE sandbox.transfer (
    id text NOT NULL,
    idempotency_key text NOT NULL,
    request_hash bytea NOT NULL,
    reference text NOT NULL,
    account_id text NOT NULL,
    amount_minor bigint NOT NULL,
    currency text NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT transfer_pkey PRIMARY KEY (id),
    CONSTRAINT transfer_idempotency_key_key UNIQUE (idempotency_key),
    CONSTRAINT transfer_account_id_fkey FOREIGN KEY (account_id) REFERENCES sandbox.account (id),
    CONSTRAINT transfer_amount_minor_check CHECK (amount_minor > 0)
);
CREATE INDEX transfer_reference_idx ON sandbox.transfer (reference);
CREATE INDEX transfer_account_id_idx ON sandbox.transfer (account_id);

-- All of a transfer, back in our balance.
CREATE TABLE sandbox.transfer_return (
    id text NOT NULL,
    idempotency_key text NOT NULL,
    request_hash bytea NOT NULL,
    transfer_id text NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT transfer_return_pkey PRIMARY KEY (id),
    CONSTRAINT transfer_return_idempotency_key_key UNIQUE (idempotency_key),
    CONSTRAINT transfer_return_transfer_id_key UNIQUE (transfer_id),
    CONSTRAINT transfer_return_transfer_id_fkey FOREIGN KEY (transfer_id)
    REFERENCES sandbox.transfer (id)
);

-- From an account's balance to its owner's bank, which may send it back after it was paid.
CREATE TABLE sandbox.payout (
    id text NOT NULL,
    position bigint GENERATED ALWAYS AS IDENTITY,
    idempotency_key text NOT NULL,
    request_hash bytea NOT NULL,
    reference text NOT NULL,
    account_id text NOT NULL,
    amount_minor bigint NOT NULL,
    currency text NOT NULL,
    state text NOT NULL,
    failure text NOT NULL,
    created_at timestamptz NOT NULL,
    arrives_at timestamptz NOT NULL,
    CONSTRAINT payout_pkey PRIMARY KEY (id),
    CONSTRAINT payout_idempotency_key_key UNIQUE (idempotency_key),
    CONSTRAINT payout_account_id_fkey FOREIGN KEY (account_id) REFERENCES sandbox.account (id),
    CONSTRAINT payout_amount_minor_check CHECK (amount_minor > 0),
    CONSTRAINT payout_state_check CHECK (state IN ('pending', 'paid', 'failed')),
    CONSTRAINT payout_failure_check CHECK ((failure <> '') = (state = 'failed'))
);
CREATE INDEX payout_reference_idx ON sandbox.payout (reference);
CREATE INDEX payout_account_id_idx ON sandbox.payout (account_id);
-- The worker asks which payouts have arrived.
CREATE INDEX payout_arrival_idx ON sandbox.payout (arrives_at) WHERE state = 'pending';

-- Keys of calls that were refused for want of money: they are refused for ever, as at Stripe.
CREATE TABLE sandbox.spent_key (
    idempotency_key text NOT NULL,
    request_hash bytea NOT NULL,
    CONSTRAINT spent_key_pkey PRIMARY KEY (idempotency_key)
);

-- A payer's bank wants a payment back: one dispute of a payment at most.
CREATE TABLE sandbox.dispute (
    id text NOT NULL,
    payment_id text NOT NULL,
    amount_minor bigint NOT NULL,
    currency text NOT NULL,
    state text NOT NULL,
    evidence_due_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT dispute_pkey PRIMARY KEY (id),
    CONSTRAINT dispute_payment_id_key UNIQUE (payment_id),
    CONSTRAINT dispute_payment_id_fkey FOREIGN KEY (payment_id)
    REFERENCES sandbox.session (payment_id),
    CONSTRAINT dispute_amount_minor_check CHECK (amount_minor > 0),
    CONSTRAINT dispute_state_check CHECK (state IN ('open', 'won', 'lost'))
);

-- What a dispute took from our balance (negative), and gave back.
CREATE TABLE sandbox.dispute_line (
    id text NOT NULL,
    position bigint GENERATED ALWAYS AS IDENTITY,
    dispute_id text NOT NULL,
    amount_minor bigint NOT NULL,
    currency text NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT dispute_line_pkey PRIMARY KEY (id),
    CONSTRAINT dispute_line_dispute_id_fkey FOREIGN KEY (dispute_id)
    REFERENCES sandbox.dispute (id),
    CONSTRAINT dispute_line_amount_minor_check CHECK (amount_minor <> 0)
);
CREATE INDEX dispute_line_dispute_id_idx ON sandbox.dispute_line (dispute_id);

GRANT USAGE ON SCHEMA sandbox TO earnest_app;
GRANT SELECT, INSERT, UPDATE ON
sandbox.session, sandbox.outbox, sandbox.account, sandbox.onboarding_link, sandbox.payout,
sandbox.dispute
TO earnest_app;
GRANT SELECT, INSERT ON
sandbox.refund, sandbox.transfer, sandbox.transfer_return, sandbox.spent_key,
sandbox.dispute_line
TO earnest_app;
