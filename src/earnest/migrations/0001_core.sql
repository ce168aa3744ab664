-- The core: businesses and people, jobs, contracts, payments, the ledger, the audit chain.
--
-- Keys are bigints drawn from two sequences in blocks; a public id carries its key
-- (see earnest/ids.py), so it needs no index of its own. Amounts are integers in minor units.
-- `commit_id` names the commit that wrote a row last: it is the id of that commit's first event.

CREATE SEQUENCE object_key INCREMENT BY 256 MAXVALUE 1099511627775 NO CYCLE;
CREATE SEQUENCE entry_key INCREMENT BY 4096 NO CYCLE;
CREATE SEQUENCE contract_number INCREMENT BY 32 MAXVALUE 89999969 NO CYCLE;
CREATE SEQUENCE partner_number INCREMENT BY 32 MAXVALUE 99899968 CYCLE;
CREATE SEQUENCE business_key START 2;

-- Business time -----------------------------------------------------------------------------

CREATE TABLE business_clock (
    singleton boolean PRIMARY KEY DEFAULT TRUE,
    advance_seconds bigint NOT NULL DEFAULT 0,
    CONSTRAINT business_clock_one_row CHECK (singleton),
    CONSTRAINT business_clock_forward_only CHECK (advance_seconds >= 0)
);
INSERT INTO business_clock (singleton) VALUES (TRUE);

-- The database's clock plus the one stored offset (sandbox test clock).
CREATE FUNCTION business_now() RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE
RETURN statement_timestamp()
+ (SELECT make_interval(secs => advance_seconds) FROM business_clock);

-- Businesses and people ---------------------------------------------------------------------

-- The marketplace is business 1; a partner is another business. Fee plan, cancellation policy
-- and switches are data (earnest.domain.business.Settings as JSON).
CREATE TABLE business (
    id integer PRIMARY KEY,
    name text NOT NULL,
    currency text NOT NULL,
    settings text NOT NULL,
    version integer NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    public_id uuid NOT NULL DEFAULT gen_random_uuid(),
    CONSTRAINT business_public_id_unique UNIQUE (public_id)
);

-- Whoever changes a business: what was priced before must not be checked by the new settings.
CREATE FUNCTION count_version() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.version := OLD.version + 1;
    RETURN NEW;
END $$;
CREATE TRIGGER business_versioned BEFORE UPDATE ON business
FOR EACH ROW EXECUTE FUNCTION count_version();

-- The marketplace; {} means every switch at its default.
INSERT INTO business (id, name, currency, settings) VALUES (1, 'Marketplace', 'INR', '{}');

-- A buyer, a seller or an administrator, as others see them. The parties of a partner have a
-- platform reference and a phone number, each once in their business; their name is both names.
CREATE TABLE party (
    id bigint PRIMARY KEY,
    public_id text NOT NULL,
    business_id integer NOT NULL,
    name text NOT NULL,
    email text NOT NULL DEFAULT '',
    picture text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT now(),
    platform_ref text,
    phone text,
    first_name text,
    last_name text,
    CONSTRAINT party_business_fk FOREIGN KEY (business_id) REFERENCES business (id),
    CONSTRAINT party_in_business UNIQUE (business_id, id),
    CONSTRAINT party_of_partner CHECK (
        (business_id <> 1) = (platform_ref IS NOT NULL)
        AND (business_id <> 1) = (phone IS NOT NULL)
        AND (business_id <> 1) = (first_name IS NOT NULL)
        AND (business_id <> 1) = (last_name IS NOT NULL)
    )
);
CREATE UNIQUE INDEX party_ref_unique ON party (business_id, platform_ref)
WHERE platform_ref IS NOT NULL;
CREATE UNIQUE INDEX party_phone_unique ON party (business_id, phone) WHERE phone IS NOT NULL;

-- How a party signs in. Role and party never change (privileges and trigger below). Status and
-- `token_generation` are read on every request: tokens of an earlier generation are no longer
-- good, so counting it up signs somebody out everywhere, at once. An administrator's login comes with an event admin.created whose
-- subject is party:PUBLIC_ID, in the same database transaction: `earnest verify` asks for it.
CREATE TABLE login (
    party_id bigint PRIMARY KEY,
    role text NOT NULL,
    status text NOT NULL DEFAULT 'Active',
    email_canonical text NOT NULL,
    password_hash text NOT NULL,
    token_generation integer NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT login_party_fk FOREIGN KEY (party_id) REFERENCES party (id),
    CONSTRAINT login_email_unique UNIQUE (email_canonical),
    CONSTRAINT login_role_known CHECK (role IN ('client', 'freelancer', 'admin')),
    CONSTRAINT login_status_known CHECK (status IN ('Active', 'Blocked'))
);
-- An operator's lists are of one role, newest first.
CREATE INDEX login_by_role ON login (role, party_id DESC);

-- Jobs --------------------------------------------------------------------------------------

CREATE TABLE category (
    id bigint PRIMARY KEY,
    public_id text NOT NULL,
    name text NOT NULL,
    is_listed boolean NOT NULL DEFAULT TRUE,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX category_name_unique ON category (lower(name));

CREATE TABLE skill (
    id bigint PRIMARY KEY,
    public_id text NOT NULL,
    name text NOT NULL,
    is_listed boolean NOT NULL DEFAULT TRUE,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX skill_name_unique ON skill (lower(name));

-- `listing` is what the client says of the job. A job with a live contract is Closed and has a
-- hired freelancer whatever `listing` says: both are read from that contract, never written here.
CREATE TABLE job (
    id bigint PRIMARY KEY,
    public_id text NOT NULL,
    business_id integer NOT NULL,
    client_id bigint NOT NULL,
    title text NOT NULL,
    description text NOT NULL,
    rate_minor bigint NOT NULL,
    currency text NOT NULL,
    experience_level text NOT NULL,
    location text NOT NULL DEFAULT '',
    category_id bigint,
    listing text NOT NULL DEFAULT 'Open',
    start_date date,
    end_date date,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT job_client_fk FOREIGN KEY (business_id, client_id)
    REFERENCES party (business_id, id),
    CONSTRAINT job_category_fk FOREIGN KEY (category_id) REFERENCES category (id),
    CONSTRAINT job_in_business UNIQUE (business_id, id),
    CONSTRAINT job_rate_positive CHECK (rate_minor > 0),
    CONSTRAINT job_listing_known CHECK (listing IN ('Open', 'Ongoing', 'Closed')),
    CONSTRAINT job_level_known CHECK (experience_level IN ('Beginner', 'Intermediate', 'Expert'))
);
CREATE INDEX job_by_client ON job (client_id, id DESC);
CREATE INDEX job_open ON job (id DESC) WHERE listing = 'Open';

CREATE TABLE job_skill (
    job_id bigint NOT NULL,
    skill_id bigint NOT NULL,
    position smallint NOT NULL,
    PRIMARY KEY (job_id, skill_id),
    CONSTRAINT job_skill_job_fk FOREIGN KEY (job_id) REFERENCES job (id),
    CONSTRAINT job_skill_skill_fk FOREIGN KEY (skill_id) REFERENCES skill (id)
);

CREATE TABLE application (
    id bigint PRIMARY KEY,
    public_id text NOT NULL,
    job_id bigint NOT NULL,
    freelancer_id bigint NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT application_job_fk FOREIGN KEY (job_id) REFERENCES job (id),
    CONSTRAINT application_freelancer_fk FOREIGN KEY (freelancer_id) REFERENCES party (id),
    CONSTRAINT application_once UNIQUE (job_id, freelancer_id)
);
CREATE INDEX application_by_freelancer ON application (freelancer_id, id DESC);

-- Contracts ---------------------------------------------------------------------------------

-- The hot row: state, version, keys. What never changes stands in contract_terms.
CREATE TABLE contract (
    id bigint PRIMARY KEY,
    public_id text NOT NULL,
    business_id integer NOT NULL,
    number text NOT NULL,
    buyer_id bigint NOT NULL,
    seller_id bigint NOT NULL,
    job_id bigint,
    currency text NOT NULL,
    amount_minor bigint NOT NULL,
    created_at timestamptz NOT NULL,
    -- from here on: what a commit may change
    version integer NOT NULL,
    commit_id bigint NOT NULL,
    updated_at timestamptz NOT NULL,
    agreement text NOT NULL,
    work text NOT NULL,
    dispute text NOT NULL,
    tranches text [] NOT NULL,
    funded_at timestamptz,
    settled_at timestamptz,
    started_at timestamptz,
    ongoing_at timestamptz,
    completed_at timestamptz,
    cancelled_at timestamptz,
    cancelled_by text,
    cancelled_work text,
    cancel_reason text NOT NULL,
    cancel_reason_description text NOT NULL,
    refund_requested_at timestamptz,
    unclaimed boolean NOT NULL,
    charged_back boolean NOT NULL DEFAULT FALSE,
    event_seq integer NOT NULL,
    event_head bytea NOT NULL,
    live boolean GENERATED ALWAYS AS (
        agreement IN ('draft', 'pending', 'accepted')
    ) STORED,
    CONSTRAINT contract_buyer_fk FOREIGN KEY (business_id, buyer_id)
    REFERENCES party (business_id, id),
    CONSTRAINT contract_seller_fk FOREIGN KEY (business_id, seller_id)
    REFERENCES party (business_id, id),
    CONSTRAINT contract_job_fk FOREIGN KEY (business_id, job_id)
    REFERENCES job (business_id, id),
    CONSTRAINT contract_number_unique UNIQUE (business_id, number),
    CONSTRAINT contract_in_business UNIQUE (business_id, id),
    CONSTRAINT contract_two_parties CHECK (buyer_id <> seller_id),
    CONSTRAINT contract_amount_positive CHECK (amount_minor > 0),
    CONSTRAINT contract_agreement_known CHECK (
        agreement IN (
            'draft', 'pending', 'accepted', 'rejected', 'expired', 'cancelled', 'terminated'
        )
    ),
    CONSTRAINT contract_work_known CHECK (
        work IN ('not_started', 'started', 'ongoing', 'delivered', 'completed')
    ),
    CONSTRAINT contract_dispute_known CHECK (dispute IN ('none', 'open', 'resolved')),
    CONSTRAINT contract_tranches_known CHECK (
        cardinality(tranches) BETWEEN 1 AND 100
        AND tranches <@ ARRAY[
            'unfunded', 'awaiting_payment', 'held', 'release_requested', 'released',
            'refund_pending', 'refunded', 'split'
        ]
    )
) WITH (fillfactor = 85);
CREATE INDEX contract_by_business ON contract (business_id, created_at DESC, id DESC);
CREATE INDEX contract_by_buyer ON contract (buyer_id, created_at DESC, id DESC);
CREATE INDEX contract_by_seller ON contract (seller_id, created_at DESC, id DESC);
CREATE INDEX contract_by_job ON contract (job_id);
-- A job is bound by at most one live contract: this index decides who was first.
CREATE UNIQUE INDEX contract_one_live_per_job ON contract (job_id) WHERE live;
-- By when its money came in. Of a few pages, and no release or refund touches it: an ordinary index here,
-- or one of what is still held, would make every settlement write an entry into each index of the
-- contract.
CREATE INDEX contract_funded_at ON contract
USING brin (funded_at) WITH (pages_per_range = 16, autosummarize = on);

-- The status of a partner's contract (partner spec 7): earnest.domain.projection.partner_status,
-- said once more for lists; a test holds both to each other in every state there can be.
CREATE FUNCTION partner_status(c contract) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN c.tranches @> ARRAY['refund_pending'] THEN 'refundInProgress'
    WHEN c.tranches && ARRAY['held', 'release_requested'] THEN
        CASE WHEN c.dispute = 'open' OR c.charged_back THEN 'dispute' ELSE 'escrow' END
    WHEN NOT c.live AND NOT c.tranches @> ARRAY['refunded'] THEN c.agreement
    WHEN c.tranches @> ARRAY['awaiting_payment'] THEN 'waitingForBankPayment'
    WHEN c.tranches <@ ARRAY['released', 'refunded', 'split'] THEN
        CASE
            WHEN c.tranches @> ARRAY['released'] AND c.work = 'completed' THEN 'completed'
            WHEN c.tranches && ARRAY['refunded', 'split'] THEN 'refunded'
            ELSE 'released'
        END
    WHEN c.agreement IN ('draft', 'pending') THEN c.agreement
    WHEN c.work = 'not_started' THEN 'accepted'
    ELSE 'approved'
END;

-- Written once: what the parties agreed to, priced (earnest.domain.terms.Terms as JSON).
CREATE TABLE contract_terms (
    contract_id bigint PRIMARY KEY,
    commit_id bigint NOT NULL,
    terms text NOT NULL,
    CONSTRAINT contract_terms_contract_fk FOREIGN KEY (contract_id) REFERENCES contract (id)
);

-- A contract with what its documents name: its terms, both people and the job. Its readers take
-- all columns, by position: see earnest.store.contracts.
CREATE VIEW contract_document AS
SELECT
    c AS contract,
    t.terms,
    buyer.public_id AS buyer_public_id,
    buyer.name AS buyer_name,
    buyer.email AS buyer_email,
    buyer.picture AS buyer_picture,
    seller.public_id AS seller_public_id,
    seller.name AS seller_name,
    seller.email AS seller_email,
    seller.picture AS seller_picture,
    j.public_id AS job_public_id,
    j.client_id AS job_client_id,
    j.title AS job_title,
    j.description AS job_description,
    j.rate_minor AS job_rate_minor,
    j.currency AS job_currency,
    j.listing AS job_listing
FROM contract AS c
INNER JOIN contract_terms AS t ON c.id = t.contract_id
INNER JOIN party AS buyer ON c.buyer_id = buyer.id
INNER JOIN party AS seller ON c.seller_id = seller.id
LEFT JOIN job AS j ON c.job_id = j.id;

-- Payments ----------------------------------------------------------------------------------

-- Our accounts at payment providers; `external_account` is '' for the platform's own.
CREATE TABLE provider_account (
    id smallint PRIMARY KEY,
    provider text NOT NULL,
    external_account text NOT NULL DEFAULT '',
    livemode boolean NOT NULL DEFAULT FALSE,
    CONSTRAINT provider_account_unique UNIQUE (provider, external_account, livemode)
);
INSERT INTO provider_account (id, provider, livemode) VALUES
(1, 'sandbox', FALSE), (2, 'stripe', FALSE), (3, 'stripe', TRUE);

-- One checkout: what we asked a provider to collect, and what became of it.
CREATE TABLE payment (
    id bigint PRIMARY KEY,
    public_id text NOT NULL,
    business_id integer NOT NULL,
    job_id bigint,
    buyer_id bigint NOT NULL,
    seller_id bigint NOT NULL,
    provider_account_id smallint NOT NULL,
    amount_minor bigint NOT NULL,
    currency text NOT NULL,
    -- What the provider was asked to repeat in its events, JSON.
    metadata text NOT NULL,
    created_at timestamptz NOT NULL,
    -- from here on: what a commit may change
    version integer NOT NULL,
    commit_id bigint NOT NULL,
    updated_at timestamptz NOT NULL,
    state text NOT NULL,
    contract_id bigint,
    session_id text,
    session_url text NOT NULL,
    session_expires_at timestamptz,
    provider_payment_id text,
    captured_at timestamptz,
    CONSTRAINT payment_buyer_fk FOREIGN KEY (business_id, buyer_id)
    REFERENCES party (business_id, id),
    CONSTRAINT payment_seller_fk FOREIGN KEY (business_id, seller_id)
    REFERENCES party (business_id, id),
    CONSTRAINT payment_job_fk FOREIGN KEY (business_id, job_id)
    REFERENCES job (business_id, id),
    CONSTRAINT payment_contract_fk FOREIGN KEY (business_id, contract_id)
    REFERENCES contract (business_id, id),
    CONSTRAINT payment_provider_account_fk FOREIGN KEY (provider_account_id)
    REFERENCES provider_account (id),
    CONSTRAINT payment_session_unique UNIQUE (provider_account_id, session_id),
    CONSTRAINT payment_provider_payment_unique UNIQUE (provider_account_id, provider_payment_id),
    CONSTRAINT payment_amount_positive CHECK (amount_minor > 0),
    CONSTRAINT payment_state_known CHECK (
        state IN (
            'opening', 'open', 'processing', 'expired', 'failed',
            'captured', 'parked', 'refunded', 'charged_back'
        )
    )
);
-- One checkout at a time per job, whoever asks first.
CREATE UNIQUE INDEX payment_one_open_per_job ON payment (job_id)
WHERE state IN ('opening', 'open', 'processing');
-- A contract without a job has one checkout at a time, too.
CREATE UNIQUE INDEX payment_one_open_per_contract ON payment (contract_id)
WHERE job_id IS NULL AND state IN ('opening', 'open', 'processing');
CREATE INDEX payment_parked ON payment (job_id) WHERE state = 'parked';
CREATE INDEX payment_parked_since ON payment (captured_at) WHERE state = 'parked';
CREATE INDEX payment_by_contract ON payment (contract_id);

-- Money on its way back to where it came from: the intent of one call to the provider, written
-- before that is made (invariant 14). `parts` says what becomes of each tranche once the provider
-- has done it (earnest.domain.refund.Part as JSON); until then the money stays held.
CREATE TABLE refund (
    id bigint PRIMARY KEY,
    public_id text NOT NULL,
    business_id integer NOT NULL,
    contract_id bigint NOT NULL,
    payment_id bigint NOT NULL,
    kind text NOT NULL,
    parts text NOT NULL,
    amount_minor bigint NOT NULL,
    currency text NOT NULL,
    reason text NOT NULL,
    created_at timestamptz NOT NULL,
    -- from here on: what a commit may change
    version integer NOT NULL,
    commit_id bigint NOT NULL,
    updated_at timestamptz NOT NULL,
    state text NOT NULL,
    attempts integer NOT NULL,
    -- How many idempotency keys its call has used.
    calls integer NOT NULL,
    due_at timestamptz,
    provider_refund_id text,
    last_error text NOT NULL,
    CONSTRAINT refund_contract_fk FOREIGN KEY (business_id, contract_id)
    REFERENCES contract (business_id, id),
    CONSTRAINT refund_payment_fk FOREIGN KEY (payment_id) REFERENCES payment (id),
    CONSTRAINT refund_provider_refund_unique UNIQUE (provider_refund_id),
    CONSTRAINT refund_amount_positive CHECK (amount_minor > 0),
    CONSTRAINT refund_kind_known CHECK (kind IN ('full', 'partial', 'cancellation', 'late')),
    CONSTRAINT refund_state_known CHECK (
        state IN (
            'requested', 'planned', 'sent', 'unknown', 'done', 'failed', 'returned', 'declined'
        )
    ),
    CONSTRAINT refund_done_by_provider CHECK (
        state NOT IN ('done', 'returned') OR provider_refund_id IS NOT NULL
    ),
    -- One that is done may be looked up again.
    CONSTRAINT refund_due_while_open CHECK (
        (due_at IS NOT NULL) = (state IN ('planned', 'sent', 'unknown')) OR state = 'done'
    )
);
CREATE INDEX refund_by_contract ON refund (contract_id);
CREATE INDEX refund_due ON refund (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX refund_by_state ON refund (state, id DESC);

-- The inbox: every signed provider event, once, with what it led to.
CREATE TABLE provider_event (
    provider text NOT NULL,
    event_id text NOT NULL,
    commit_id bigint NOT NULL,
    type text NOT NULL,
    session_id text,
    outcome text NOT NULL,
    reason text NOT NULL,
    took_money boolean NOT NULL,
    payload bytea NOT NULL,
    received_at timestamptz NOT NULL,
    CONSTRAINT provider_event_once PRIMARY KEY (provider, event_id),
    CONSTRAINT provider_event_outcome_known CHECK (
        outcome IN ('applied', 'ignored', 'parked', 'quarantined')
    )
);
-- At most one event brings the money of a session in; at most one claim of other money in that
-- session's name goes to suspense.
CREATE UNIQUE INDEX provider_event_money_once
ON provider_event (provider, session_id, (outcome = 'quarantined')) WHERE took_money;
CREATE INDEX provider_event_quarantined ON provider_event (received_at)
WHERE outcome = 'quarantined';

-- The ledger --------------------------------------------------------------------------------

-- An account id packs kind (6 bits), ISO 4217 numeric currency (10), sub-account (7) and owner
-- key (40): see earnest/ledger/accounts.py. Kinds 1 (held) and 2 (wallet) have a floor of zero
-- and a running balance; all others are append-only sums.
CREATE FUNCTION account_kind(account bigint) RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (account >> 57)::integer;

CREATE FUNCTION account_currency(account bigint) RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN ((account >> 47) & 1023)::integer;

-- One row moves one amount from one account to another: balanced by construction.
CREATE TABLE transfer (
    id bigint PRIMARY KEY,
    commit_id bigint NOT NULL,
    movement text NOT NULL,
    debit bigint NOT NULL,
    credit bigint NOT NULL,
    amount_minor bigint NOT NULL,
    contract_id bigint,
    payment_id bigint,
    reverses_id bigint,
    occurred_at timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL,
    xid bigint NOT NULL,
    CONSTRAINT transfer_amount_positive CHECK (amount_minor > 0),
    CONSTRAINT transfer_two_accounts CHECK (debit <> credit),
    CONSTRAINT transfer_one_currency CHECK ((debit >> 47) & 1023 = (credit >> 47) & 1023)
);
CREATE INDEX transfer_by_debit ON transfer (debit, xid);
CREATE INDEX transfer_by_credit ON transfer (credit, xid);
CREATE INDEX transfer_by_xid ON transfer USING brin (xid) WITH (autosummarize = on);
-- What an account has at a provider is read day by day. Rows come in the order of this column, so
-- that an index of a few pages finds the blocks of one day among millions; an ordinary one would be
-- another entry for each transfer ever made. Within those blocks, transfers of other accounts are
-- skipped.
CREATE INDEX transfer_by_recorded_at ON transfer
USING brin (recorded_at) WITH (pages_per_range = 32, autosummarize = on);

-- Running balances of the accounts that may never go below zero.
CREATE TABLE balance (
    account bigint PRIMARY KEY,
    amount_minor bigint NOT NULL,
    CONSTRAINT balance_floor CHECK (amount_minor >= 0)
) WITH (fillfactor = 70);

-- Sums of the append-only accounts over all transfers with xid < horizon.
CREATE TABLE ledger_horizon (
    singleton boolean PRIMARY KEY DEFAULT TRUE,
    horizon_xid bigint NOT NULL DEFAULT 0,
    -- Added to this cluster's transaction ids, so that they go on rising after a restore
    -- into a younger cluster.
    xid_offset bigint NOT NULL DEFAULT 0,
    closed_at timestamptz,
    CONSTRAINT ledger_horizon_one_row CHECK (singleton)
);
INSERT INTO ledger_horizon (singleton) VALUES (TRUE);

CREATE TABLE rollup (
    account bigint PRIMARY KEY,
    debits_minor numeric NOT NULL,
    credits_minor numeric NOT NULL
);

-- The audit trail ---------------------------------------------------------------------------

-- This transaction, in the count that goes on rising after a restore.
CREATE FUNCTION ledger_xid() RETURNS bigint
LANGUAGE sql STABLE
RETURN pg_current_xact_id()::text::bigint + (SELECT h.xid_offset FROM ledger_horizon AS h);

-- Events of a contract form its hash chain (contract_id, seq, hash); events of other subjects
-- have no chain. The first event of a commit has id = commit_id.
CREATE TABLE event (
    id bigint PRIMARY KEY,
    commit_id bigint NOT NULL,
    contract_id bigint,
    seq integer,
    subject text NOT NULL,
    type text NOT NULL,
    actor text NOT NULL,
    recorded_at timestamptz NOT NULL,
    body text NOT NULL,
    hash bytea,
    xid bigint NOT NULL DEFAULT ledger_xid(),
    CONSTRAINT event_chain_complete CHECK (
        (contract_id IS NULL AND seq IS NULL AND hash IS NULL)
        OR (contract_id IS NOT NULL AND seq IS NOT NULL AND hash IS NOT NULL)
    )
);
CREATE UNIQUE INDEX event_chain ON event (contract_id, seq) WHERE contract_id IS NOT NULL;
CREATE INDEX event_by_xid ON event USING brin (xid) WITH (autosummarize = on);

-- The newest anchor of each chain of them (earnest/anchors.py), as its writer last noted it here:
-- so that it is missed when it is gone from its file. Anchors themselves are not in the database.
CREATE TABLE anchor_tip (
    chain uuid PRIMARY KEY,
    place text NOT NULL,
    number integer NOT NULL,
    hash text NOT NULL,
    noted_at timestamptz NOT NULL
);

-- Idempotency -------------------------------------------------------------------------------

-- scope = SHA-256(principal, method, route, key); the other columns say what went into it. A reply
-- that carries a secret is sealed (earnest.sealing) and emptied after a day.
CREATE TABLE idempotency_key (
    scope bytea NOT NULL,
    commit_id bigint NOT NULL,
    principal text NOT NULL,
    route text NOT NULL,
    key text NOT NULL,
    request_hash bytea NOT NULL,
    status smallint NOT NULL,
    reply bytea NOT NULL,
    moves_money boolean NOT NULL,
    is_sealed boolean NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT idempotency_key_once PRIMARY KEY (scope)
);
CREATE INDEX idempotency_key_to_purge ON idempotency_key (created_at) WHERE NOT moves_money;
CREATE INDEX idempotency_key_to_empty ON idempotency_key (created_at)
WHERE is_sealed AND reply <> '';

-- Privileges --------------------------------------------------------------------------------

CREATE FUNCTION refuse_rewrite() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: correct it with a new, linked row', tg_table_name
    USING ERRCODE = 'insufficient_privilege';
END $$;

CREATE TRIGGER transfer_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON transfer
FOR EACH STATEMENT EXECUTE FUNCTION refuse_rewrite();
CREATE TRIGGER event_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON event
FOR EACH STATEMENT EXECUTE FUNCTION refuse_rewrite();
CREATE TRIGGER provider_event_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON provider_event
FOR EACH STATEMENT EXECUTE FUNCTION refuse_rewrite();
CREATE TRIGGER contract_terms_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON contract_terms
FOR EACH STATEMENT EXECUTE FUNCTION refuse_rewrite();

CREATE FUNCTION refuse_new_role() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'a login keeps its role and its party: make another account'
    USING ERRCODE = 'insufficient_privilege';
END $$;

CREATE TRIGGER login_role_fixed BEFORE UPDATE OF party_id, role ON login
FOR EACH STATEMENT EXECUTE FUNCTION refuse_new_role();

GRANT USAGE ON SCHEMA public TO earnest_app;
GRANT USAGE ON SEQUENCE object_key, entry_key, contract_number, partner_number, business_key
TO earnest_app;
GRANT SELECT, INSERT ON transfer, event, provider_event, contract_terms TO earnest_app;
GRANT SELECT, INSERT, UPDATE ON contract, payment, refund, balance, rollup, party,
category, skill, job, business, anchor_tip TO earnest_app;
GRANT SELECT, INSERT, UPDATE (status, password_hash, token_generation, updated_at)
ON login TO earnest_app;
GRANT SELECT, INSERT, DELETE ON application, job_skill, idempotency_key TO earnest_app;
GRANT UPDATE (reply) ON idempotency_key TO earnest_app;
GRANT SELECT, UPDATE ON business_clock, ledger_horizon TO earnest_app;
GRANT SELECT ON provider_account, contract_document TO earnest_app;
