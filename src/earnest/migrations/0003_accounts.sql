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

GRANT SELECT, INSERT, UPDATE, DELETE ON registration, session, refresh_token, mail TO earnest_app;
