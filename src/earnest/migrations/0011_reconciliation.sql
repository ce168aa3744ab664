-- Reconciliation: the provider's own books, next to what the ledger has at that provider.
--
-- The provider's books are in real time, the ledger's moments in business time, which a sandbox may
-- move. So every move is kept, and with it each moment has its place in the other time. Nothing is
-- ever moved in production: there both are the same.
CREATE TABLE clock_move (
    id bigint GENERATED ALWAYS AS IDENTITY,
    moved_at timestamptz NOT NULL,
    advance_seconds bigint NOT NULL,
    CONSTRAINT clock_move_pkey PRIMARY KEY (id)
);

CREATE FUNCTION keep_clock_move() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO clock_move (moved_at, advance_seconds)
    VALUES (clock_timestamp(), NEW.advance_seconds);
    RETURN NEW;
END $$;
CREATE TRIGGER business_clock_moved AFTER UPDATE ON business_clock
FOR EACH ROW EXECUTE FUNCTION keep_clock_move();

CREATE FUNCTION business_instant(at timestamptz) RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE
RETURN at + coalesce((
    SELECT make_interval(secs => max(m.advance_seconds))
    FROM clock_move AS m
    WHERE m.moved_at <= $1
), make_interval());

CREATE FUNCTION real_instant(at timestamptz) RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE
RETURN at - coalesce((
    SELECT make_interval(secs => max(m.advance_seconds))
    FROM clock_move AS m
    WHERE m.moved_at + make_interval(secs => m.advance_seconds) <= $1
), make_interval());

-- The lines of a provider's books about our balance, as they were first told.
CREATE TABLE balance_line (
    provider_account_id smallint NOT NULL,
    line_id text NOT NULL,
    day date NOT NULL,
    kind text NOT NULL,
    type text NOT NULL,
    amount_minor bigint NOT NULL,
    fee_minor bigint NOT NULL,
    currency text NOT NULL,
    source_id text NOT NULL,
    created_at timestamptz NOT NULL,
    available_at timestamptz NOT NULL,
    imported_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT balance_line_once PRIMARY KEY (provider_account_id, line_id),
    CONSTRAINT balance_line_provider_fk FOREIGN KEY (provider_account_id)
    REFERENCES provider_account (id),
    CONSTRAINT balance_line_day CHECK (day = (created_at AT TIME ZONE 'UTC')::date),
    CONSTRAINT balance_line_kind_known CHECK (
        kind IN (
            'charge', 'refund', 'refund_returned', 'transfer', 'transfer_returned', 'chargeback',
            'chargeback_returned', 'fee', 'bank', 'other'
        )
    )
);
CREATE INDEX balance_line_by_day ON balance_line (provider_account_id, day);

CREATE TRIGGER balance_line_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON balance_line
FOR EACH STATEMENT EXECUTE FUNCTION refuse_rewrite();

-- A day (UTC, real time) of one currency at one account, as it was last compared. Each side's
-- balances count from the first day that was reconciled.
CREATE TABLE reconciliation (
    provider_account_id smallint NOT NULL,
    day date NOT NULL,
    currency text NOT NULL,
    state text NOT NULL,
    ran_at timestamptz NOT NULL,
    there_opening_minor bigint NOT NULL,
    there_closing_minor bigint NOT NULL,
    here_opening_minor bigint NOT NULL,
    here_closing_minor bigint NOT NULL,
    drift_minor bigint NOT NULL,
    lines integer NOT NULL,
    entries integer NOT NULL,
    differences integer NOT NULL,
    CONSTRAINT reconciliation_pkey PRIMARY KEY (provider_account_id, day, currency),
    CONSTRAINT reconciliation_provider_fk FOREIGN KEY (provider_account_id)
    REFERENCES provider_account (id),
    -- open: the day was not over yet.
    CONSTRAINT reconciliation_state_known CHECK (state IN ('open', 'clean', 'different')),
    CONSTRAINT reconciliation_clean CHECK (
        state <> 'clean' OR (drift_minor = 0 AND differences = 0)
    ),
    CONSTRAINT reconciliation_drift CHECK (
        drift_minor = there_closing_minor - here_closing_minor
    )
);

-- What both sides differed on at the end of that day, and since which. last_seen is the ran_at of the run that found
-- it last; resolved_at is set once a later run, or a later day, has it no more.
CREATE TABLE reconciliation_difference (
    provider_account_id smallint NOT NULL,
    day date NOT NULL,
    currency text NOT NULL,
    kind text NOT NULL,
    source_id text NOT NULL,
    cause text NOT NULL,
    there_minor bigint NOT NULL,
    here_minor bigint NOT NULL,
    of text NOT NULL,
    since date NOT NULL,
    first_seen timestamptz NOT NULL,
    last_seen timestamptz NOT NULL,
    resolved_at timestamptz,
    -- An altered line goes by its own id, everything else by its source's.
    CONSTRAINT reconciliation_difference_pkey
    PRIMARY KEY (provider_account_id, day, currency, kind, source_id),
    CONSTRAINT reconciliation_difference_fk FOREIGN KEY (provider_account_id, day, currency)
    REFERENCES reconciliation (provider_account_id, day, currency),
    CONSTRAINT reconciliation_difference_cause_known CHECK (
        cause IN (
            'missing_here', 'missing_there', 'amount', 'fee', 'timing', 'currency', 'altered'
        )
    )
);

-- Alerts look at it every few seconds.
CREATE INDEX reconciliation_difference_open ON reconciliation_difference (day)
WHERE resolved_at IS NULL AND since = day AND cause <> 'timing';

-- One worker at a time compares an account's yesterday: which day was done last, when to try next.
CREATE TABLE reconciliation_turn (
    provider_account_id smallint NOT NULL,
    done_day date,
    next_try_at timestamptz NOT NULL,
    CONSTRAINT reconciliation_turn_pkey PRIMARY KEY (provider_account_id),
    CONSTRAINT reconciliation_turn_provider_fk FOREIGN KEY (provider_account_id)
    REFERENCES provider_account (id)
);

GRANT SELECT, INSERT ON clock_move, balance_line TO earnest_app;
GRANT SELECT, INSERT, UPDATE ON reconciliation, reconciliation_difference, reconciliation_turn
TO earnest_app;
