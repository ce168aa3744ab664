-- The types of event that partners hear of (partner spec 6.2); all others are ours.
CREATE FUNCTION is_public_event(type text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN type IN (
    'contract.created', 'contract.approved', 'contract.rejected', 'contract.cancelled',
    'contract.delivered', 'contract.received', 'contract.released', 'contract.disputed',
    'contract.refunded', 'contract.completed', 'payment.completed', 'refund.full-initiated',
    'refund.full-succeeded', 'refund.partial-initiated', 'refund.partial-succeeded'
);

-- The one door: everything that a batch of changes wants written, or nothing of it.
--
-- A member of the batch is known by its commit_id. It is carried out when the rows it changes
-- still have the version that its decision saw (the new version less one), its idempotency key
-- is unused and its provider event was not consumed; else it is left out, whole, and its caller
-- loads and decides again. Rows come in key order and are joined by nested loops only, so that
-- concurrent batches lock in the same order. Balances change by one sum per account. Whatever
-- cannot be right (a floor, a second live contract, a row that moved between two statements)
-- raises, which undoes the whole batch; the caller then tries each member alone.
--
-- Plans are made once per connection, maybe when a table had three rows. So each table is named
-- with the keys wanted from it (`= ANY`) or looked up one by one (a subquery that yields a
-- value): both can only be index probes. A plain join might walk the whole table, for ever.
--
-- Returns the commit ids that were left out.
CREATE FUNCTION commit_changes(
    parties party [],
    contracts contract [],
    terms contract_terms [],
    payments payment [],
    refunds refund [],
    payouts payout [],
    chargebacks chargeback [],
    bookings booked_line [],
    inbox provider_event [],
    events event [],
    transfers transfer [],
    replies idempotency_key []
) RETURNS bigint []
LANGUAGE plpgsql
SET enable_hashjoin = off
SET enable_mergejoin = off
SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan
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

REVOKE EXECUTE ON FUNCTION commit_changes FROM PUBLIC;
GRANT EXECUTE ON FUNCTION commit_changes TO earnest_app;
