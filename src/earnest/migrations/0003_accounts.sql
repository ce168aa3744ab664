-- Accounts: registrations that wait for their code, login sessions, outgoing mail.

-- Who asked for an account and has not yet typed the mailed code. The account is made from this
-- row and from nothing else. `code_hash` is keyed (six digits would fall to a plain hash).
CREATE TABLE registration (
    email_canonical text PRIMARY KEY,
    email text NOT NULL,
    name text NOT NULL,
    role text NOT NULL,
    password_hash text NOT NULL,
    code_hash bytea NOT NULL,
    code_expires_at timestamptz NOT NULL,
    tries_left smallint NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT registration_role_known CHECK (role IN ('client', 'freelancer')),
    CONSTRAINT registration_tries_floor CHECK (tries_left >= 0)
);
CREATE INDEX registration_to_purge ON registration (created_at);

-- A password that may be set anew by whoever reads the address's mail: one token at a time, kept
-- as a hash. Addresses without an account get a row, too, and no letter, so that asking costs
-- the same for every address.
CREATE TABLE password_reset (
    email_canonical text PRIMARY KEY,
    token_hash bytea NOT NULL,
    expires_at timestamptz NOT NULL
);
CREATE UNIQUE INDEX password_reset_by_token ON password_reset (token_hash);
CREATE INDEX password_reset_to_purge ON password_reset (expires_at);

-- One login on one device: a family of refresh tokens, revoked as a whole.
CREATE TABLE session (
    id uuid PRIMARY KEY,
    party_id bigint NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    revoked_at timestamptz,
    revoked_for text NOT NULL DEFAULT '',
    CONSTRAINT session_login_fk FOREIGN KEY (party_id) REFERENCES login (party_id)
);
CREATE INDEX session_by_party ON session (party_id) WHERE revoked_at IS NULL;

-- `id` is the token's jti; the token itself is signed and never stored.
CREATE TABLE refresh_token (
    id uuid PRIMARY KEY,
    session_id uuid NOT NULL,
    issued_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    rotated_at timestamptz,
    CONSTRAINT refresh_token_session_fk FOREIGN KEY (session_id) REFERENCES session (id)
    ON DELETE CASCADE
);
CREATE INDEX refresh_token_by_session ON refresh_token (session_id);
CREATE INDEX refresh_token_to_purge ON refresh_token (expires_at);

-- Letters to people. The sandbox mailbox reads the same rows. `code` and `link` repeat what the
-- text contains; in production all three are emptied once a letter was sent or given up.
-- `useful_until` is business time, as the codes are; a letter not sent by then never is. Given up
-- for that or after too many tries, it has `failed_at` and the reason in `last_error`.
CREATE TABLE mail (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    recipient text NOT NULL,
    recipient_canonical text NOT NULL,
    subject text NOT NULL,
    body text NOT NULL,
    code text,
    link text,
    created_at timestamptz NOT NULL,
    useful_until timestamptz NOT NULL,
    due_at timestamptz NOT NULL DEFAULT now(),
    attempts integer NOT NULL DEFAULT 0,
    sent_at timestamptz,
    failed_at timestamptz,
    last_error text NOT NULL DEFAULT ''
);
CREATE INDEX mail_by_recipient ON mail (recipient_canonical, id DESC);
CREATE INDEX mail_due ON mail (due_at) WHERE sent_at IS NULL AND failed_at IS NULL;
CREATE INDEX mail_outdated ON mail (useful_until) WHERE sent_at IS NULL AND failed_at IS NULL;

-- How often something may still be tried (GCRA): one row for each limit and whom it counts.
-- `key` is a keyed hash: no address and no e-mail address can be read here. By `forgotten_at`
-- everything charged is forgotten. Real time. Unlogged: charging waits for no disk, and a crash
-- of the database forgives everybody.
CREATE UNLOGGED TABLE rate_limit (
    key bytea PRIMARY KEY,
    forgotten_at timestamptz NOT NULL
);

-- From where somebody has signed in before; `key` is a keyed hash of account and address.
CREATE TABLE known_address (
    key bytea PRIMARY KEY,
    seen_at timestamptz NOT NULL
);
CREATE INDEX known_address_to_purge ON known_address (seen_at);

-- Charge each key once, or none of them: returns the seconds to wait until all would pass, and 0
-- when they have been charged. A key passes while what it was charged lies less than
-- `burst` x `per_seconds` ahead. Rows are made and locked in key order before any is looked at,
-- so attempts that arrive together are counted one after the other.
CREATE FUNCTION charge_limits(keys bytea [], bursts integer [], per_seconds integer [])
RETURNS double precision
LANGUAGE plpgsql
AS $$
DECLARE
    at timestamptz;
    wait_seconds double precision;
BEGIN
    INSERT INTO rate_limit (key, forgotten_at)
    SELECT c.key, '-infinity' FROM unnest(keys) AS c (key) ORDER BY c.key
    ON CONFLICT (key) DO UPDATE SET forgotten_at = rate_limit.forgotten_at;
    at := clock_timestamp();
    SELECT max(extract(EPOCH FROM greatest(r.forgotten_at, at) - at) + (1 - c.burst) * c.seconds)
    INTO wait_seconds
    FROM unnest(keys, bursts, per_seconds) AS c (key, burst, seconds)
    INNER JOIN rate_limit AS r ON r.key = c.key;
    IF wait_seconds > 0 THEN
        RETURN wait_seconds;
    END IF;
    UPDATE rate_limit AS r
    SET forgotten_at = greatest(r.forgotten_at, at) + make_interval(secs => c.seconds)
    FROM unnest(keys, per_seconds) AS c (key, seconds)
    WHERE r.key = c.key;
    RETURN 0;
END $$;

GRANT SELECT, INSERT, UPDATE, DELETE ON registration, password_reset, session, refresh_token, mail,
rate_limit, known_address TO earnest_app;
