-- Who a partner's buyers and sellers are: what they said, and what was verified of it.

-- One row for each party of whom anything is known. What identifies a person is sealed with a key
-- that is not in the database (earnest.sealing): nothing of it can be read, searched or compared
-- here. Steps are taken in order and once; the last one completes the whole. Business time.
CREATE TABLE kyc (
    party_id bigint PRIMARY KEY,
    national_id bytea,
    date_of_birth bytea,
    -- The names as the register knows them; the party keeps those that its partner gave it.
    first_name bytea,
    last_name bytea,
    iban bytea,
    bic bytea,
    -- What was answered to the questions, as JSON.
    answers bytea,
    -- Where the pages lead when all is done; empty: nowhere.
    callback_url text NOT NULL DEFAULT '',
    -- The one-time code on its way: the provider knows it by this reference, we do not know it.
    code_reference uuid,
    code_sent_at timestamptz,
    code_tries_left smallint NOT NULL DEFAULT 0,
    identified_at timestamptz,
    answered_at timestamptz,
    verified_at timestamptz,
    bank_account_at timestamptz,
    -- All of the four steps are done.
    completed_at timestamptz,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    CONSTRAINT kyc_party_fk FOREIGN KEY (party_id) REFERENCES party (id),
    CONSTRAINT kyc_tries_floor CHECK (code_tries_left >= 0),
    CONSTRAINT kyc_code_sent CHECK ((code_reference IS NULL) = (code_sent_at IS NULL)),
    CONSTRAINT kyc_in_order CHECK (
        (answered_at IS NULL OR identified_at IS NOT NULL)
        AND (verified_at IS NULL OR answered_at IS NOT NULL)
        AND (bank_account_at IS NULL OR verified_at IS NOT NULL)
    ),
    CONSTRAINT kyc_identified CHECK (
        identified_at IS NULL
        OR (national_id IS NOT NULL AND first_name IS NOT NULL AND last_name IS NOT NULL)
    ),
    CONSTRAINT kyc_answered CHECK (answered_at IS NULL OR answers IS NOT NULL),
    CONSTRAINT kyc_bank_account CHECK (
        bank_account_at IS NULL OR (iban IS NOT NULL AND bic IS NOT NULL)
    ),
    CONSTRAINT kyc_completed CHECK ((completed_at IS NULL) = (bank_account_at IS NULL))
);

GRANT SELECT, INSERT, UPDATE ON kyc TO earnest_app;
