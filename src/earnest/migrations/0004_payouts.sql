-- Money out: who is paid where, payouts, chargebacks, and what was booked of the provider's books.

-- Where somebody is paid: a person, or the business itself (party_id is null). `external_account`
-- is the provider's name for it, null until that has made it; the other columns are what the
-- provider said last.
CREATE TABLE payout_account (
    id bigint PRIMARY KEY,
    public_id text NOT NULL,
    business_id integer NOT NULL,
    party_id bigint,
    provider_account_id smallint NOT NULL,
    country text NOT NULL,
    external_account text,
    is_payable boolean NOT NULL DEFAULT FALSE,
    lacks text [] NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL,
    checked_at timestamptz NOT NULL,
    CONSTRAINT payout_account_business_fk FOREIGN KEY (business_id) REFERENCES business (id),
    CONSTRAINT payout_account_party_fk FOREIGN KEY (business_id, party_id)
    REFERENCES party (business_id, id),
    CONSTRAINT payout_account_provider_fk FOREIGN KEY (provider_account_id)
    REFERENCES provider_account (id),
    CONSTRAINT payout_account_external_unique UNIQUE (provider_account_id, external_account),
    CONSTRAINT payout_account_payable CHECK (external_account IS NOT NULL OR NOT is_payable)
);
CREATE UNIQUE INDEX payout_account_of_party ON payout_account (party_id, provider_account_id)
WHERE party_id IS NOT NULL;
CREATE UNIQUE INDEX payout_account_of_business
ON payout_account (business_id, provider_account_id) WHERE party_id IS NULL;

-- Money on its way out of a wallet, or of what a business is owed (party_id is null). Each leg is
-- one call to the provider (invariant 14): a transfer to the owner's account there, a payout from
-- that to their bank, and the return of a transfer that could not be paid out. `calls` counts the
-- idempotency keys that this leg has used; see earnest/domain/payout.py for the states.
CREATE TABLE payout (
    id bigint PRIMARY KEY,
    public_id text NOT NULL,
    business_id integer NOT NULL,
    party_id bigint,
    provider_account_id smallint NOT NULL,
    external_account text NOT NULL,
    cause text NOT NULL,
    amount_minor bigint NOT NULL,
    currency text NOT NULL,
    created_at timestamptz NOT NULL,
    -- from here on: what a commit may change
    version integer NOT NULL,
    commit_id bigint NOT NULL,
    updated_at timestamptz NOT NULL,
    state text NOT NULL,
    leg text NOT NULL,
    attempts integer NOT NULL,
    calls integer NOT NULL,
    due_at timestamptz,
    provider_transfer_id text,
    provider_payout_id text,
    paid_at timestamptz,
    last_error text NOT NULL,
    CONSTRAINT payout_business_fk FOREIGN KEY (business_id) REFERENCES business (id),
    CONSTRAINT payout_party_fk FOREIGN KEY (business_id, party_id)
    REFERENCES party (business_id, id),
    CONSTRAINT payout_account_fk FOREIGN KEY (provider_account_id, external_account)
    REFERENCES payout_account (provider_account_id, external_account),
    CONSTRAINT payout_transfer_unique UNIQUE (provider_account_id, provider_transfer_id),
    CONSTRAINT payout_payout_unique UNIQUE (provider_account_id, provider_payout_id),
    CONSTRAINT payout_amount_positive CHECK (amount_minor > 0),
    CONSTRAINT payout_cause_known CHECK (cause IN ('asked', 'scheduled')),
    CONSTRAINT payout_state_known CHECK (
        state IN ('planned', 'sent', 'unknown', 'done', 'failed', 'stuck')
    ),
    CONSTRAINT payout_leg_known CHECK (leg IN ('transfer', 'payout', 'return')),
    CONSTRAINT payout_transferred CHECK (leg = 'transfer' OR provider_transfer_id IS NOT NULL),
    CONSTRAINT payout_done CHECK (
        (state = 'done') <= (leg = 'payout' AND provider_payout_id IS NOT NULL)
        AND (state = 'done') <= (paid_at IS NOT NULL)
    ),
    CONSTRAINT payout_failed CHECK (state <> 'failed' OR leg <> 'payout'),
    CONSTRAINT payout_due_while_open CHECK (
        (due_at IS NOT NULL) = (state IN ('planned', 'sent', 'unknown'))
    )
);
CREATE INDEX payout_by_party ON payout (party_id, id DESC);
CREATE INDEX payout_by_business ON payout (business_id, id DESC);
-- The payouts of what a business itself is owed, among those of all its people.
CREATE INDEX payout_of_business_itself ON payout (business_id, id DESC) WHERE party_id IS NULL;
CREATE INDEX payout_by_state ON payout (state, id DESC);
CREATE INDEX payout_due ON payout (due_at) WHERE due_at IS NOT NULL;

-- A payer's bank takes a payment back, or asks about it. What the provider says of the dispute is
-- looked up; `lines` is what was booked of it (earnest.domain.chargeback.Line as JSON).
CREATE TABLE chargeback (
    id bigint PRIMARY KEY,
    public_id text NOT NULL,
    business_id integer NOT NULL,
    payment_id bigint NOT NULL,
    -- Found later by a payment that was parked: the one key that may change.
    contract_id bigint,
    provider_account_id smallint NOT NULL,
    provider_dispute_id text NOT NULL,
    currency text NOT NULL,
    created_at timestamptz NOT NULL,
    -- from here on: what a commit may change
    version integer NOT NULL,
    commit_id bigint NOT NULL,
    updated_at timestamptz NOT NULL,
    state text NOT NULL,
    amount_minor bigint NOT NULL,
    reason text NOT NULL,
    evidence_due_at timestamptz,
    lines text NOT NULL,
    attempts integer NOT NULL,
    due_at timestamptz,
    last_error text NOT NULL,
    CONSTRAINT chargeback_payment_fk FOREIGN KEY (payment_id) REFERENCES payment (id),
    CONSTRAINT chargeback_contract_fk FOREIGN KEY (business_id, contract_id)
    REFERENCES contract (business_id, id),
    CONSTRAINT chargeback_dispute_unique UNIQUE (provider_account_id, provider_dispute_id),
    CONSTRAINT chargeback_amount CHECK (amount_minor >= 0),
    CONSTRAINT chargeback_state_known CHECK (
        state IN ('noticed', 'warning', 'open', 'review', 'won', 'lost')
    )
);
CREATE INDEX chargeback_by_payment ON chargeback (payment_id);
CREATE INDEX chargeback_by_contract ON chargeback (contract_id);
CREATE INDEX chargeback_by_state ON chargeback (state, id DESC);
CREATE INDEX chargeback_due ON chargeback (due_at) WHERE due_at IS NOT NULL;

-- The lines of a provider's books that nothing of ours caused and that were booked for their own
-- sake: fees, and what went to or came from our own bank. Each once.
CREATE TABLE booked_line (
    provider_account_id smallint NOT NULL,
    line_id text NOT NULL,
    commit_id bigint NOT NULL,
    kind text NOT NULL,
    amount_minor bigint NOT NULL,
    currency text NOT NULL,
    CONSTRAINT booked_line_once PRIMARY KEY (provider_account_id, line_id),
    CONSTRAINT booked_line_kind_known CHECK (kind IN ('fee', 'bank'))
);
CREATE INDEX booked_line_by_commit ON booked_line (commit_id);

CREATE TRIGGER booked_line_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON booked_line
FOR EACH STATEMENT EXECUTE FUNCTION refuse_rewrite();

GRANT SELECT, INSERT ON booked_line TO earnest_app;
GRANT SELECT, INSERT, UPDATE ON payout_account, payout, chargeback TO earnest_app;
