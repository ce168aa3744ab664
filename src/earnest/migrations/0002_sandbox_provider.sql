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
    CONSTRAINT session_pkey PRIMARY KEY (id),
    CONSTRAINT session_idempotency_key_key UNIQUE (idempotency_key),
    CONSTRAINT session_payment_id_key UNIQUE (payment_id),
    CONSTRAINT session_amount_minor_check CHECK (amount_minor > 0),
    CONSTRAINT session_state_check
    CHECK (state IN ('open', 'processing', 'paid', 'failed', 'expired')),
    CONSTRAINT session_payment_id_check
    CHECK ((payment_id IS NULL) = (state IN ('open', 'expired')))
);

-- The worker asks which open sessions are past their time.
CREATE INDEX session_expiry_idx ON sandbox.session (expires_at) WHERE state = 'open';

CREATE TABLE sandbox.outbox (
    id text NOT NULL,
    position bigint GENERATED ALWAYS AS IDENTITY,
    session_id text NOT NULL,
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
    payment_id text NOT NULL,
    amount_minor bigint NOT NULL,
    currency text NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT refund_pkey PRIMARY KEY (id),
    CONSTRAINT refund_idempotency_key_key UNIQUE (idempotency_key),
    CONSTRAINT refund_payment_id_fkey FOREIGN KEY (payment_id)
    REFERENCES sandbox.session (payment_id),
    CONSTRAINT refund_amount_minor_check CHECK (amount_minor > 0)
);
CREATE INDEX refund_payment_id_idx ON sandbox.refund (payment_id);

GRANT USAGE ON SCHEMA sandbox TO earnest_app;
GRANT SELECT, INSERT, UPDATE ON sandbox.session, sandbox.outbox TO earnest_app;
GRANT SELECT, INSERT ON sandbox.refund TO earnest_app;
