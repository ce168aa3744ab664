CREATE SCHEMA sandbox;

CREATE FUNCTION public.account_currency(account bigint) RETURNS integer
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN (((account >> 47) & (1023)::bigint))::integer;

CREATE FUNCTION public.account_kind(account bigint) RETURNS integer
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN ((account >> 57))::integer;

CREATE TABLE public.clock_move (
    id bigint NOT NULL,
    moved_at timestamp with time zone NOT NULL,
    advance_seconds bigint NOT NULL
);

CREATE FUNCTION public.business_instant(at timestamp with time zone) RETURNS timestamp with time zone
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN (at + COALESCE((SELECT make_interval(secs => (max(m.advance_seconds))::double precision) AS make_interval FROM public.clock_move m WHERE (m.moved_at <= business_instant.at)), make_interval()));

CREATE TABLE public.business_clock (
    singleton boolean DEFAULT true NOT NULL,
    advance_seconds bigint DEFAULT 0 NOT NULL,
    CONSTRAINT business_clock_forward_only CHECK ((advance_seconds >= 0)),
    CONSTRAINT business_clock_one_row CHECK (singleton)
);

CREATE FUNCTION public.business_now() RETURNS timestamp with time zone
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN (statement_timestamp() + (SELECT make_interval(secs => (business_clock.advance_seconds)::double precision) AS make_interval FROM public.business_clock));

CREATE FUNCTION public.charge_limits(keys bytea[], bursts integer[], per_seconds integer[]) RETURNS double precision
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

CREATE TABLE public.ledger_horizon (
    singleton boolean DEFAULT true NOT NULL,
    horizon_xid bigint DEFAULT 0 NOT NULL,
    xid_offset bigint DEFAULT 0 NOT NULL,
    closed_at timestamp with time zone,
    CONSTRAINT ledger_horizon_one_row CHECK (singleton)
);

CREATE FUNCTION public.ledger_xid() RETURNS bigint
    LANGUAGE sql STABLE
    RETURN (((pg_current_xact_id())::text)::bigint + (SELECT h.xid_offset FROM public.ledger_horizon h));

CREATE TABLE public.booked_line (
    provider_account_id smallint NOT NULL,
    line_id text NOT NULL,
    commit_id bigint NOT NULL,
    kind text NOT NULL,
    amount_minor bigint NOT NULL,
    currency text NOT NULL,
    CONSTRAINT booked_line_kind_known CHECK ((kind = ANY (ARRAY['fee'::text, 'bank'::text])))
);

CREATE TABLE public.chargeback (
    id bigint NOT NULL,
    public_id text NOT NULL,
    business_id integer NOT NULL,
    payment_id bigint NOT NULL,
    contract_id bigint,
    provider_account_id smallint NOT NULL,
    provider_dispute_id text NOT NULL,
    currency text NOT NULL,
    created_at timestamp with time zone NOT NULL,
    version integer NOT NULL,
    commit_id bigint NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    state text NOT NULL,
    amount_minor bigint NOT NULL,
    reason text NOT NULL,
    evidence_due_at timestamp with time zone,
    lines text NOT NULL,
    attempts integer NOT NULL,
    due_at timestamp with time zone,
    last_error text NOT NULL,
    CONSTRAINT chargeback_amount CHECK ((amount_minor >= 0)),
    CONSTRAINT chargeback_state_known CHECK ((state = ANY (ARRAY['noticed'::text, 'warning'::text, 'open'::text, 'review'::text, 'won'::text, 'lost'::text])))
);

CREATE TABLE public.contract (
    id bigint NOT NULL,
    public_id text NOT NULL,
    business_id integer NOT NULL,
    number text NOT NULL,
    buyer_id bigint NOT NULL,
    seller_id bigint NOT NULL,
    job_id bigint,
    currency text NOT NULL,
    amount_minor bigint NOT NULL,
    created_at timestamp with time zone NOT NULL,
    version integer NOT NULL,
    commit_id bigint NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    agreement text NOT NULL,
    work text NOT NULL,
    dispute text NOT NULL,
    tranches text[] NOT NULL,
    funded_at timestamp with time zone,
    settled_at timestamp with time zone,
    started_at timestamp with time zone,
    ongoing_at timestamp with time zone,
    completed_at timestamp with time zone,
    cancelled_at timestamp with time zone,
    cancelled_by text,
    cancelled_work text,
    cancel_reason text NOT NULL,
    cancel_reason_description text NOT NULL,
    refund_requested_at timestamp with time zone,
    unclaimed boolean NOT NULL,
    charged_back boolean DEFAULT false NOT NULL,
    event_seq integer NOT NULL,
    event_head bytea NOT NULL,
    live boolean GENERATED ALWAYS AS ((agreement = ANY (ARRAY['draft'::text, 'pending'::text, 'accepted'::text]))) STORED,
    CONSTRAINT contract_agreement_known CHECK ((agreement = ANY (ARRAY['draft'::text, 'pending'::text, 'accepted'::text, 'rejected'::text, 'expired'::text, 'cancelled'::text, 'terminated'::text]))),
    CONSTRAINT contract_amount_positive CHECK ((amount_minor > 0)),
    CONSTRAINT contract_dispute_known CHECK ((dispute = ANY (ARRAY['none'::text, 'open'::text, 'resolved'::text]))),
    CONSTRAINT contract_tranches_known CHECK ((((cardinality(tranches) >= 1) AND (cardinality(tranches) <= 100)) AND (tranches <@ ARRAY['unfunded'::text, 'awaiting_payment'::text, 'held'::text, 'release_requested'::text, 'released'::text, 'refund_pending'::text, 'refunded'::text, 'split'::text]))),
    CONSTRAINT contract_two_parties CHECK ((buyer_id <> seller_id)),
    CONSTRAINT contract_work_known CHECK ((work = ANY (ARRAY['not_started'::text, 'started'::text, 'ongoing'::text, 'delivered'::text, 'completed'::text])))
)
WITH (fillfactor='85');

CREATE TABLE public.contract_terms (
    contract_id bigint NOT NULL,
    commit_id bigint NOT NULL,
    terms text NOT NULL
);

CREATE TABLE public.event (
    id bigint NOT NULL,
    commit_id bigint NOT NULL,
    contract_id bigint,
    seq integer,
    subject text NOT NULL,
    type text NOT NULL,
    actor text NOT NULL,
    recorded_at timestamp with time zone NOT NULL,
    body text NOT NULL,
    hash bytea,
    xid bigint DEFAULT public.ledger_xid() NOT NULL,
    CONSTRAINT event_chain_complete CHECK ((((contract_id IS NULL) AND (seq IS NULL) AND (hash IS NULL)) OR ((contract_id IS NOT NULL) AND (seq IS NOT NULL) AND (hash IS NOT NULL))))
);

CREATE TABLE public.idempotency_key (
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
    created_at timestamp with time zone NOT NULL
);

CREATE TABLE public.party (
    id bigint NOT NULL,
    public_id text NOT NULL,
    business_id integer NOT NULL,
    name text NOT NULL,
    email text DEFAULT ''::text NOT NULL,
    picture text DEFAULT ''::text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    platform_ref text,
    phone text,
    first_name text,
    last_name text,
    CONSTRAINT party_of_partner CHECK ((((business_id <> 1) = (platform_ref IS NOT NULL)) AND ((business_id <> 1) = (phone IS NOT NULL)) AND ((business_id <> 1) = (first_name IS NOT NULL)) AND ((business_id <> 1) = (last_name IS NOT NULL))))
);

CREATE TABLE public.payment (
    id bigint NOT NULL,
    public_id text NOT NULL,
    business_id integer NOT NULL,
    job_id bigint,
    buyer_id bigint NOT NULL,
    seller_id bigint NOT NULL,
    provider_account_id smallint NOT NULL,
    amount_minor bigint NOT NULL,
    currency text NOT NULL,
    metadata text NOT NULL,
    created_at timestamp with time zone NOT NULL,
    version integer NOT NULL,
    commit_id bigint NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    state text NOT NULL,
    contract_id bigint,
    session_id text,
    session_url text NOT NULL,
    session_expires_at timestamp with time zone,
    provider_payment_id text,
    captured_at timestamp with time zone,
    CONSTRAINT payment_amount_positive CHECK ((amount_minor > 0)),
    CONSTRAINT payment_state_known CHECK ((state = ANY (ARRAY['opening'::text, 'open'::text, 'processing'::text, 'expired'::text, 'failed'::text, 'captured'::text, 'parked'::text, 'refunded'::text, 'charged_back'::text])))
);

CREATE TABLE public.payout (
    id bigint NOT NULL,
    public_id text NOT NULL,
    business_id integer NOT NULL,
    party_id bigint,
    provider_account_id smallint NOT NULL,
    external_account text NOT NULL,
    cause text NOT NULL,
    amount_minor bigint NOT NULL,
    currency text NOT NULL,
    created_at timestamp with time zone NOT NULL,
    version integer NOT NULL,
    commit_id bigint NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    state text NOT NULL,
    leg text NOT NULL,
    attempts integer NOT NULL,
    calls integer NOT NULL,
    due_at timestamp with time zone,
    provider_transfer_id text,
    provider_payout_id text,
    paid_at timestamp with time zone,
    last_error text NOT NULL,
    CONSTRAINT payout_amount_positive CHECK ((amount_minor > 0)),
    CONSTRAINT payout_cause_known CHECK ((cause = ANY (ARRAY['asked'::text, 'scheduled'::text]))),
    CONSTRAINT payout_done CHECK ((((state = 'done'::text) <= ((leg = 'payout'::text) AND (provider_payout_id IS NOT NULL))) AND ((state = 'done'::text) <= (paid_at IS NOT NULL)))),
    CONSTRAINT payout_due_while_open CHECK (((due_at IS NOT NULL) = (state = ANY (ARRAY['planned'::text, 'sent'::text, 'unknown'::text])))),
    CONSTRAINT payout_failed CHECK (((state <> 'failed'::text) OR (leg <> 'payout'::text))),
    CONSTRAINT payout_leg_known CHECK ((leg = ANY (ARRAY['transfer'::text, 'payout'::text, 'return'::text]))),
    CONSTRAINT payout_state_known CHECK ((state = ANY (ARRAY['planned'::text, 'sent'::text, 'unknown'::text, 'done'::text, 'failed'::text, 'stuck'::text]))),
    CONSTRAINT payout_transferred CHECK (((leg = 'transfer'::text) OR (provider_transfer_id IS NOT NULL)))
);

CREATE TABLE public.provider_event (
    provider text NOT NULL,
    event_id text NOT NULL,
    commit_id bigint NOT NULL,
    type text NOT NULL,
    session_id text,
    outcome text NOT NULL,
    reason text NOT NULL,
    took_money boolean NOT NULL,
    payload bytea NOT NULL,
    received_at timestamp with time zone NOT NULL,
    CONSTRAINT provider_event_outcome_known CHECK ((outcome = ANY (ARRAY['applied'::text, 'ignored'::text, 'parked'::text, 'quarantined'::text])))
);

CREATE TABLE public.refund (
    id bigint NOT NULL,
    public_id text NOT NULL,
    business_id integer NOT NULL,
    contract_id bigint NOT NULL,
    payment_id bigint NOT NULL,
    kind text NOT NULL,
    parts text NOT NULL,
    amount_minor bigint NOT NULL,
    currency text NOT NULL,
    reason text NOT NULL,
    created_at timestamp with time zone NOT NULL,
    version integer NOT NULL,
    commit_id bigint NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    state text NOT NULL,
    attempts integer NOT NULL,
    calls integer NOT NULL,
    due_at timestamp with time zone,
    provider_refund_id text,
    last_error text NOT NULL,
    CONSTRAINT refund_amount_positive CHECK ((amount_minor > 0)),
    CONSTRAINT refund_done_by_provider CHECK (((state <> ALL (ARRAY['done'::text, 'returned'::text])) OR (provider_refund_id IS NOT NULL))),
    CONSTRAINT refund_due_while_open CHECK ((((due_at IS NOT NULL) = (state = ANY (ARRAY['planned'::text, 'sent'::text, 'unknown'::text]))) OR (state = 'done'::text))),
    CONSTRAINT refund_kind_known CHECK ((kind = ANY (ARRAY['full'::text, 'partial'::text, 'cancellation'::text, 'late'::text]))),
    CONSTRAINT refund_state_known CHECK ((state = ANY (ARRAY['requested'::text, 'planned'::text, 'sent'::text, 'unknown'::text, 'done'::text, 'failed'::text, 'returned'::text, 'declined'::text])))
);

CREATE TABLE public.transfer (
    id bigint NOT NULL,
    commit_id bigint NOT NULL,
    movement text NOT NULL,
    debit bigint NOT NULL,
    credit bigint NOT NULL,
    amount_minor bigint NOT NULL,
    contract_id bigint,
    payment_id bigint,
    reverses_id bigint,
    occurred_at timestamp with time zone NOT NULL,
    recorded_at timestamp with time zone NOT NULL,
    xid bigint NOT NULL,
    CONSTRAINT transfer_amount_positive CHECK ((amount_minor > 0)),
    CONSTRAINT transfer_one_currency CHECK ((((debit >> 47) & (1023)::bigint) = ((credit >> 47) & (1023)::bigint))),
    CONSTRAINT transfer_two_accounts CHECK ((debit <> credit))
);

CREATE FUNCTION public.commit_changes(parties public.party[], contracts public.contract[], terms public.contract_terms[], payments public.payment[], refunds public.refund[], payouts public.payout[], chargebacks public.chargeback[], bookings public.booked_line[], inbox public.provider_event[], events public.event[], transfers public.transfer[], replies public.idempotency_key[]) RETURNS bigint[]
    LANGUAGE plpgsql
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    SET enable_seqscan TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    AS $$
DECLARE
    lost bigint[] := '{}';
    debited bigint[];
    debits bigint[];
    credited bigint[];
    credits bigint[];
    touched integer;
BEGIN
    -- Who comes too late? Contracts are left to the compare-and-swap below.
    IF cardinality(replies) > 0 THEN
        lost := ARRAY(
            SELECT r.commit_id FROM unnest(replies) AS r
            WHERE (SELECT TRUE FROM idempotency_key AS k WHERE k.scope = r.scope)
        );
    END IF;
    IF cardinality(inbox) > 0 THEN
        lost := lost || ARRAY(
            SELECT i.commit_id FROM unnest(inbox) AS i
            WHERE (
                SELECT TRUE FROM provider_event AS e
                WHERE e.provider = i.provider AND e.event_id = i.event_id
            )
        );
    END IF;
    IF cardinality(payments) > 0 THEN
        lost := lost || ARRAY(
            SELECT n.commit_id FROM unnest(payments) AS n
            WHERE n.version > 1 AND n.version - 1 IS DISTINCT FROM (
                SELECT p.version FROM payment AS p WHERE p.id = n.id
            )
        );
    END IF;

    IF cardinality(refunds) > 0 THEN
        lost := lost || ARRAY(
            SELECT n.commit_id FROM unnest(refunds) AS n
            WHERE n.version > 1 AND n.version - 1 IS DISTINCT FROM (
                SELECT r.version FROM refund AS r WHERE r.id = n.id
            )
        );
    END IF;
    IF cardinality(payouts) > 0 THEN
        lost := lost || ARRAY(
            SELECT n.commit_id FROM unnest(payouts) AS n
            WHERE n.version > 1 AND n.version - 1 IS DISTINCT FROM (
                SELECT p.version FROM payout AS p WHERE p.id = n.id
            )
        );
    END IF;
    IF cardinality(chargebacks) > 0 THEN
        lost := lost || ARRAY(
            SELECT n.commit_id FROM unnest(chargebacks) AS n
            WHERE n.version > 1 AND n.version - 1 IS DISTINCT FROM (
                SELECT p.version FROM chargeback AS p WHERE p.id = n.id
            )
        );
    END IF;

    IF cardinality(contracts) > 0 THEN
        UPDATE contract AS c SET
            version = n.version,
            commit_id = n.commit_id,
            updated_at = n.updated_at,
            agreement = n.agreement,
            work = n.work,
            dispute = n.dispute,
            tranches = n.tranches,
            funded_at = n.funded_at,
            settled_at = n.settled_at,
            started_at = n.started_at,
            ongoing_at = n.ongoing_at,
            completed_at = n.completed_at,
            cancelled_at = n.cancelled_at,
            cancelled_by = n.cancelled_by,
            cancelled_work = n.cancelled_work,
            cancel_reason = n.cancel_reason,
            cancel_reason_description = n.cancel_reason_description,
            refund_requested_at = n.refund_requested_at,
            unclaimed = n.unclaimed,
            charged_back = n.charged_back,
            event_seq = n.event_seq,
            event_head = n.event_head
        FROM unnest(contracts) AS n
        WHERE c.id = n.id AND c.version = n.version - 1 AND n.commit_id <> ALL (lost)
        AND c.id = ANY (ARRAY(SELECT i.id FROM unnest(contracts) AS i));
        GET DIAGNOSTICS touched = ROW_COUNT;
        IF touched + cardinality(terms) < cardinality(contracts) THEN
            lost := lost || ARRAY(
                SELECT n.commit_id FROM unnest(contracts) AS n
                WHERE n.version > 1 AND n.commit_id IS DISTINCT FROM (
                    SELECT c.commit_id FROM contract AS c WHERE c.id = n.id
                )
            );
        END IF;
    END IF;

    -- People whom a contract names for the first time. They come with a contract that is created,
    -- which is never late but for its key (above): nobody is left behind without one.
    IF cardinality(parties) > 0 THEN
        INSERT INTO party (
            id, public_id, business_id, name, email, picture, created_at, platform_ref, phone,
            first_name, last_name
        )
        SELECT
            n.id, n.public_id, n.business_id, n.name, n.email, n.picture, n.created_at,
            n.platform_ref, n.phone, n.first_name, n.last_name
        FROM unnest(parties) AS n
        WHERE NOT EXISTS (
            SELECT FROM unnest(contracts) AS c
            WHERE n.id IN (c.buyer_id, c.seller_id) AND c.commit_id = ANY (lost)
        );
    END IF;

    -- A contract that is created brings its terms.
    IF cardinality(terms) > 0 THEN
        INSERT INTO contract (
            id, public_id, business_id, number, buyer_id, seller_id, job_id, currency,
            amount_minor, created_at, version, commit_id, updated_at, agreement, work, dispute,
            tranches, funded_at, settled_at, started_at, ongoing_at, completed_at, cancelled_at,
            cancelled_by, cancelled_work, cancel_reason, cancel_reason_description,
            refund_requested_at, unclaimed, charged_back, event_seq, event_head
        )
        SELECT
            n.id, n.public_id, n.business_id, n.number, n.buyer_id, n.seller_id, n.job_id,
            n.currency, n.amount_minor, n.created_at, n.version, n.commit_id, n.updated_at,
            n.agreement, n.work, n.dispute, n.tranches, n.funded_at, n.settled_at, n.started_at,
            n.ongoing_at, n.completed_at, n.cancelled_at, n.cancelled_by, n.cancelled_work,
            n.cancel_reason, n.cancel_reason_description, n.refund_requested_at, n.unclaimed,
            n.charged_back, n.event_seq, n.event_head
        FROM unnest(contracts) AS n
        WHERE n.version = 1 AND n.commit_id <> ALL (lost);

        INSERT INTO contract_terms (contract_id, commit_id, terms)
        SELECT t.contract_id, t.commit_id, t.terms FROM unnest(terms) AS t
        WHERE t.commit_id <> ALL (lost);
    END IF;

    IF cardinality(payments) > 0 THEN
        UPDATE payment AS p SET
            version = n.version,
            commit_id = n.commit_id,
            updated_at = n.updated_at,
            state = n.state,
            contract_id = n.contract_id,
            session_id = n.session_id,
            session_url = n.session_url,
            session_expires_at = n.session_expires_at,
            provider_payment_id = n.provider_payment_id,
            captured_at = n.captured_at
        FROM unnest(payments) AS n
        WHERE p.id = n.id AND p.version = n.version - 1 AND n.commit_id <> ALL (lost)
        AND p.id = ANY (ARRAY(SELECT i.id FROM unnest(payments) AS i));
        GET DIAGNOSTICS touched = ROW_COUNT;
        IF touched <> (
            SELECT count(*) FROM unnest(payments) AS n
            WHERE n.version > 1 AND n.commit_id <> ALL (lost)
        ) THEN
            RAISE EXCEPTION 'a payment moved during the commit' USING ERRCODE = 'EA001';
        END IF;

        INSERT INTO payment (
            id, public_id, business_id, job_id, buyer_id, seller_id, provider_account_id,
            amount_minor, currency, metadata, created_at, version, commit_id, updated_at, state,
            contract_id, session_id, session_url, session_expires_at, provider_payment_id,
            captured_at
        )
        SELECT
            n.id, n.public_id, n.business_id, n.job_id, n.buyer_id, n.seller_id,
            n.provider_account_id, n.amount_minor, n.currency, n.metadata, n.created_at, n.version,
            n.commit_id, n.updated_at, n.state, n.contract_id, n.session_id, n.session_url,
            n.session_expires_at, n.provider_payment_id, n.captured_at
        FROM unnest(payments) AS n
        WHERE n.version = 1 AND n.commit_id <> ALL (lost);
    END IF;

    IF cardinality(refunds) > 0 THEN
        UPDATE refund AS r SET
            version = n.version,
            commit_id = n.commit_id,
            updated_at = n.updated_at,
            state = n.state,
            attempts = n.attempts,
            calls = n.calls,
            due_at = n.due_at,
            provider_refund_id = n.provider_refund_id,
            last_error = n.last_error
        FROM unnest(refunds) AS n
        WHERE r.id = n.id AND r.version = n.version - 1 AND n.commit_id <> ALL (lost)
        AND r.id = ANY (ARRAY(SELECT i.id FROM unnest(refunds) AS i));
        GET DIAGNOSTICS touched = ROW_COUNT;
        IF touched <> (
            SELECT count(*) FROM unnest(refunds) AS n
            WHERE n.version > 1 AND n.commit_id <> ALL (lost)
        ) THEN
            RAISE EXCEPTION 'a refund moved during the commit' USING ERRCODE = 'EA001';
        END IF;

        INSERT INTO refund (
            id, public_id, business_id, contract_id, payment_id, kind, parts, amount_minor,
            currency, reason, created_at, version, commit_id, updated_at, state, attempts, calls,
            due_at, provider_refund_id, last_error
        )
        SELECT
            n.id, n.public_id, n.business_id, n.contract_id, n.payment_id, n.kind, n.parts,
            n.amount_minor, n.currency, n.reason, n.created_at, n.version, n.commit_id,
            n.updated_at, n.state, n.attempts, n.calls, n.due_at, n.provider_refund_id, n.last_error
        FROM unnest(refunds) AS n
        WHERE n.version = 1 AND n.commit_id <> ALL (lost);
    END IF;

    IF cardinality(payouts) > 0 THEN
        -- What a business is owed has no floor of its own: one payout of it at a time, see below.
        PERFORM FROM business AS b
        WHERE b.id = ANY (
            ARRAY(
                SELECT n.business_id FROM unnest(payouts) AS n
                WHERE n.version = 1 AND n.party_id IS NULL
            )
        )
        ORDER BY b.id
        FOR NO KEY UPDATE;

        UPDATE payout AS p SET
            version = n.version,
            commit_id = n.commit_id,
            updated_at = n.updated_at,
            state = n.state,
            leg = n.leg,
            attempts = n.attempts,
            calls = n.calls,
            due_at = n.due_at,
            provider_transfer_id = n.provider_transfer_id,
            provider_payout_id = n.provider_payout_id,
            paid_at = n.paid_at,
            last_error = n.last_error
        FROM unnest(payouts) AS n
        WHERE p.id = n.id AND p.version = n.version - 1 AND n.commit_id <> ALL (lost)
        AND p.id = ANY (ARRAY(SELECT i.id FROM unnest(payouts) AS i));
        GET DIAGNOSTICS touched = ROW_COUNT;
        IF touched <> (
            SELECT count(*) FROM unnest(payouts) AS n
            WHERE n.version > 1 AND n.commit_id <> ALL (lost)
        ) THEN
            RAISE EXCEPTION 'a payout moved during the commit' USING ERRCODE = 'EA001';
        END IF;

        INSERT INTO payout (
            id, public_id, business_id, party_id, provider_account_id, external_account, cause,
            amount_minor, currency, created_at, version, commit_id, updated_at, state, leg,
            attempts, calls, due_at, provider_transfer_id, provider_payout_id, paid_at, last_error
        )
        SELECT
            n.id, n.public_id, n.business_id, n.party_id, n.provider_account_id,
            n.external_account, n.cause, n.amount_minor, n.currency, n.created_at, n.version,
            n.commit_id, n.updated_at, n.state, n.leg, n.attempts, n.calls, n.due_at,
            n.provider_transfer_id, n.provider_payout_id, n.paid_at, n.last_error
        FROM unnest(payouts) AS n
        WHERE n.version = 1 AND n.commit_id <> ALL (lost);
    END IF;

    IF cardinality(chargebacks) > 0 THEN
        UPDATE chargeback AS p SET
            version = n.version,
            commit_id = n.commit_id,
            updated_at = n.updated_at,
            contract_id = n.contract_id,
            state = n.state,
            amount_minor = n.amount_minor,
            reason = n.reason,
            evidence_due_at = n.evidence_due_at,
            lines = n.lines,
            attempts = n.attempts,
            due_at = n.due_at,
            last_error = n.last_error
        FROM unnest(chargebacks) AS n
        WHERE p.id = n.id AND p.version = n.version - 1 AND n.commit_id <> ALL (lost)
        AND p.id = ANY (ARRAY(SELECT i.id FROM unnest(chargebacks) AS i));
        GET DIAGNOSTICS touched = ROW_COUNT;
        IF touched <> (
            SELECT count(*) FROM unnest(chargebacks) AS n
            WHERE n.version > 1 AND n.commit_id <> ALL (lost)
        ) THEN
            RAISE EXCEPTION 'a chargeback moved during the commit' USING ERRCODE = 'EA001';
        END IF;

        INSERT INTO chargeback (
            id, public_id, business_id, payment_id, contract_id, provider_account_id,
            provider_dispute_id, currency, created_at, version, commit_id, updated_at, state,
            amount_minor, reason, evidence_due_at, lines, attempts, due_at, last_error
        )
        SELECT
            n.id, n.public_id, n.business_id, n.payment_id, n.contract_id, n.provider_account_id,
            n.provider_dispute_id, n.currency, n.created_at, n.version, n.commit_id, n.updated_at,
            n.state, n.amount_minor, n.reason, n.evidence_due_at, n.lines, n.attempts, n.due_at,
            n.last_error
        FROM unnest(chargebacks) AS n
        WHERE n.version = 1 AND n.commit_id <> ALL (lost);
    END IF;

    IF cardinality(bookings) > 0 THEN
        INSERT INTO booked_line (
            provider_account_id, line_id, commit_id, kind, amount_minor, currency
        )
        SELECT b.provider_account_id, b.line_id, b.commit_id, b.kind, b.amount_minor, b.currency
        FROM unnest(bookings) AS b
        WHERE b.commit_id <> ALL (lost);
    END IF;

    IF cardinality(inbox) > 0 THEN
        INSERT INTO provider_event (
            provider, event_id, commit_id, type, session_id, outcome, reason, took_money,
            payload, received_at
        )
        SELECT
            i.provider, i.event_id, i.commit_id, i.type, i.session_id, i.outcome, i.reason,
            i.took_money, i.payload, i.received_at
        FROM unnest(inbox) AS i
        WHERE i.commit_id <> ALL (lost);
    END IF;

    INSERT INTO event (
        id, commit_id, contract_id, seq, subject, type, actor, recorded_at, body, hash, xid
    )
    SELECT
        e.id, e.commit_id, e.contract_id, e.seq, e.subject, e.type, e.actor, e.recorded_at,
        e.body, e.hash,
        -- As ledger_xid(), which would be called for every row.
        (SELECT pg_current_xact_id()::text::bigint + h.xid_offset FROM ledger_horizon AS h)
    FROM unnest(events) AS e
    WHERE e.commit_id <> ALL (lost);

    -- One delivery for each event that a partner's endpoint wants to hear of. The marketplace
    -- (business 1) has none, so its batches do not look.
    IF EXISTS (SELECT FROM unnest(contracts) AS n WHERE n.business_id <> 1) THEN
        INSERT INTO delivery (
            endpoint_id, business_id, event_id, contract_id, seq, type, state, attempts,
            next_attempt_at, created_at
        )
        SELECT
            w.id, w.business_id, e.id, e.contract_id, e.seq, e.type, 'pending', 0,
            e.recorded_at, e.recorded_at
        FROM unnest(events) AS e
        INNER JOIN unnest(contracts) AS n ON e.contract_id = n.id
        INNER JOIN webhook_endpoint AS w
            ON w.business_id = n.business_id AND w.business_id = ANY (
                ARRAY(SELECT i.business_id FROM unnest(contracts) AS i)
            )
        WHERE w.is_active AND w.deleted_at IS NULL AND e.commit_id <> ALL (lost)
        AND is_public_event(e.type);
    END IF;

    IF cardinality(replies) > 0 THEN
        INSERT INTO idempotency_key (
            scope, commit_id, principal, route, key, request_hash, status, reply, moves_money,
            is_sealed, created_at
        )
        SELECT
            r.scope, r.commit_id, r.principal, r.route, r.key, r.request_hash, r.status, r.reply,
            r.moves_money, r.is_sealed, r.created_at
        FROM unnest(replies) AS r
        WHERE r.commit_id <> ALL (lost);
    END IF;

    IF cardinality(transfers) > 0 THEN
        INSERT INTO transfer (
            id, commit_id, movement, debit, credit, amount_minor, contract_id, payment_id,
            reverses_id, occurred_at, recorded_at, xid
        )
        SELECT
            t.id, t.commit_id, t.movement, t.debit, t.credit, t.amount_minor, t.contract_id,
            t.payment_id, t.reverses_id, t.occurred_at, t.recorded_at,
            (SELECT pg_current_xact_id()::text::bigint + h.xid_offset FROM ledger_horizon AS h)
        FROM unnest(transfers) AS t
        WHERE t.commit_id <> ALL (lost);

        -- One sum per floored account (kinds 1 and 2), in key order.
        SELECT
            array_agg(d.account ORDER BY d.account) FILTER (WHERE d.delta < 0),
            array_agg(d.delta ORDER BY d.account) FILTER (WHERE d.delta < 0),
            array_agg(d.account ORDER BY d.account) FILTER (WHERE d.delta > 0),
            array_agg(d.delta ORDER BY d.account) FILTER (WHERE d.delta > 0)
        INTO debited, debits, credited, credits
        FROM (
            SELECT p.account, sum(p.amount)::bigint AS delta
            FROM (
                SELECT t.credit AS account, t.amount_minor AS amount FROM unnest(transfers) AS t
                WHERE t.credit >> 57 <= 2 AND t.commit_id <> ALL (lost)
                UNION ALL
                SELECT t.debit, -t.amount_minor FROM unnest(transfers) AS t
                WHERE t.debit >> 57 <= 2 AND t.commit_id <> ALL (lost)
            ) AS p
            GROUP BY p.account
        ) AS d;

        IF debited IS NOT NULL THEN
            UPDATE balance AS b SET amount_minor = b.amount_minor + d.delta
            FROM unnest(debited, debits) AS d (account, delta)
            WHERE b.account = ANY (debited) AND b.account = d.account;
            GET DIAGNOSTICS touched = ROW_COUNT;
            IF touched <> cardinality(debited) THEN
                RAISE EXCEPTION 'an account that was never credited cannot be debited'
                USING ERRCODE = 'check_violation', CONSTRAINT = 'balance_floor';
            END IF;
        END IF;

        IF credited IS NOT NULL THEN
            INSERT INTO balance (account, amount_minor)
            SELECT d.account, d.delta FROM unnest(credited, credits) AS d (account, delta)
            ON CONFLICT (account) DO UPDATE SET
            amount_minor = balance.amount_minor + excluded.amount_minor;
        END IF;
    END IF;

    -- Kind 4 is what businesses are owed; their rows are locked, so nobody else is paying it out.
    IF cardinality(payouts) > 0 AND EXISTS (
        SELECT FROM unnest(transfers) AS t
        WHERE t.debit >> 57 = 4 AND t.commit_id <> ALL (lost) AND coalesce((
            SELECT r.credits_minor - r.debits_minor FROM rollup AS r WHERE r.account = t.debit
        ), 0) + coalesce((
            SELECT sum(CASE WHEN x.credit = t.debit THEN x.amount_minor ELSE -x.amount_minor END)
            FROM transfer AS x
            WHERE (x.credit = t.debit OR x.debit = t.debit)
            AND x.xid >= (SELECT h.horizon_xid FROM ledger_horizon AS h)
        ), 0) < 0
    ) THEN
        RAISE EXCEPTION 'a business is not owed as much as that'
        USING ERRCODE = 'check_violation', CONSTRAINT = 'balance_floor';
    END IF;

    RETURN lost;
END $$;

CREATE FUNCTION public.count_version() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    NEW.version := OLD.version + 1;
    RETURN NEW;
END $$;

CREATE FUNCTION public.due_deliveries(worker uuid, endpoints uuid[], rooms integer[], in_hand uuid[]) RETURNS TABLE(id uuid, endpoint_id uuid, business_id integer, series smallint, attempts smallint, type text, body bytea, created_at timestamp with time zone, url text, secret bytea, old_secret bytea, failed_attempts integer, before_id uuid, before_at timestamp with time zone, contract_id bigint, event_key bigint, event_body text, recorded_at timestamp with time zone, number text, amount_minor bigint, currency text, terms text, now timestamp with time zone)
    LANGUAGE plpgsql STABLE
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    SET enable_seqscan TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT
        d.id, d.endpoint_id, d.business_id, d.series, d.attempts, d.type, d.body, d.created_at,
        w.url, w.secret, CASE WHEN w.old_secret_until > business_now() THEN w.old_secret END,
        w.failed_attempts, b.id, b.next_attempt_at, d.contract_id, e.id, e.body,
        e.recorded_at, c.number, c.amount_minor, c.currency, t.terms, business_now()
    FROM unnest(endpoints, rooms) AS q (endpoint_id, room)
    INNER JOIN webhook_endpoint AS w ON q.endpoint_id = w.id
    CROSS JOIN LATERAL (
        SELECT i.* FROM delivery AS i
        WHERE
            i.state = 'pending' AND i.endpoint_id = w.id AND i.next_attempt_at <= business_now()
            AND i.id <> ALL (in_hand)
        ORDER BY i.next_attempt_at, i.seq
        LIMIT q.room
    ) AS d
    LEFT JOIN LATERAL (
        SELECT i.id, i.next_attempt_at FROM delivery AS i
        WHERE
            i.state = 'pending' AND i.contract_id = d.contract_id AND i.seq < d.seq
            AND i.endpoint_id = d.endpoint_id
        ORDER BY i.seq DESC
        LIMIT 1
    ) AS b ON TRUE
    LEFT JOIN event AS e ON d.event_id = e.id
    LEFT JOIN contract AS c ON d.contract_id = c.id
    LEFT JOIN contract_terms AS t ON d.contract_id = t.contract_id
    WHERE
        w.leased_by = worker AND w.leased_until > now() AND w.is_active AND w.deleted_at IS NULL;
END $$;

CREATE FUNCTION public.is_public_event(type text) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN (type = ANY (ARRAY['contract.created'::text, 'contract.approved'::text, 'contract.rejected'::text, 'contract.cancelled'::text, 'contract.delivered'::text, 'contract.received'::text, 'contract.released'::text, 'contract.disputed'::text, 'contract.refunded'::text, 'contract.completed'::text, 'payment.completed'::text, 'refund.full-initiated'::text, 'refund.full-succeeded'::text, 'refund.partial-initiated'::text, 'refund.partial-succeeded'::text]));

CREATE FUNCTION public.keep_clock_move() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    INSERT INTO clock_move (moved_at, advance_seconds)
    VALUES (clock_timestamp(), NEW.advance_seconds);
    RETURN NEW;
END $$;

CREATE FUNCTION public.partner_status(c public.contract) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN ((c).tranches @> ARRAY['refund_pending'::text]) THEN 'refundInProgress'::text WHEN ((c).tranches && ARRAY['held'::text, 'release_requested'::text]) THEN CASE WHEN (((c).dispute = 'open'::text) OR (c).charged_back) THEN 'dispute'::text ELSE 'escrow'::text END WHEN ((NOT (c).live) AND (NOT ((c).tranches @> ARRAY['refunded'::text]))) THEN (c).agreement WHEN ((c).tranches @> ARRAY['awaiting_payment'::text]) THEN 'waitingForBankPayment'::text WHEN ((c).tranches <@ ARRAY['released'::text, 'refunded'::text, 'split'::text]) THEN CASE WHEN (((c).tranches @> ARRAY['released'::text]) AND ((c).work = 'completed'::text)) THEN 'completed'::text WHEN ((c).tranches && ARRAY['refunded'::text, 'split'::text]) THEN 'refunded'::text ELSE 'released'::text END WHEN ((c).agreement = ANY (ARRAY['draft'::text, 'pending'::text])) THEN (c).agreement WHEN ((c).work = 'not_started'::text) THEN 'accepted'::text ELSE 'approved'::text END;

CREATE FUNCTION public.real_instant(at timestamp with time zone) RETURNS timestamp with time zone
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN (at - COALESCE((SELECT make_interval(secs => (max(m.advance_seconds))::double precision) AS make_interval FROM public.clock_move m WHERE ((m.moved_at + make_interval(secs => (m.advance_seconds)::double precision)) <= real_instant.at)), make_interval()));

CREATE TABLE public.delivery_attempt (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    delivery_id uuid NOT NULL,
    business_id integer NOT NULL,
    series smallint NOT NULL,
    number smallint NOT NULL,
    url text NOT NULL,
    http_status smallint,
    is_success boolean NOT NULL,
    error text NOT NULL,
    duration_ms integer NOT NULL,
    created_at timestamp with time zone NOT NULL,
    CONSTRAINT delivery_attempt_outcome CHECK ((is_success = (error = ''::text))),
    CONSTRAINT delivery_attempt_range CHECK (((number >= 1) AND (number <= 6)))
);

CREATE FUNCTION public.record_attempts(told public.delivery_attempt[], verdicts text[], delays integer[], bodies bytea[], failures_max integer) RETURNS TABLE(endpoint_id uuid, disabled_for text)
    LANGUAGE plpgsql
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    SET enable_seqscan TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    AS $$
#variable_conflict use_column
BEGIN
    PERFORM FROM webhook_endpoint AS w
    WHERE
        w.id = ANY (ARRAY(
            SELECT d.endpoint_id FROM delivery AS d
            WHERE d.id = ANY (ARRAY(SELECT i.delivery_id FROM unnest(told) AS i))
        ))
    ORDER BY w.id
    FOR NO KEY UPDATE;
    RETURN QUERY
    WITH ended AS MATERIALIZED (
        SELECT t.*
        FROM ROWS FROM (unnest(told), unnest(verdicts), unnest(delays), unnest(bodies))
        WITH ORDINALITY AS t (
            id, delivery_id, business_id, series, number, url, http_status, is_success, error,
            duration_ms, created_at, verdict, delay_seconds, body, position
        )
    ), logged AS (
        INSERT INTO delivery_attempt (
            id, delivery_id, business_id, series, number, url, http_status, is_success, error,
            duration_ms, created_at
        )
        SELECT
            t.id, t.delivery_id, t.business_id, t.series, t.number, t.url, t.http_status,
            t.is_success, t.error, t.duration_ms, t.created_at
        FROM ended AS t
        ON CONFLICT ON CONSTRAINT delivery_attempt_once DO NOTHING
    ), moved AS (
        UPDATE delivery AS d SET
            state = CASE t.verdict
                WHEN 'succeeded' THEN 'succeeded' WHEN 'retry' THEN 'pending' ELSE 'failed'
            END,
            attempts = t.number,
            next_attempt_at = CASE
                WHEN t.verdict = 'retry' THEN business_now() + make_interval(secs => t.delay_seconds)
            END,
            done_at = CASE WHEN t.verdict <> 'retry' THEN business_now() END,
            failed_for = CASE
                WHEN t.verdict IN ('succeeded', 'retry') THEN ''
                WHEN t.verdict = 'gone' THEN 'refused'
                ELSE t.verdict
            END,
            body = coalesce(d.body, t.body)
        FROM ended AS t
        WHERE
            d.id = ANY (ARRAY(SELECT i.delivery_id FROM unnest(told) AS i)) AND d.id = t.delivery_id
            AND d.state = 'pending' AND d.series = t.series AND d.attempts = t.number - 1
        RETURNING
            d.endpoint_id, d.contract_id, d.seq, d.state, d.next_attempt_at, t.position, t.verdict,
            t.is_success, t.url, t.created_at
    ), followed AS (
        -- What follows in the contract is not due before this is again, and at once if it never is.
        UPDATE delivery AS d
        SET next_attempt_at = coalesce(m.next_attempt_at, business_now())
        FROM moved AS m
        WHERE
            d.state = 'pending' AND d.contract_id = m.contract_id AND d.seq > m.seq
            AND d.endpoint_id = m.endpoint_id
            AND CASE
                WHEN m.state = 'pending' THEN d.next_attempt_at < m.next_attempt_at
                ELSE d.attempts = 0 AND d.next_attempt_at > business_now()
            END
    ), heard AS (
        SELECT
            m.*,
            coalesce(
                max(m.position) FILTER (WHERE m.is_success) OVER (PARTITION BY m.endpoint_id, m.url), 0
            ) AS won
        FROM moved AS m
    ), health AS (
        SELECT
            h.endpoint_id, h.url,
            bool_or(h.is_success) AS is_well,
            bool_or(h.verdict = 'gone') AS is_gone,
            count(*) FILTER (WHERE h.state = 'failed' AND h.position > h.won) AS failures,
            count(*) FILTER (WHERE h.position > h.won) AS failed_attempts,
            max(h.created_at) FILTER (WHERE h.is_success) AS last_success_at,
            max(h.created_at) FILTER (WHERE NOT h.is_success) AS last_failure_at
        FROM heard AS h
        GROUP BY h.endpoint_id, h.url
    ), judged AS (
        SELECT
            w.id, h.last_success_at, h.last_failure_at,
            CASE WHEN h.is_well THEN 0 ELSE w.consecutive_failures END + h.failures AS failures,
            CASE WHEN h.is_well THEN 0 ELSE w.failed_attempts END
            + h.failed_attempts AS failed_attempts,
            h.is_gone
        FROM health AS h
        INNER JOIN webhook_endpoint AS w ON h.endpoint_id = w.id AND h.url = w.url
        WHERE w.is_active AND w.deleted_at IS NULL
        ORDER BY w.id
        FOR NO KEY UPDATE OF w
    ), changed AS (
        UPDATE webhook_endpoint AS w SET
            consecutive_failures = j.failures,
            failed_attempts = j.failed_attempts,
            last_success_at = coalesce(j.last_success_at, w.last_success_at),
            last_failure_at = coalesce(j.last_failure_at, w.last_failure_at),
            is_active = NOT (j.is_gone OR j.failures >= failures_max),
            disabled_at = CASE WHEN j.is_gone OR j.failures >= failures_max THEN business_now() END,
            disabled_for = CASE
                WHEN j.is_gone THEN 'gone' WHEN j.failures >= failures_max THEN 'failures' ELSE ''
            END
        FROM judged AS j
        WHERE w.id = j.id
        RETURNING w.id, w.disabled_for
    )
    SELECT c.id, c.disabled_for FROM changed AS c WHERE c.disabled_for <> '';
END $$;

CREATE FUNCTION public.refuse_new_role() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    RAISE EXCEPTION 'a login keeps its role and its party: make another account'
    USING ERRCODE = 'insufficient_privilege';
END $$;

CREATE FUNCTION public.refuse_rewrite() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: correct it with a new, linked row', tg_table_name
    USING ERRCODE = 'insufficient_privilege';
END $$;

CREATE FUNCTION public.take_endpoints(worker uuid, lease_seconds double precision, endpoints_max integer) RETURNS SETOF uuid
    LANGUAGE plpgsql
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    SET enable_seqscan TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH RECURSIVE waiting (endpoint_id) AS (
        (
            SELECT d.endpoint_id FROM delivery AS d
            WHERE d.state = 'pending'
            ORDER BY d.endpoint_id
            LIMIT 1
        )
        UNION ALL
        SELECT (
            SELECT d.endpoint_id FROM delivery AS d
            WHERE d.state = 'pending' AND d.endpoint_id > w.endpoint_id
            ORDER BY d.endpoint_id
            LIMIT 1
        )
        FROM waiting AS w
        WHERE w.endpoint_id IS NOT NULL
    ), free AS MATERIALIZED (
        SELECT e.id
        FROM waiting AS w
        INNER JOIN webhook_endpoint AS e ON w.endpoint_id = e.id
        WHERE e.is_active AND e.deleted_at IS NULL AND e.leased_until <= now()
        AND EXISTS (
            SELECT FROM delivery AS d
            WHERE d.state = 'pending' AND d.endpoint_id = e.id AND d.next_attempt_at <= business_now()
        )
        LIMIT endpoints_max
        FOR NO KEY UPDATE OF e SKIP LOCKED
    )
    UPDATE webhook_endpoint AS e
    SET leased_by = worker, leased_until = now() + make_interval(secs => lease_seconds)
    FROM free
    WHERE e.id = free.id
    RETURNING e.id;
END $$;

CREATE TABLE public.alert (
    id bigint NOT NULL,
    public_id text NOT NULL,
    kind text NOT NULL,
    subject text NOT NULL,
    stage integer NOT NULL,
    object_id bigint,
    amount_minor bigint,
    currency text,
    detail text NOT NULL,
    raised_at timestamp with time zone NOT NULL,
    mailed_at timestamp with time zone,
    closed_at timestamp with time zone,
    closed_by text,
    CONSTRAINT alert_amount_has_currency CHECK (((amount_minor IS NULL) = (currency IS NULL))),
    CONSTRAINT alert_closed_by_somebody CHECK (((closed_at IS NULL) = (closed_by IS NULL))),
    CONSTRAINT alert_kind_known CHECK ((kind = ANY (ARRAY['event_quarantined'::text, 'refund_failed'::text, 'refund_returned'::text, 'payout_stuck'::text, 'chargeback_open'::text, 'evidence_due'::text, 'chargeback_lost'::text, 'call_late'::text, 'webhook_disabled'::text, 'hold_limit'::text, 'reconciliation'::text])))
);

CREATE TABLE public.anchor_tip (
    chain uuid NOT NULL,
    place text NOT NULL,
    number integer NOT NULL,
    hash text NOT NULL,
    noted_at timestamp with time zone NOT NULL
);

CREATE TABLE public.api_client (
    client_id text NOT NULL,
    business_id integer NOT NULL,
    secret_hash bytea NOT NULL,
    status text DEFAULT 'Active'::text NOT NULL,
    token_generation integer DEFAULT 1 NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    rotated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT api_client_status_known CHECK ((status = ANY (ARRAY['Active'::text, 'Blocked'::text])))
);

CREATE TABLE public.application (
    id bigint NOT NULL,
    public_id text NOT NULL,
    job_id bigint NOT NULL,
    freelancer_id bigint NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE public.balance (
    account bigint NOT NULL,
    amount_minor bigint NOT NULL,
    CONSTRAINT balance_floor CHECK ((amount_minor >= 0))
)
WITH (fillfactor='70');

CREATE TABLE public.balance_line (
    provider_account_id smallint NOT NULL,
    line_id text NOT NULL,
    day date NOT NULL,
    kind text NOT NULL,
    type text NOT NULL,
    amount_minor bigint NOT NULL,
    fee_minor bigint NOT NULL,
    currency text NOT NULL,
    source_id text NOT NULL,
    created_at timestamp with time zone NOT NULL,
    available_at timestamp with time zone NOT NULL,
    imported_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT balance_line_day CHECK ((day = ((created_at AT TIME ZONE 'UTC'::text))::date)),
    CONSTRAINT balance_line_kind_known CHECK ((kind = ANY (ARRAY['charge'::text, 'refund'::text, 'refund_returned'::text, 'transfer'::text, 'transfer_returned'::text, 'chargeback'::text, 'chargeback_returned'::text, 'fee'::text, 'bank'::text, 'other'::text])))
);

CREATE TABLE public.business (
    id integer NOT NULL,
    name text NOT NULL,
    currency text NOT NULL,
    settings text NOT NULL,
    version integer DEFAULT 1 NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    public_id uuid DEFAULT gen_random_uuid() NOT NULL
);

CREATE SEQUENCE public.business_key
    START WITH 2
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;

CREATE TABLE public.category (
    id bigint NOT NULL,
    public_id text NOT NULL,
    name text NOT NULL,
    is_listed boolean DEFAULT true NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE public.client_profile (
    party_id bigint NOT NULL,
    first_name text NOT NULL,
    last_name text NOT NULL,
    company_name text NOT NULL,
    description text NOT NULL,
    website text NOT NULL,
    country text NOT NULL,
    city text NOT NULL,
    updated_at timestamp with time zone NOT NULL
);

ALTER TABLE public.clock_move ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.clock_move_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.job (
    id bigint NOT NULL,
    public_id text NOT NULL,
    business_id integer NOT NULL,
    client_id bigint NOT NULL,
    title text NOT NULL,
    description text NOT NULL,
    rate_minor bigint NOT NULL,
    currency text NOT NULL,
    experience_level text NOT NULL,
    location text DEFAULT ''::text NOT NULL,
    category_id bigint,
    listing text DEFAULT 'Open'::text NOT NULL,
    start_date date,
    end_date date,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT job_level_known CHECK ((experience_level = ANY (ARRAY['Beginner'::text, 'Intermediate'::text, 'Expert'::text]))),
    CONSTRAINT job_listing_known CHECK ((listing = ANY (ARRAY['Open'::text, 'Ongoing'::text, 'Closed'::text]))),
    CONSTRAINT job_rate_positive CHECK ((rate_minor > 0))
);

CREATE VIEW public.contract_document AS
 SELECT c.*::public.contract AS contract,
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
   FROM ((((public.contract c
     JOIN public.contract_terms t ON ((c.id = t.contract_id)))
     JOIN public.party buyer ON ((c.buyer_id = buyer.id)))
     JOIN public.party seller ON ((c.seller_id = seller.id)))
     LEFT JOIN public.job j ON ((c.job_id = j.id)));

CREATE SEQUENCE public.contract_number
    START WITH 1
    INCREMENT BY 32
    NO MINVALUE
    MAXVALUE 89999969
    CACHE 1;

CREATE TABLE public.delivery (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    endpoint_id uuid NOT NULL,
    business_id integer NOT NULL,
    event_id bigint,
    contract_id bigint,
    seq integer,
    type text NOT NULL,
    state text NOT NULL,
    series smallint DEFAULT 1 NOT NULL,
    attempts smallint NOT NULL,
    body bytea,
    next_attempt_at timestamp with time zone,
    created_at timestamp with time zone NOT NULL,
    done_at timestamp with time zone,
    failed_for text DEFAULT ''::text NOT NULL,
    CONSTRAINT delivery_attempts_range CHECK (((attempts >= 0) AND (attempts <= 6))),
    CONSTRAINT delivery_due_while_pending CHECK ((((next_attempt_at IS NOT NULL) = (state = 'pending'::text)) AND ((done_at IS NULL) = (state = 'pending'::text)))),
    CONSTRAINT delivery_failed_for_known CHECK (((failed_for = ANY (ARRAY[''::text, 'exhausted'::text, 'refused'::text, 'disabled'::text, 'deleted'::text])) AND ((failed_for <> ''::text) = (state = 'failed'::text)))),
    CONSTRAINT delivery_of_event CHECK ((((event_id IS NULL) = (contract_id IS NULL)) AND ((event_id IS NULL) = (seq IS NULL)))),
    CONSTRAINT delivery_state_known CHECK ((state = ANY (ARRAY['pending'::text, 'succeeded'::text, 'failed'::text])))
)
WITH (fillfactor='80');

CREATE SEQUENCE public.entry_key
    START WITH 1
    INCREMENT BY 4096
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;

CREATE TABLE public.freelancer_profile (
    party_id bigint NOT NULL,
    first_name text NOT NULL,
    last_name text NOT NULL,
    title text NOT NULL,
    bio text NOT NULL,
    experience_level text NOT NULL,
    category_id bigint,
    languages text[] NOT NULL,
    portfolio text[] NOT NULL,
    country text NOT NULL,
    city text NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    CONSTRAINT freelancer_profile_level_known CHECK ((experience_level = ANY (ARRAY[''::text, 'Beginner'::text, 'Intermediate'::text, 'Expert'::text])))
);

CREATE TABLE public.freelancer_skill (
    party_id bigint NOT NULL,
    skill_id bigint NOT NULL,
    "position" smallint NOT NULL
);

CREATE VIEW public.hold AS
 SELECT 'contract'::text AS kind,
    c.id,
    c.public_id,
    c.business_id,
    c.number,
    c.currency,
    c.tranches,
    NULL::bigint AS amount_minor,
    c.funded_at AS held_since,
        CASE
            WHEN c.charged_back THEN 'wait_for_bank'::text
            WHEN (c.dispute = 'open'::text) THEN 'ask_both'::text
            WHEN (c.tranches @> ARRAY['refund_pending'::text]) THEN 'refund'::text
            WHEN ((NOT c.live) OR (c.work = 'not_started'::text)) THEN 'refund'::text
            WHEN ((c.tranches @> ARRAY['release_requested'::text]) OR (c.work = 'completed'::text)) THEN 'release'::text
            ELSE 'ask_both'::text
        END AS proposal
   FROM public.contract c
  WHERE ((c.settled_at IS NULL) AND (c.funded_at IS NOT NULL) AND (c.tranches && ARRAY['held'::text, 'release_requested'::text, 'refund_pending'::text]))
UNION ALL
 SELECT 'payment'::text AS kind,
    p.id,
    p.public_id,
    p.business_id,
    NULL::text AS number,
    p.currency,
    NULL::text[] AS tranches,
    p.amount_minor,
    p.captured_at AS held_since,
        CASE
            WHEN (EXISTS ( SELECT
               FROM public.chargeback b
              WHERE ((b.payment_id = p.id) AND (b.due_at IS NOT NULL)))) THEN 'wait_for_bank'::text
            ELSE 'attach_or_refund'::text
        END AS proposal
   FROM public.payment p
  WHERE (p.state = 'parked'::text);

CREATE TABLE public.hold_watch (
    days integer NOT NULL,
    seen_to timestamp with time zone NOT NULL
);

CREATE TABLE public.job_skill (
    job_id bigint NOT NULL,
    skill_id bigint NOT NULL,
    "position" smallint NOT NULL
);

CREATE TABLE public.known_address (
    key bytea NOT NULL,
    seen_at timestamp with time zone NOT NULL
);

CREATE TABLE public.kyc (
    party_id bigint NOT NULL,
    national_id bytea,
    date_of_birth bytea,
    first_name bytea,
    last_name bytea,
    iban bytea,
    bic bytea,
    answers bytea,
    callback_url text DEFAULT ''::text NOT NULL,
    code_reference uuid,
    code_sent_at timestamp with time zone,
    code_tries_left smallint DEFAULT 0 NOT NULL,
    identified_at timestamp with time zone,
    answered_at timestamp with time zone,
    verified_at timestamp with time zone,
    bank_account_at timestamp with time zone,
    completed_at timestamp with time zone,
    created_at timestamp with time zone NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    CONSTRAINT kyc_answered CHECK (((answered_at IS NULL) OR (answers IS NOT NULL))),
    CONSTRAINT kyc_bank_account CHECK (((bank_account_at IS NULL) OR ((iban IS NOT NULL) AND (bic IS NOT NULL)))),
    CONSTRAINT kyc_code_sent CHECK (((code_reference IS NULL) = (code_sent_at IS NULL))),
    CONSTRAINT kyc_completed CHECK (((completed_at IS NULL) = (bank_account_at IS NULL))),
    CONSTRAINT kyc_identified CHECK (((identified_at IS NULL) OR ((national_id IS NOT NULL) AND (first_name IS NOT NULL) AND (last_name IS NOT NULL)))),
    CONSTRAINT kyc_in_order CHECK ((((answered_at IS NULL) OR (identified_at IS NOT NULL)) AND ((verified_at IS NULL) OR (answered_at IS NOT NULL)) AND ((bank_account_at IS NULL) OR (verified_at IS NOT NULL)))),
    CONSTRAINT kyc_tries_floor CHECK ((code_tries_left >= 0))
);

CREATE TABLE public.login (
    party_id bigint NOT NULL,
    role text NOT NULL,
    status text DEFAULT 'Active'::text NOT NULL,
    email_canonical text NOT NULL,
    password_hash text NOT NULL,
    token_generation integer DEFAULT 1 NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT login_role_known CHECK ((role = ANY (ARRAY['client'::text, 'freelancer'::text, 'admin'::text]))),
    CONSTRAINT login_status_known CHECK ((status = ANY (ARRAY['Active'::text, 'Blocked'::text])))
);

CREATE TABLE public.mail (
    id bigint NOT NULL,
    recipient text NOT NULL,
    recipient_canonical text NOT NULL,
    subject text NOT NULL,
    body text NOT NULL,
    code text,
    link text,
    created_at timestamp with time zone NOT NULL,
    useful_until timestamp with time zone NOT NULL,
    due_at timestamp with time zone DEFAULT now() NOT NULL,
    attempts integer DEFAULT 0 NOT NULL,
    sent_at timestamp with time zone,
    failed_at timestamp with time zone,
    last_error text DEFAULT ''::text NOT NULL
);

ALTER TABLE public.mail ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.mail_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE SEQUENCE public.object_key
    START WITH 1
    INCREMENT BY 256
    NO MINVALUE
    MAXVALUE 1099511627775
    CACHE 1;

CREATE SEQUENCE public.partner_number
    START WITH 1
    INCREMENT BY 32
    NO MINVALUE
    MAXVALUE 99899968
    CACHE 1
    CYCLE;

CREATE TABLE public.password_reset (
    email_canonical text NOT NULL,
    token_hash bytea NOT NULL,
    expires_at timestamp with time zone NOT NULL
);

CREATE TABLE public.payout_account (
    id bigint NOT NULL,
    public_id text NOT NULL,
    business_id integer NOT NULL,
    party_id bigint,
    provider_account_id smallint NOT NULL,
    country text NOT NULL,
    external_account text,
    is_payable boolean DEFAULT false NOT NULL,
    lacks text[] DEFAULT '{}'::text[] NOT NULL,
    created_at timestamp with time zone NOT NULL,
    checked_at timestamp with time zone NOT NULL,
    CONSTRAINT payout_account_payable CHECK (((external_account IS NOT NULL) OR (NOT is_payable)))
);

CREATE TABLE public.payout_round (
    business_id integer NOT NULL,
    period_at timestamp with time zone NOT NULL,
    began_at timestamp with time zone NOT NULL,
    looked_to bigint NOT NULL,
    tries smallint NOT NULL,
    due_at timestamp with time zone
);

CREATE TABLE public.provider_account (
    id smallint NOT NULL,
    provider text NOT NULL,
    external_account text DEFAULT ''::text NOT NULL,
    livemode boolean DEFAULT false NOT NULL
);

CREATE UNLOGGED TABLE public.rate_limit (
    key bytea NOT NULL,
    forgotten_at timestamp with time zone NOT NULL
);

CREATE TABLE public.reconciliation (
    provider_account_id smallint NOT NULL,
    day date NOT NULL,
    currency text NOT NULL,
    state text NOT NULL,
    ran_at timestamp with time zone NOT NULL,
    there_opening_minor bigint NOT NULL,
    there_closing_minor bigint NOT NULL,
    here_opening_minor bigint NOT NULL,
    here_closing_minor bigint NOT NULL,
    drift_minor bigint NOT NULL,
    lines integer NOT NULL,
    entries integer NOT NULL,
    differences integer NOT NULL,
    CONSTRAINT reconciliation_clean CHECK (((state <> 'clean'::text) OR ((drift_minor = 0) AND (differences = 0)))),
    CONSTRAINT reconciliation_drift CHECK ((drift_minor = (there_closing_minor - here_closing_minor))),
    CONSTRAINT reconciliation_state_known CHECK ((state = ANY (ARRAY['open'::text, 'clean'::text, 'different'::text])))
);

CREATE TABLE public.reconciliation_difference (
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
    first_seen timestamp with time zone NOT NULL,
    last_seen timestamp with time zone NOT NULL,
    resolved_at timestamp with time zone,
    CONSTRAINT reconciliation_difference_cause_known CHECK ((cause = ANY (ARRAY['missing_here'::text, 'missing_there'::text, 'amount'::text, 'fee'::text, 'timing'::text, 'currency'::text, 'altered'::text])))
);

CREATE TABLE public.reconciliation_turn (
    provider_account_id smallint NOT NULL,
    done_day date,
    next_try_at timestamp with time zone NOT NULL
);

CREATE TABLE public.refresh_token (
    id uuid NOT NULL,
    session_id uuid NOT NULL,
    issued_at timestamp with time zone DEFAULT now() NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    rotated_at timestamp with time zone
);

CREATE TABLE public.registration (
    email_canonical text NOT NULL,
    email text NOT NULL,
    name text NOT NULL,
    role text NOT NULL,
    password_hash text NOT NULL,
    code_hash bytea NOT NULL,
    code_expires_at timestamp with time zone NOT NULL,
    tries_left smallint NOT NULL,
    created_at timestamp with time zone NOT NULL,
    CONSTRAINT registration_role_known CHECK ((role = ANY (ARRAY['client'::text, 'freelancer'::text]))),
    CONSTRAINT registration_tries_floor CHECK ((tries_left >= 0))
);

CREATE TABLE public.review (
    id bigint NOT NULL,
    public_id text NOT NULL,
    contract_id bigint NOT NULL,
    client_id bigint NOT NULL,
    freelancer_id bigint NOT NULL,
    rating smallint NOT NULL,
    description text NOT NULL,
    created_at timestamp with time zone NOT NULL,
    CONSTRAINT review_rating_known CHECK (((rating >= 1) AND (rating <= 5)))
);

CREATE TABLE public.rollup (
    account bigint NOT NULL,
    debits_minor numeric NOT NULL,
    credits_minor numeric NOT NULL
);

CREATE TABLE public.schema_migration (
    number integer NOT NULL,
    name text NOT NULL,
    sha256 text NOT NULL,
    applied_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE public.session (
    id uuid NOT NULL,
    party_id bigint NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    revoked_at timestamp with time zone,
    revoked_for text DEFAULT ''::text NOT NULL
);

CREATE TABLE public.signing_key (
    kid text NOT NULL,
    private_key bytea NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    retires_at timestamp with time zone NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    CONSTRAINT signing_key_life CHECK (((created_at < retires_at) AND (retires_at < expires_at)))
);

CREATE TABLE public.skill (
    id bigint NOT NULL,
    public_id text NOT NULL,
    name text NOT NULL,
    is_listed boolean DEFAULT true NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE public.webhook_endpoint (
    id uuid NOT NULL,
    business_id integer NOT NULL,
    url text NOT NULL,
    secret bytea NOT NULL,
    old_secret bytea,
    old_secret_until timestamp with time zone,
    is_active boolean DEFAULT true NOT NULL,
    consecutive_failures integer DEFAULT 0 NOT NULL,
    failed_attempts integer DEFAULT 0 NOT NULL,
    disabled_at timestamp with time zone,
    disabled_for text DEFAULT ''::text NOT NULL,
    last_success_at timestamp with time zone,
    last_failure_at timestamp with time zone,
    created_at timestamp with time zone NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    deleted_at timestamp with time zone,
    leased_by uuid,
    leased_until timestamp with time zone DEFAULT '1970-01-01 00:00:00+00'::timestamp with time zone NOT NULL,
    CONSTRAINT webhook_endpoint_disabled CHECK (((is_active = (disabled_at IS NULL)) AND (is_active = (disabled_for = ''::text)))),
    CONSTRAINT webhook_endpoint_disabled_for_known CHECK ((disabled_for = ANY (ARRAY[''::text, 'failures'::text, 'gone'::text]))),
    CONSTRAINT webhook_endpoint_old_secret CHECK (((old_secret IS NULL) = (old_secret_until IS NULL)))
)
WITH (fillfactor='70');

CREATE TABLE sandbox.account (
    id text NOT NULL,
    reference text NOT NULL,
    email text NOT NULL,
    name text NOT NULL,
    country text NOT NULL,
    is_company boolean NOT NULL,
    onboarded_at timestamp with time zone,
    created_at timestamp with time zone NOT NULL
);

CREATE TABLE sandbox.dispute (
    id text NOT NULL,
    payment_id text NOT NULL,
    amount_minor bigint NOT NULL,
    currency text NOT NULL,
    state text NOT NULL,
    evidence_due_at timestamp with time zone NOT NULL,
    created_at timestamp with time zone NOT NULL,
    CONSTRAINT dispute_amount_minor_check CHECK ((amount_minor > 0)),
    CONSTRAINT dispute_state_check CHECK ((state = ANY (ARRAY['open'::text, 'won'::text, 'lost'::text])))
);

CREATE TABLE sandbox.dispute_line (
    id text NOT NULL,
    "position" bigint NOT NULL,
    dispute_id text NOT NULL,
    amount_minor bigint NOT NULL,
    currency text NOT NULL,
    recorded_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT dispute_line_amount_minor_check CHECK ((amount_minor <> 0))
);

ALTER TABLE sandbox.dispute_line ALTER COLUMN "position" ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME sandbox.dispute_line_position_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE sandbox.onboarding_link (
    token text NOT NULL,
    visit text NOT NULL,
    account_id text NOT NULL,
    return_url text NOT NULL,
    refresh_url text NOT NULL,
    created_at timestamp with time zone NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    opened_at timestamp with time zone,
    done_at timestamp with time zone
);

CREATE TABLE sandbox.outbox (
    id text NOT NULL,
    "position" bigint NOT NULL,
    session_id text,
    type text NOT NULL,
    body bytea NOT NULL,
    attempts integer NOT NULL,
    next_attempt_at timestamp with time zone,
    leased_until timestamp with time zone NOT NULL,
    created_at timestamp with time zone NOT NULL,
    delivered_at timestamp with time zone,
    last_answer text NOT NULL,
    CONSTRAINT outbox_attempts_check CHECK ((attempts >= 0)),
    CONSTRAINT outbox_delivered_check CHECK (((delivered_at IS NULL) OR (next_attempt_at IS NULL)))
);

ALTER TABLE sandbox.outbox ALTER COLUMN "position" ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME sandbox.outbox_position_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE sandbox.payout (
    id text NOT NULL,
    "position" bigint NOT NULL,
    idempotency_key text NOT NULL,
    request_hash bytea NOT NULL,
    reference text NOT NULL,
    account_id text NOT NULL,
    amount_minor bigint NOT NULL,
    currency text NOT NULL,
    state text NOT NULL,
    failure text NOT NULL,
    created_at timestamp with time zone NOT NULL,
    arrives_at timestamp with time zone NOT NULL,
    CONSTRAINT payout_amount_minor_check CHECK ((amount_minor > 0)),
    CONSTRAINT payout_failure_check CHECK (((failure <> ''::text) = (state = 'failed'::text))),
    CONSTRAINT payout_state_check CHECK ((state = ANY (ARRAY['pending'::text, 'paid'::text, 'failed'::text])))
);

ALTER TABLE sandbox.payout ALTER COLUMN "position" ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME sandbox.payout_position_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE sandbox.refund (
    id text NOT NULL,
    idempotency_key text NOT NULL,
    request_hash bytea NOT NULL,
    reference text NOT NULL,
    payment_id text NOT NULL,
    amount_minor bigint NOT NULL,
    currency text NOT NULL,
    created_at timestamp with time zone NOT NULL,
    recorded_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT refund_amount_minor_check CHECK ((amount_minor > 0))
);

CREATE TABLE sandbox.session (
    id text NOT NULL,
    idempotency_key text NOT NULL,
    request_hash bytea NOT NULL,
    title text NOT NULL,
    amount_minor bigint NOT NULL,
    currency text NOT NULL,
    metadata jsonb NOT NULL,
    success_url text NOT NULL,
    cancel_url text NOT NULL,
    state text NOT NULL,
    payment_id text,
    created_at timestamp with time zone NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    paid_at timestamp with time zone,
    CONSTRAINT session_amount_minor_check CHECK ((amount_minor > 0)),
    CONSTRAINT session_paid_at_check CHECK (((paid_at IS NOT NULL) = (state = 'paid'::text))),
    CONSTRAINT session_payment_id_check CHECK (((payment_id IS NULL) = (state = ANY (ARRAY['open'::text, 'expired'::text])))),
    CONSTRAINT session_state_check CHECK ((state = ANY (ARRAY['open'::text, 'processing'::text, 'paid'::text, 'failed'::text, 'expired'::text])))
);

CREATE TABLE sandbox.spent_key (
    idempotency_key text NOT NULL,
    request_hash bytea NOT NULL
);

CREATE TABLE sandbox.transfer (
    id text NOT NULL,
    idempotency_key text NOT NULL,
    request_hash bytea NOT NULL,
    reference text NOT NULL,
    account_id text NOT NULL,
    amount_minor bigint NOT NULL,
    currency text NOT NULL,
    recorded_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT transfer_amount_minor_check CHECK ((amount_minor > 0))
);

CREATE TABLE sandbox.transfer_return (
    id text NOT NULL,
    idempotency_key text NOT NULL,
    request_hash bytea NOT NULL,
    transfer_id text NOT NULL,
    recorded_at timestamp with time zone DEFAULT now() NOT NULL
);

ALTER TABLE ONLY public.alert
    ADD CONSTRAINT alert_once UNIQUE (kind, subject, stage);

ALTER TABLE ONLY public.alert
    ADD CONSTRAINT alert_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.anchor_tip
    ADD CONSTRAINT anchor_tip_pkey PRIMARY KEY (chain);

ALTER TABLE ONLY public.api_client
    ADD CONSTRAINT api_client_one_per_business UNIQUE (business_id);

ALTER TABLE ONLY public.api_client
    ADD CONSTRAINT api_client_pkey PRIMARY KEY (client_id);

ALTER TABLE ONLY public.application
    ADD CONSTRAINT application_once UNIQUE (job_id, freelancer_id);

ALTER TABLE ONLY public.application
    ADD CONSTRAINT application_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.balance_line
    ADD CONSTRAINT balance_line_once PRIMARY KEY (provider_account_id, line_id);

ALTER TABLE ONLY public.balance
    ADD CONSTRAINT balance_pkey PRIMARY KEY (account);

ALTER TABLE ONLY public.booked_line
    ADD CONSTRAINT booked_line_once PRIMARY KEY (provider_account_id, line_id);

ALTER TABLE ONLY public.business_clock
    ADD CONSTRAINT business_clock_pkey PRIMARY KEY (singleton);

ALTER TABLE ONLY public.business
    ADD CONSTRAINT business_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.business
    ADD CONSTRAINT business_public_id_unique UNIQUE (public_id);

ALTER TABLE ONLY public.category
    ADD CONSTRAINT category_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.chargeback
    ADD CONSTRAINT chargeback_dispute_unique UNIQUE (provider_account_id, provider_dispute_id);

ALTER TABLE ONLY public.chargeback
    ADD CONSTRAINT chargeback_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.client_profile
    ADD CONSTRAINT client_profile_pkey PRIMARY KEY (party_id);

ALTER TABLE ONLY public.clock_move
    ADD CONSTRAINT clock_move_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.contract
    ADD CONSTRAINT contract_in_business UNIQUE (business_id, id);

ALTER TABLE ONLY public.contract
    ADD CONSTRAINT contract_number_unique UNIQUE (business_id, number);

ALTER TABLE ONLY public.contract
    ADD CONSTRAINT contract_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.contract_terms
    ADD CONSTRAINT contract_terms_pkey PRIMARY KEY (contract_id);

ALTER TABLE ONLY public.delivery_attempt
    ADD CONSTRAINT delivery_attempt_once PRIMARY KEY (delivery_id, series, number);

ALTER TABLE ONLY public.delivery
    ADD CONSTRAINT delivery_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.event
    ADD CONSTRAINT event_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.freelancer_profile
    ADD CONSTRAINT freelancer_profile_pkey PRIMARY KEY (party_id);

ALTER TABLE ONLY public.freelancer_skill
    ADD CONSTRAINT freelancer_skill_pkey PRIMARY KEY (party_id, skill_id);

ALTER TABLE ONLY public.hold_watch
    ADD CONSTRAINT hold_watch_pkey PRIMARY KEY (days);

ALTER TABLE ONLY public.idempotency_key
    ADD CONSTRAINT idempotency_key_once PRIMARY KEY (scope);

ALTER TABLE ONLY public.job
    ADD CONSTRAINT job_in_business UNIQUE (business_id, id);

ALTER TABLE ONLY public.job
    ADD CONSTRAINT job_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.job_skill
    ADD CONSTRAINT job_skill_pkey PRIMARY KEY (job_id, skill_id);

ALTER TABLE ONLY public.known_address
    ADD CONSTRAINT known_address_pkey PRIMARY KEY (key);

ALTER TABLE ONLY public.kyc
    ADD CONSTRAINT kyc_pkey PRIMARY KEY (party_id);

ALTER TABLE ONLY public.ledger_horizon
    ADD CONSTRAINT ledger_horizon_pkey PRIMARY KEY (singleton);

ALTER TABLE ONLY public.login
    ADD CONSTRAINT login_email_unique UNIQUE (email_canonical);

ALTER TABLE ONLY public.login
    ADD CONSTRAINT login_pkey PRIMARY KEY (party_id);

ALTER TABLE ONLY public.mail
    ADD CONSTRAINT mail_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.party
    ADD CONSTRAINT party_in_business UNIQUE (business_id, id);

ALTER TABLE ONLY public.party
    ADD CONSTRAINT party_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.password_reset
    ADD CONSTRAINT password_reset_pkey PRIMARY KEY (email_canonical);

ALTER TABLE ONLY public.payment
    ADD CONSTRAINT payment_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.payment
    ADD CONSTRAINT payment_provider_payment_unique UNIQUE (provider_account_id, provider_payment_id);

ALTER TABLE ONLY public.payment
    ADD CONSTRAINT payment_session_unique UNIQUE (provider_account_id, session_id);

ALTER TABLE ONLY public.payout_account
    ADD CONSTRAINT payout_account_external_unique UNIQUE (provider_account_id, external_account);

ALTER TABLE ONLY public.payout_account
    ADD CONSTRAINT payout_account_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.payout
    ADD CONSTRAINT payout_payout_unique UNIQUE (provider_account_id, provider_payout_id);

ALTER TABLE ONLY public.payout
    ADD CONSTRAINT payout_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.payout_round
    ADD CONSTRAINT payout_round_pkey PRIMARY KEY (business_id);

ALTER TABLE ONLY public.payout
    ADD CONSTRAINT payout_transfer_unique UNIQUE (provider_account_id, provider_transfer_id);

ALTER TABLE ONLY public.provider_account
    ADD CONSTRAINT provider_account_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.provider_account
    ADD CONSTRAINT provider_account_unique UNIQUE (provider, external_account, livemode);

ALTER TABLE ONLY public.provider_event
    ADD CONSTRAINT provider_event_once PRIMARY KEY (provider, event_id);

ALTER TABLE ONLY public.rate_limit
    ADD CONSTRAINT rate_limit_pkey PRIMARY KEY (key);

ALTER TABLE ONLY public.reconciliation_difference
    ADD CONSTRAINT reconciliation_difference_pkey PRIMARY KEY (provider_account_id, day, currency, kind, source_id);

ALTER TABLE ONLY public.reconciliation
    ADD CONSTRAINT reconciliation_pkey PRIMARY KEY (provider_account_id, day, currency);

ALTER TABLE ONLY public.reconciliation_turn
    ADD CONSTRAINT reconciliation_turn_pkey PRIMARY KEY (provider_account_id);

ALTER TABLE ONLY public.refresh_token
    ADD CONSTRAINT refresh_token_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.refund
    ADD CONSTRAINT refund_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.refund
    ADD CONSTRAINT refund_provider_refund_unique UNIQUE (provider_refund_id);

ALTER TABLE ONLY public.registration
    ADD CONSTRAINT registration_pkey PRIMARY KEY (email_canonical);

ALTER TABLE ONLY public.review
    ADD CONSTRAINT review_once UNIQUE (contract_id);

ALTER TABLE ONLY public.review
    ADD CONSTRAINT review_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.rollup
    ADD CONSTRAINT rollup_pkey PRIMARY KEY (account);

ALTER TABLE ONLY public.schema_migration
    ADD CONSTRAINT schema_migration_pkey PRIMARY KEY (number);

ALTER TABLE ONLY public.session
    ADD CONSTRAINT session_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.signing_key
    ADD CONSTRAINT signing_key_pkey PRIMARY KEY (kid);

ALTER TABLE ONLY public.skill
    ADD CONSTRAINT skill_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.transfer
    ADD CONSTRAINT transfer_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.webhook_endpoint
    ADD CONSTRAINT webhook_endpoint_in_business UNIQUE (business_id, id);

ALTER TABLE ONLY public.webhook_endpoint
    ADD CONSTRAINT webhook_endpoint_pkey PRIMARY KEY (id);

ALTER TABLE ONLY sandbox.account
    ADD CONSTRAINT account_pkey PRIMARY KEY (id);

ALTER TABLE ONLY sandbox.account
    ADD CONSTRAINT account_reference_key UNIQUE (reference);

ALTER TABLE ONLY sandbox.dispute_line
    ADD CONSTRAINT dispute_line_pkey PRIMARY KEY (id);

ALTER TABLE ONLY sandbox.dispute
    ADD CONSTRAINT dispute_payment_id_key UNIQUE (payment_id);

ALTER TABLE ONLY sandbox.dispute
    ADD CONSTRAINT dispute_pkey PRIMARY KEY (id);

ALTER TABLE ONLY sandbox.onboarding_link
    ADD CONSTRAINT onboarding_link_pkey PRIMARY KEY (token);

ALTER TABLE ONLY sandbox.onboarding_link
    ADD CONSTRAINT onboarding_link_visit_key UNIQUE (visit);

ALTER TABLE ONLY sandbox.outbox
    ADD CONSTRAINT outbox_pkey PRIMARY KEY (id);

ALTER TABLE ONLY sandbox.outbox
    ADD CONSTRAINT outbox_session_id_type_key UNIQUE (session_id, type);

ALTER TABLE ONLY sandbox.payout
    ADD CONSTRAINT payout_idempotency_key_key UNIQUE (idempotency_key);

ALTER TABLE ONLY sandbox.payout
    ADD CONSTRAINT payout_pkey PRIMARY KEY (id);

ALTER TABLE ONLY sandbox.refund
    ADD CONSTRAINT refund_idempotency_key_key UNIQUE (idempotency_key);

ALTER TABLE ONLY sandbox.refund
    ADD CONSTRAINT refund_pkey PRIMARY KEY (id);

ALTER TABLE ONLY sandbox.session
    ADD CONSTRAINT session_idempotency_key_key UNIQUE (idempotency_key);

ALTER TABLE ONLY sandbox.session
    ADD CONSTRAINT session_payment_id_key UNIQUE (payment_id);

ALTER TABLE ONLY sandbox.session
    ADD CONSTRAINT session_pkey PRIMARY KEY (id);

ALTER TABLE ONLY sandbox.spent_key
    ADD CONSTRAINT spent_key_pkey PRIMARY KEY (idempotency_key);

ALTER TABLE ONLY sandbox.transfer
    ADD CONSTRAINT transfer_idempotency_key_key UNIQUE (idempotency_key);

ALTER TABLE ONLY sandbox.transfer
    ADD CONSTRAINT transfer_pkey PRIMARY KEY (id);

ALTER TABLE ONLY sandbox.transfer_return
    ADD CONSTRAINT transfer_return_idempotency_key_key UNIQUE (idempotency_key);

ALTER TABLE ONLY sandbox.transfer_return
    ADD CONSTRAINT transfer_return_pkey PRIMARY KEY (id);

ALTER TABLE ONLY sandbox.transfer_return
    ADD CONSTRAINT transfer_return_transfer_id_key UNIQUE (transfer_id);

CREATE INDEX alert_mailed ON public.alert USING btree (mailed_at DESC) WHERE (mailed_at IS NOT NULL);

CREATE INDEX alert_open ON public.alert USING btree (id DESC) WHERE (closed_at IS NULL);

CREATE INDEX alert_to_mail ON public.alert USING btree (id) WHERE ((closed_at IS NULL) AND (mailed_at IS NULL));

CREATE INDEX application_by_freelancer ON public.application USING btree (freelancer_id, id DESC);

CREATE INDEX balance_line_by_day ON public.balance_line USING btree (provider_account_id, day);

CREATE INDEX booked_line_by_commit ON public.booked_line USING btree (commit_id);

CREATE UNIQUE INDEX category_name_unique ON public.category USING btree (lower(name));

CREATE INDEX chargeback_by_contract ON public.chargeback USING btree (contract_id);

CREATE INDEX chargeback_by_payment ON public.chargeback USING btree (payment_id);

CREATE INDEX chargeback_by_state ON public.chargeback USING btree (state, id DESC);

CREATE INDEX chargeback_due ON public.chargeback USING btree (due_at) WHERE (due_at IS NOT NULL);

CREATE INDEX contract_by_business ON public.contract USING btree (business_id, created_at DESC, id DESC);

CREATE INDEX contract_by_buyer ON public.contract USING btree (buyer_id, created_at DESC, id DESC);

CREATE INDEX contract_by_job ON public.contract USING btree (job_id);

CREATE INDEX contract_by_seller ON public.contract USING btree (seller_id, created_at DESC, id DESC);

CREATE INDEX contract_funded_at ON public.contract USING brin (funded_at) WITH (pages_per_range='16', autosummarize='on');

CREATE UNIQUE INDEX contract_one_live_per_job ON public.contract USING btree (job_id) WHERE live;

CREATE INDEX delivery_attempt_by_business ON public.delivery_attempt USING btree (business_id, created_at DESC, id DESC);

CREATE INDEX delivery_by_business ON public.delivery USING btree (business_id, created_at DESC, id DESC);

CREATE INDEX delivery_in_order ON public.delivery USING btree (contract_id, seq) WHERE (state = 'pending'::text);

CREATE UNIQUE INDEX delivery_once ON public.delivery USING btree (event_id);

CREATE INDEX delivery_waiting ON public.delivery USING btree (endpoint_id, next_attempt_at, seq) WHERE (state = 'pending'::text);

CREATE INDEX event_by_xid ON public.event USING brin (xid) WITH (autosummarize='on');

CREATE UNIQUE INDEX event_chain ON public.event USING btree (contract_id, seq) WHERE (contract_id IS NOT NULL);

CREATE INDEX idempotency_key_to_empty ON public.idempotency_key USING btree (created_at) WHERE (is_sealed AND (reply <> '\x'::bytea));

CREATE INDEX idempotency_key_to_purge ON public.idempotency_key USING btree (created_at) WHERE (NOT moves_money);

CREATE INDEX job_by_client ON public.job USING btree (client_id, id DESC);

CREATE INDEX job_open ON public.job USING btree (id DESC) WHERE (listing = 'Open'::text);

CREATE INDEX known_address_to_purge ON public.known_address USING btree (seen_at);

CREATE INDEX login_by_role ON public.login USING btree (role, party_id DESC);

CREATE INDEX mail_by_recipient ON public.mail USING btree (recipient_canonical, id DESC);

CREATE INDEX mail_due ON public.mail USING btree (due_at) WHERE ((sent_at IS NULL) AND (failed_at IS NULL));

CREATE INDEX mail_outdated ON public.mail USING btree (useful_until) WHERE ((sent_at IS NULL) AND (failed_at IS NULL));

CREATE UNIQUE INDEX party_phone_unique ON public.party USING btree (business_id, phone) WHERE (phone IS NOT NULL);

CREATE UNIQUE INDEX party_ref_unique ON public.party USING btree (business_id, platform_ref) WHERE (platform_ref IS NOT NULL);

CREATE UNIQUE INDEX password_reset_by_token ON public.password_reset USING btree (token_hash);

CREATE INDEX password_reset_to_purge ON public.password_reset USING btree (expires_at);

CREATE INDEX payment_by_contract ON public.payment USING btree (contract_id);

CREATE UNIQUE INDEX payment_one_open_per_contract ON public.payment USING btree (contract_id) WHERE ((job_id IS NULL) AND (state = ANY (ARRAY['opening'::text, 'open'::text, 'processing'::text])));

CREATE UNIQUE INDEX payment_one_open_per_job ON public.payment USING btree (job_id) WHERE (state = ANY (ARRAY['opening'::text, 'open'::text, 'processing'::text]));

CREATE INDEX payment_parked ON public.payment USING btree (job_id) WHERE (state = 'parked'::text);

CREATE INDEX payment_parked_since ON public.payment USING btree (captured_at) WHERE (state = 'parked'::text);

CREATE UNIQUE INDEX payout_account_of_business ON public.payout_account USING btree (business_id, provider_account_id) WHERE (party_id IS NULL);

CREATE UNIQUE INDEX payout_account_of_party ON public.payout_account USING btree (party_id, provider_account_id) WHERE (party_id IS NOT NULL);

CREATE INDEX payout_by_business ON public.payout USING btree (business_id, id DESC);

CREATE INDEX payout_by_party ON public.payout USING btree (party_id, id DESC);

CREATE INDEX payout_by_state ON public.payout USING btree (state, id DESC);

CREATE INDEX payout_due ON public.payout USING btree (due_at) WHERE (due_at IS NOT NULL);

CREATE INDEX payout_of_business_itself ON public.payout USING btree (business_id, id DESC) WHERE (party_id IS NULL);

CREATE INDEX payout_round_due ON public.payout_round USING btree (due_at) WHERE (due_at IS NOT NULL);

CREATE UNIQUE INDEX provider_event_money_once ON public.provider_event USING btree (provider, session_id, ((outcome = 'quarantined'::text))) WHERE took_money;

CREATE INDEX provider_event_quarantined ON public.provider_event USING btree (received_at) WHERE (outcome = 'quarantined'::text);

CREATE INDEX provider_event_waiting ON public.provider_event USING btree (session_id) WHERE ((outcome = 'parked'::text) AND (NOT took_money));

CREATE INDEX reconciliation_difference_open ON public.reconciliation_difference USING btree (day) WHERE ((resolved_at IS NULL) AND (since = day) AND (cause <> 'timing'::text));

CREATE INDEX refresh_token_by_session ON public.refresh_token USING btree (session_id);

CREATE INDEX refresh_token_to_purge ON public.refresh_token USING btree (expires_at);

CREATE INDEX refund_by_contract ON public.refund USING btree (contract_id);

CREATE INDEX refund_by_state ON public.refund USING btree (state, id DESC);

CREATE INDEX refund_due ON public.refund USING btree (due_at) WHERE (due_at IS NOT NULL);

CREATE INDEX registration_to_purge ON public.registration USING btree (created_at);

CREATE INDEX review_by_freelancer ON public.review USING btree (freelancer_id, id DESC);

CREATE INDEX session_by_party ON public.session USING btree (party_id) WHERE (revoked_at IS NULL);

CREATE UNIQUE INDEX skill_name_unique ON public.skill USING btree (lower(name));

CREATE INDEX transfer_by_credit ON public.transfer USING btree (credit, xid);

CREATE INDEX transfer_by_debit ON public.transfer USING btree (debit, xid);

CREATE INDEX transfer_by_recorded_at ON public.transfer USING brin (recorded_at) WITH (pages_per_range='32', autosummarize='on');

CREATE INDEX transfer_by_xid ON public.transfer USING brin (xid) WITH (autosummarize='on');

CREATE UNIQUE INDEX webhook_endpoint_one ON public.webhook_endpoint USING btree (business_id) WHERE (deleted_at IS NULL);

CREATE INDEX dispute_line_dispute_id_idx ON sandbox.dispute_line USING btree (dispute_id);

CREATE INDEX outbox_due_idx ON sandbox.outbox USING btree (next_attempt_at) WHERE (next_attempt_at IS NOT NULL);

CREATE INDEX payout_account_id_idx ON sandbox.payout USING btree (account_id);

CREATE INDEX payout_arrival_idx ON sandbox.payout USING btree (arrives_at) WHERE (state = 'pending'::text);

CREATE INDEX payout_reference_idx ON sandbox.payout USING btree (reference);

CREATE INDEX refund_payment_id_idx ON sandbox.refund USING btree (payment_id);

CREATE INDEX session_expiry_idx ON sandbox.session USING btree (expires_at) WHERE (state = 'open'::text);

CREATE INDEX transfer_account_id_idx ON sandbox.transfer USING btree (account_id);

CREATE INDEX transfer_reference_idx ON sandbox.transfer USING btree (reference);

CREATE TRIGGER balance_line_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.balance_line FOR EACH STATEMENT EXECUTE FUNCTION public.refuse_rewrite();

CREATE TRIGGER booked_line_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.booked_line FOR EACH STATEMENT EXECUTE FUNCTION public.refuse_rewrite();

CREATE TRIGGER business_clock_moved AFTER UPDATE ON public.business_clock FOR EACH ROW EXECUTE FUNCTION public.keep_clock_move();

CREATE TRIGGER business_versioned BEFORE UPDATE ON public.business FOR EACH ROW EXECUTE FUNCTION public.count_version();

CREATE TRIGGER contract_terms_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.contract_terms FOR EACH STATEMENT EXECUTE FUNCTION public.refuse_rewrite();

CREATE TRIGGER delivery_attempt_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.delivery_attempt FOR EACH STATEMENT EXECUTE FUNCTION public.refuse_rewrite();

CREATE TRIGGER event_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.event FOR EACH STATEMENT EXECUTE FUNCTION public.refuse_rewrite();

CREATE TRIGGER login_role_fixed BEFORE UPDATE OF party_id, role ON public.login FOR EACH STATEMENT EXECUTE FUNCTION public.refuse_new_role();

CREATE TRIGGER provider_event_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.provider_event FOR EACH STATEMENT EXECUTE FUNCTION public.refuse_rewrite();

CREATE TRIGGER transfer_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.transfer FOR EACH STATEMENT EXECUTE FUNCTION public.refuse_rewrite();

ALTER TABLE ONLY public.api_client
    ADD CONSTRAINT api_client_business_fk FOREIGN KEY (business_id) REFERENCES public.business(id);

ALTER TABLE ONLY public.application
    ADD CONSTRAINT application_freelancer_fk FOREIGN KEY (freelancer_id) REFERENCES public.party(id);

ALTER TABLE ONLY public.application
    ADD CONSTRAINT application_job_fk FOREIGN KEY (job_id) REFERENCES public.job(id);

ALTER TABLE ONLY public.balance_line
    ADD CONSTRAINT balance_line_provider_fk FOREIGN KEY (provider_account_id) REFERENCES public.provider_account(id);

ALTER TABLE ONLY public.chargeback
    ADD CONSTRAINT chargeback_contract_fk FOREIGN KEY (business_id, contract_id) REFERENCES public.contract(business_id, id);

ALTER TABLE ONLY public.chargeback
    ADD CONSTRAINT chargeback_payment_fk FOREIGN KEY (payment_id) REFERENCES public.payment(id);

ALTER TABLE ONLY public.client_profile
    ADD CONSTRAINT client_profile_login_fk FOREIGN KEY (party_id) REFERENCES public.login(party_id);

ALTER TABLE ONLY public.contract
    ADD CONSTRAINT contract_buyer_fk FOREIGN KEY (business_id, buyer_id) REFERENCES public.party(business_id, id);

ALTER TABLE ONLY public.contract
    ADD CONSTRAINT contract_job_fk FOREIGN KEY (business_id, job_id) REFERENCES public.job(business_id, id);

ALTER TABLE ONLY public.contract
    ADD CONSTRAINT contract_seller_fk FOREIGN KEY (business_id, seller_id) REFERENCES public.party(business_id, id);

ALTER TABLE ONLY public.contract_terms
    ADD CONSTRAINT contract_terms_contract_fk FOREIGN KEY (contract_id) REFERENCES public.contract(id);

ALTER TABLE ONLY public.delivery_attempt
    ADD CONSTRAINT delivery_attempt_delivery_fk FOREIGN KEY (delivery_id) REFERENCES public.delivery(id);

ALTER TABLE ONLY public.delivery
    ADD CONSTRAINT delivery_endpoint_fk FOREIGN KEY (business_id, endpoint_id) REFERENCES public.webhook_endpoint(business_id, id);

ALTER TABLE ONLY public.delivery
    ADD CONSTRAINT delivery_event_fk FOREIGN KEY (event_id) REFERENCES public.event(id);

ALTER TABLE ONLY public.freelancer_profile
    ADD CONSTRAINT freelancer_profile_category_fk FOREIGN KEY (category_id) REFERENCES public.category(id);

ALTER TABLE ONLY public.freelancer_profile
    ADD CONSTRAINT freelancer_profile_login_fk FOREIGN KEY (party_id) REFERENCES public.login(party_id);

ALTER TABLE ONLY public.freelancer_skill
    ADD CONSTRAINT freelancer_skill_profile_fk FOREIGN KEY (party_id) REFERENCES public.freelancer_profile(party_id);

ALTER TABLE ONLY public.freelancer_skill
    ADD CONSTRAINT freelancer_skill_skill_fk FOREIGN KEY (skill_id) REFERENCES public.skill(id);

ALTER TABLE ONLY public.job
    ADD CONSTRAINT job_category_fk FOREIGN KEY (category_id) REFERENCES public.category(id);

ALTER TABLE ONLY public.job
    ADD CONSTRAINT job_client_fk FOREIGN KEY (business_id, client_id) REFERENCES public.party(business_id, id);

ALTER TABLE ONLY public.job_skill
    ADD CONSTRAINT job_skill_job_fk FOREIGN KEY (job_id) REFERENCES public.job(id);

ALTER TABLE ONLY public.job_skill
    ADD CONSTRAINT job_skill_skill_fk FOREIGN KEY (skill_id) REFERENCES public.skill(id);

ALTER TABLE ONLY public.kyc
    ADD CONSTRAINT kyc_party_fk FOREIGN KEY (party_id) REFERENCES public.party(id);

ALTER TABLE ONLY public.login
    ADD CONSTRAINT login_party_fk FOREIGN KEY (party_id) REFERENCES public.party(id);

ALTER TABLE ONLY public.party
    ADD CONSTRAINT party_business_fk FOREIGN KEY (business_id) REFERENCES public.business(id);

ALTER TABLE ONLY public.payment
    ADD CONSTRAINT payment_buyer_fk FOREIGN KEY (business_id, buyer_id) REFERENCES public.party(business_id, id);

ALTER TABLE ONLY public.payment
    ADD CONSTRAINT payment_contract_fk FOREIGN KEY (business_id, contract_id) REFERENCES public.contract(business_id, id);

ALTER TABLE ONLY public.payment
    ADD CONSTRAINT payment_job_fk FOREIGN KEY (business_id, job_id) REFERENCES public.job(business_id, id);

ALTER TABLE ONLY public.payment
    ADD CONSTRAINT payment_provider_account_fk FOREIGN KEY (provider_account_id) REFERENCES public.provider_account(id);

ALTER TABLE ONLY public.payment
    ADD CONSTRAINT payment_seller_fk FOREIGN KEY (business_id, seller_id) REFERENCES public.party(business_id, id);

ALTER TABLE ONLY public.payout_account
    ADD CONSTRAINT payout_account_business_fk FOREIGN KEY (business_id) REFERENCES public.business(id);

ALTER TABLE ONLY public.payout
    ADD CONSTRAINT payout_account_fk FOREIGN KEY (provider_account_id, external_account) REFERENCES public.payout_account(provider_account_id, external_account);

ALTER TABLE ONLY public.payout_account
    ADD CONSTRAINT payout_account_party_fk FOREIGN KEY (business_id, party_id) REFERENCES public.party(business_id, id);

ALTER TABLE ONLY public.payout_account
    ADD CONSTRAINT payout_account_provider_fk FOREIGN KEY (provider_account_id) REFERENCES public.provider_account(id);

ALTER TABLE ONLY public.payout
    ADD CONSTRAINT payout_business_fk FOREIGN KEY (business_id) REFERENCES public.business(id);

ALTER TABLE ONLY public.payout
    ADD CONSTRAINT payout_party_fk FOREIGN KEY (business_id, party_id) REFERENCES public.party(business_id, id);

ALTER TABLE ONLY public.payout_round
    ADD CONSTRAINT payout_round_business_fk FOREIGN KEY (business_id) REFERENCES public.business(id);

ALTER TABLE ONLY public.reconciliation_difference
    ADD CONSTRAINT reconciliation_difference_fk FOREIGN KEY (provider_account_id, day, currency) REFERENCES public.reconciliation(provider_account_id, day, currency);

ALTER TABLE ONLY public.reconciliation
    ADD CONSTRAINT reconciliation_provider_fk FOREIGN KEY (provider_account_id) REFERENCES public.provider_account(id);

ALTER TABLE ONLY public.reconciliation_turn
    ADD CONSTRAINT reconciliation_turn_provider_fk FOREIGN KEY (provider_account_id) REFERENCES public.provider_account(id);

ALTER TABLE ONLY public.refresh_token
    ADD CONSTRAINT refresh_token_session_fk FOREIGN KEY (session_id) REFERENCES public.session(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.refund
    ADD CONSTRAINT refund_contract_fk FOREIGN KEY (business_id, contract_id) REFERENCES public.contract(business_id, id);

ALTER TABLE ONLY public.refund
    ADD CONSTRAINT refund_payment_fk FOREIGN KEY (payment_id) REFERENCES public.payment(id);

ALTER TABLE ONLY public.review
    ADD CONSTRAINT review_client_fk FOREIGN KEY (client_id) REFERENCES public.party(id);

ALTER TABLE ONLY public.review
    ADD CONSTRAINT review_contract_fk FOREIGN KEY (contract_id) REFERENCES public.contract(id);

ALTER TABLE ONLY public.review
    ADD CONSTRAINT review_freelancer_fk FOREIGN KEY (freelancer_id) REFERENCES public.party(id);

ALTER TABLE ONLY public.session
    ADD CONSTRAINT session_login_fk FOREIGN KEY (party_id) REFERENCES public.login(party_id);

ALTER TABLE ONLY public.webhook_endpoint
    ADD CONSTRAINT webhook_endpoint_business_fk FOREIGN KEY (business_id) REFERENCES public.business(id);

ALTER TABLE ONLY sandbox.dispute_line
    ADD CONSTRAINT dispute_line_dispute_id_fkey FOREIGN KEY (dispute_id) REFERENCES sandbox.dispute(id);

ALTER TABLE ONLY sandbox.dispute
    ADD CONSTRAINT dispute_payment_id_fkey FOREIGN KEY (payment_id) REFERENCES sandbox.session(payment_id);

ALTER TABLE ONLY sandbox.onboarding_link
    ADD CONSTRAINT onboarding_link_account_id_fkey FOREIGN KEY (account_id) REFERENCES sandbox.account(id);

ALTER TABLE ONLY sandbox.outbox
    ADD CONSTRAINT outbox_session_id_fkey FOREIGN KEY (session_id) REFERENCES sandbox.session(id);

ALTER TABLE ONLY sandbox.payout
    ADD CONSTRAINT payout_account_id_fkey FOREIGN KEY (account_id) REFERENCES sandbox.account(id);

ALTER TABLE ONLY sandbox.refund
    ADD CONSTRAINT refund_payment_id_fkey FOREIGN KEY (payment_id) REFERENCES sandbox.session(payment_id);

ALTER TABLE ONLY sandbox.transfer
    ADD CONSTRAINT transfer_account_id_fkey FOREIGN KEY (account_id) REFERENCES sandbox.account(id);

ALTER TABLE ONLY sandbox.transfer_return
    ADD CONSTRAINT transfer_return_transfer_id_fkey FOREIGN KEY (transfer_id) REFERENCES sandbox.transfer(id);

GRANT USAGE ON SCHEMA public TO earnest_app;

GRANT USAGE ON SCHEMA sandbox TO earnest_app;

GRANT SELECT,INSERT ON TABLE public.clock_move TO earnest_app;

GRANT SELECT,UPDATE ON TABLE public.business_clock TO earnest_app;

GRANT SELECT,UPDATE ON TABLE public.ledger_horizon TO earnest_app;

GRANT SELECT,INSERT ON TABLE public.booked_line TO earnest_app;

GRANT SELECT,INSERT,UPDATE ON TABLE public.chargeback TO earnest_app;

GRANT SELECT,INSERT,UPDATE ON TABLE public.contract TO earnest_app;

GRANT SELECT,INSERT ON TABLE public.contract_terms TO earnest_app;

GRANT SELECT,INSERT ON TABLE public.event TO earnest_app;

GRANT SELECT,INSERT,DELETE ON TABLE public.idempotency_key TO earnest_app;

GRANT UPDATE(reply) ON TABLE public.idempotency_key TO earnest_app;

GRANT SELECT,INSERT,UPDATE ON TABLE public.party TO earnest_app;

GRANT SELECT,INSERT,UPDATE ON TABLE public.payment TO earnest_app;

GRANT SELECT,INSERT,UPDATE ON TABLE public.payout TO earnest_app;

GRANT SELECT,INSERT ON TABLE public.provider_event TO earnest_app;

GRANT SELECT,INSERT,UPDATE ON TABLE public.refund TO earnest_app;

GRANT SELECT,INSERT ON TABLE public.transfer TO earnest_app;

REVOKE ALL ON FUNCTION public.commit_changes(parties public.party[], contracts public.contract[], terms public.contract_terms[], payments public.payment[], refunds public.refund[], payouts public.payout[], chargebacks public.chargeback[], bookings public.booked_line[], inbox public.provider_event[], events public.event[], transfers public.transfer[], replies public.idempotency_key[]) FROM PUBLIC;
GRANT ALL ON FUNCTION public.commit_changes(parties public.party[], contracts public.contract[], terms public.contract_terms[], payments public.payment[], refunds public.refund[], payouts public.payout[], chargebacks public.chargeback[], bookings public.booked_line[], inbox public.provider_event[], events public.event[], transfers public.transfer[], replies public.idempotency_key[]) TO earnest_app;

REVOKE ALL ON FUNCTION public.due_deliveries(worker uuid, endpoints uuid[], rooms integer[], in_hand uuid[]) FROM PUBLIC;
GRANT ALL ON FUNCTION public.due_deliveries(worker uuid, endpoints uuid[], rooms integer[], in_hand uuid[]) TO earnest_app;

GRANT SELECT,INSERT ON TABLE public.delivery_attempt TO earnest_app;

REVOKE ALL ON FUNCTION public.record_attempts(told public.delivery_attempt[], verdicts text[], delays integer[], bodies bytea[], failures_max integer) FROM PUBLIC;
GRANT ALL ON FUNCTION public.record_attempts(told public.delivery_attempt[], verdicts text[], delays integer[], bodies bytea[], failures_max integer) TO earnest_app;

REVOKE ALL ON FUNCTION public.take_endpoints(worker uuid, lease_seconds double precision, endpoints_max integer) FROM PUBLIC;
GRANT ALL ON FUNCTION public.take_endpoints(worker uuid, lease_seconds double precision, endpoints_max integer) TO earnest_app;

GRANT SELECT,INSERT,UPDATE ON TABLE public.alert TO earnest_app;

GRANT SELECT,INSERT,UPDATE ON TABLE public.anchor_tip TO earnest_app;

GRANT SELECT,INSERT,UPDATE ON TABLE public.api_client TO earnest_app;

GRANT SELECT,INSERT,DELETE ON TABLE public.application TO earnest_app;

GRANT SELECT,INSERT,UPDATE ON TABLE public.balance TO earnest_app;

GRANT SELECT,INSERT ON TABLE public.balance_line TO earnest_app;

GRANT SELECT,INSERT,UPDATE ON TABLE public.business TO earnest_app;

GRANT USAGE ON SEQUENCE public.business_key TO earnest_app;

GRANT SELECT,INSERT,UPDATE ON TABLE public.category TO earnest_app;

GRANT SELECT,INSERT,UPDATE ON TABLE public.client_profile TO earnest_app;

GRANT SELECT,INSERT,UPDATE ON TABLE public.job TO earnest_app;

GRANT SELECT ON TABLE public.contract_document TO earnest_app;

GRANT USAGE ON SEQUENCE public.contract_number TO earnest_app;

GRANT SELECT,INSERT,UPDATE ON TABLE public.delivery TO earnest_app;

GRANT USAGE ON SEQUENCE public.entry_key TO earnest_app;

GRANT SELECT,INSERT,UPDATE ON TABLE public.freelancer_profile TO earnest_app;

GRANT SELECT,INSERT,DELETE ON TABLE public.freelancer_skill TO earnest_app;

GRANT SELECT ON TABLE public.hold TO earnest_app;

GRANT SELECT,INSERT,UPDATE ON TABLE public.hold_watch TO earnest_app;

GRANT SELECT,INSERT,DELETE ON TABLE public.job_skill TO earnest_app;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.known_address TO earnest_app;

GRANT SELECT,INSERT,UPDATE ON TABLE public.kyc TO earnest_app;

GRANT SELECT,INSERT ON TABLE public.login TO earnest_app;

GRANT UPDATE(status) ON TABLE public.login TO earnest_app;

GRANT UPDATE(password_hash) ON TABLE public.login TO earnest_app;

GRANT UPDATE(token_generation) ON TABLE public.login TO earnest_app;

GRANT UPDATE(updated_at) ON TABLE public.login TO earnest_app;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.mail TO earnest_app;

GRANT USAGE ON SEQUENCE public.object_key TO earnest_app;

GRANT USAGE ON SEQUENCE public.partner_number TO earnest_app;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.password_reset TO earnest_app;

GRANT SELECT,INSERT,UPDATE ON TABLE public.payout_account TO earnest_app;

GRANT SELECT,INSERT,UPDATE ON TABLE public.payout_round TO earnest_app;

GRANT SELECT ON TABLE public.provider_account TO earnest_app;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.rate_limit TO earnest_app;

GRANT SELECT,INSERT,UPDATE ON TABLE public.reconciliation TO earnest_app;

GRANT SELECT,INSERT,UPDATE ON TABLE public.reconciliation_difference TO earnest_app;

GRANT SELECT,INSERT,UPDATE ON TABLE public.reconciliation_turn TO earnest_app;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.refresh_token TO earnest_app;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.registration TO earnest_app;

GRANT SELECT,INSERT ON TABLE public.review TO earnest_app;

GRANT SELECT,INSERT,UPDATE ON TABLE public.rollup TO earnest_app;

GRANT SELECT ON TABLE public.schema_migration TO earnest_app;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.session TO earnest_app;

GRANT SELECT,INSERT,DELETE ON TABLE public.signing_key TO earnest_app;

GRANT SELECT,INSERT,UPDATE ON TABLE public.skill TO earnest_app;

GRANT SELECT,INSERT,UPDATE ON TABLE public.webhook_endpoint TO earnest_app;

GRANT SELECT,INSERT,UPDATE ON TABLE sandbox.account TO earnest_app;

GRANT SELECT,INSERT,UPDATE ON TABLE sandbox.dispute TO earnest_app;

GRANT SELECT,INSERT ON TABLE sandbox.dispute_line TO earnest_app;

GRANT SELECT,INSERT,UPDATE ON TABLE sandbox.onboarding_link TO earnest_app;

GRANT SELECT,INSERT,UPDATE ON TABLE sandbox.outbox TO earnest_app;

GRANT SELECT,INSERT,UPDATE ON TABLE sandbox.payout TO earnest_app;

GRANT SELECT,INSERT ON TABLE sandbox.refund TO earnest_app;

GRANT SELECT,INSERT,UPDATE ON TABLE sandbox.session TO earnest_app;

GRANT SELECT,INSERT ON TABLE sandbox.spent_key TO earnest_app;

GRANT SELECT,INSERT ON TABLE sandbox.transfer TO earnest_app;

GRANT SELECT,INSERT ON TABLE sandbox.transfer_return TO earnest_app;
