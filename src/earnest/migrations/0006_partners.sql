-- Partners: their credentials, the keys that sign what they are given, their webhooks.

-- How a business signs in: one client each. The secret is 32 random bytes, so a plain hash hides
-- it. Tokens of an earlier generation are no longer good; a new secret begins a new generation.
CREATE TABLE api_client (
    client_id text PRIMARY KEY,
    business_id integer NOT NULL,
    secret_hash bytea NOT NULL,
    status text NOT NULL DEFAULT 'Active',
    token_generation integer NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    rotated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT api_client_business_fk FOREIGN KEY (business_id) REFERENCES business (id),
    CONSTRAINT api_client_one_per_business UNIQUE (business_id),
    CONSTRAINT api_client_status_known CHECK (status IN ('Active', 'Blocked'))
);

-- What access tokens and checkout results are signed with. Real time. `private_key` is sealed with
-- a key that is not in the database (earnest.sealing); the public half, which is published, is
-- derived from it and stands nowhere: who can write here cannot slip a key in.
CREATE TABLE signing_key (
    kid text PRIMARY KEY,
    private_key bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    -- Signs until then, verifies for as long as its tokens live, and is then deleted.
    retires_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    CONSTRAINT signing_key_life CHECK (created_at < retires_at AND retires_at < expires_at)
);

-- Webhooks out -------------------------------------------------------------------------------

-- Where a business wants to hear of its events; one at a time. Secrets are sealed. For 24 hours
-- after a change the standard signature is made with the old one, too. Business time, but for the
-- lease: one worker at a time delivers to an endpoint.
CREATE TABLE webhook_endpoint (
    id uuid PRIMARY KEY,
    business_id integer NOT NULL,
    url text NOT NULL,
    secret bytea NOT NULL,
    old_secret bytea,
    old_secret_until timestamptz,
    is_active boolean NOT NULL DEFAULT TRUE,
    -- Deliveries in a row that ended in failure; attempts in a row that failed.
    consecutive_failures integer NOT NULL DEFAULT 0,
    failed_attempts integer NOT NULL DEFAULT 0,
    disabled_at timestamptz,
    disabled_for text NOT NULL DEFAULT '',
    last_success_at timestamptz,
    last_failure_at timestamptz,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    deleted_at timestamptz,
    leased_by uuid,
    leased_until timestamptz NOT NULL DEFAULT 'epoch',
    CONSTRAINT webhook_endpoint_business_fk FOREIGN KEY (business_id) REFERENCES business (id),
    CONSTRAINT webhook_endpoint_in_business UNIQUE (business_id, id),
    CONSTRAINT webhook_endpoint_old_secret CHECK (
        (old_secret IS NULL) = (old_secret_until IS NULL)
    ),
    CONSTRAINT webhook_endpoint_disabled CHECK (
        is_active = (disabled_at IS NULL) AND is_active = (disabled_for = '')
    ),
    CONSTRAINT webhook_endpoint_disabled_for_known CHECK (
        disabled_for IN ('', 'failures', 'gone')
    )
) WITH (fillfactor = 70);
CREATE UNIQUE INDEX webhook_endpoint_one ON webhook_endpoint (business_id)
WHERE deleted_at IS NULL;

-- One event for the business's endpoint; `id` is the webhook id, the same in every attempt and
-- replay. The commit inserts it; the worker renders `body` at the first attempt and never changes
-- it again. Without an event it is a test. A replay begins another series of attempts, and leads
-- to the endpoint of that day. Business time.
CREATE TABLE delivery (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    endpoint_id uuid NOT NULL,
    business_id integer NOT NULL,
    event_id bigint,
    contract_id bigint,
    seq integer,
    type text NOT NULL,
    state text NOT NULL,
    series smallint NOT NULL DEFAULT 1,
    -- Of the present series.
    attempts smallint NOT NULL,
    body bytea,
    -- Not before the event before it in the contract has been tried again, if that has to be.
    next_attempt_at timestamptz,
    created_at timestamptz NOT NULL,
    done_at timestamptz,
    -- exhausted: six attempts failed; refused: a status that is not tried again; disabled: the
    -- endpoint was so for a week; deleted: the endpoint was.
    failed_for text NOT NULL DEFAULT '',
    CONSTRAINT delivery_endpoint_fk FOREIGN KEY (business_id, endpoint_id)
    REFERENCES webhook_endpoint (business_id, id),
    CONSTRAINT delivery_event_fk FOREIGN KEY (event_id) REFERENCES event (id),
    CONSTRAINT delivery_of_event CHECK (
        (event_id IS NULL) = (contract_id IS NULL) AND (event_id IS NULL) = (seq IS NULL)
    ),
    CONSTRAINT delivery_state_known CHECK (state IN ('pending', 'succeeded', 'failed')),
    CONSTRAINT delivery_attempts_range CHECK (attempts BETWEEN 0 AND 6),
    CONSTRAINT delivery_due_while_pending CHECK (
        (next_attempt_at IS NOT NULL) = (state = 'pending')
        AND (done_at IS NULL) = (state = 'pending')
    ),
    CONSTRAINT delivery_failed_for_known CHECK (
        failed_for IN ('', 'exhausted', 'refused', 'disabled', 'deleted')
        AND (failed_for <> '') = (state = 'failed')
    )
) WITH (fillfactor = 80);
CREATE UNIQUE INDEX delivery_once ON delivery (event_id);
CREATE INDEX delivery_waiting ON delivery (endpoint_id, next_attempt_at, seq)
WHERE state = 'pending';
-- Whether an earlier event of the same contract still has to go first.
CREATE INDEX delivery_in_order ON delivery (contract_id, seq) WHERE state = 'pending';
CREATE INDEX delivery_by_business ON delivery (business_id, created_at DESC, id DESC);

-- Every attempt, for good; numbered within its series. `created_at` is when it began; `id` is what
-- its partner is shown.
CREATE TABLE delivery_attempt (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    delivery_id uuid NOT NULL,
    business_id integer NOT NULL,
    series smallint NOT NULL,
    number smallint NOT NULL,
    url text NOT NULL,
    http_status smallint,
    is_success boolean NOT NULL,
    -- A word of earnest.outbound, never what the network said.
    error text NOT NULL,
    duration_ms integer NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT delivery_attempt_delivery_fk FOREIGN KEY (delivery_id) REFERENCES delivery (id),
    CONSTRAINT delivery_attempt_once PRIMARY KEY (delivery_id, series, number),
    CONSTRAINT delivery_attempt_range CHECK (number BETWEEN 1 AND 6),
    CONSTRAINT delivery_attempt_outcome CHECK (is_success = (error = ''))
);
CREATE INDEX delivery_attempt_by_business
ON delivery_attempt (business_id, created_at DESC, id DESC);
CREATE TRIGGER delivery_attempt_append_only
BEFORE UPDATE OR DELETE OR TRUNCATE ON delivery_attempt
FOR EACH STATEMENT EXECUTE FUNCTION refuse_rewrite();

GRANT SELECT, INSERT, UPDATE ON api_client, webhook_endpoint, delivery TO earnest_app;
GRANT SELECT, INSERT, DELETE ON signing_key TO earnest_app;
GRANT SELECT, INSERT ON delivery_attempt TO earnest_app;
