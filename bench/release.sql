-- The yardstick: one release, written by hand for one contract in one database transaction.
--
-- It does the same to the same tables as one commit of the door (tests/test_bench.py compares
-- them row by row and column by column) with as little of anything else as possible: no arrays,
-- no check of other members, values made up on the spot, which Earnest decides in Python.

-- Entry keys from a range that no commit of the door draws from, cached per session.
CREATE SEQUENCE bench_entry INCREMENT BY 3 START WITH 1125899906842624 CACHE 1000;

CREATE FUNCTION bench_release(wanted_id bigint, seen_version integer) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    entry bigint := nextval('bench_entry');
    digest bytea := sha256(int8send(wanted_id));
    swapped contract;
    held_account bigint;
    wallet_account bigint;
    fee_minor bigint;
    this_xid bigint;
BEGIN
    UPDATE contract AS c SET
        version = seen_version + 1,
        commit_id = entry,
        updated_at = now(),
        agreement = c.agreement,
        work = c.work,
        dispute = c.dispute,
        tranches = '{released}',
        funded_at = c.funded_at,
        settled_at = now(),
        started_at = c.started_at,
        ongoing_at = c.ongoing_at,
        completed_at = c.completed_at,
        cancelled_at = c.cancelled_at,
        cancelled_by = c.cancelled_by,
        cancelled_work = c.cancelled_work,
        cancel_reason = c.cancel_reason,
        cancel_reason_description = c.cancel_reason_description,
        refund_requested_at = c.refund_requested_at,
        unclaimed = c.unclaimed,
        charged_back = c.charged_back,
        event_seq = seen_version + 1,
        event_head = digest
    WHERE c.id = wanted_id AND c.version = seen_version
    RETURNING * INTO swapped;
    IF NOT found THEN
        RAISE EXCEPTION 'contract % is not at version %', wanted_id, seen_version;
    END IF;

    INSERT INTO event (
        id, commit_id, contract_id, seq, subject, type, actor, recorded_at, body, hash
    ) VALUES (
        entry, entry, wanted_id, seen_version + 1, 'contract:' || swapped.public_id,
        'contract.released', 'admin:2', now(), '{"amount":10000,"seller":9000}', digest
    );

    INSERT INTO idempotency_key (
        scope, commit_id, principal, route, key, request_hash, status, reply, moves_money,
        is_sealed, created_at
    ) VALUES (
        digest, entry, 'admin:2', 'PUT /api/admin/escrow/release-fund/{contract_id:str}',
        'release-' || swapped.public_id, digest, 200, convert_to(repeat('x', 600), 'UTF8'), TRUE,
        FALSE, now()
    );

    fee_minor := swapped.amount_minor / 10;
    held_account := (1::bigint << 57) | (356::bigint << 47) | wanted_id;
    wallet_account := (2::bigint << 57) | (356::bigint << 47) | swapped.seller_id;
    SELECT pg_current_xact_id()::text::bigint + h.xid_offset INTO this_xid
    FROM ledger_horizon AS h;

    INSERT INTO transfer (
        id, commit_id, movement, debit, credit, amount_minor, contract_id, payment_id,
        reverses_id, occurred_at, recorded_at, xid
    ) VALUES
    (
        entry + 1, entry, 'released', held_account, wallet_account,
        swapped.amount_minor - fee_minor, wanted_id, NULL, NULL, now(), now(), this_xid
    ),
    (
        entry + 2, entry, 'released', held_account,
        (6::bigint << 57) | (356::bigint << 47) | swapped.business_id,
        fee_minor, wanted_id, NULL, NULL, now(), now(), this_xid
    );

    UPDATE balance SET amount_minor = amount_minor - swapped.amount_minor
    WHERE account = held_account;

    UPDATE balance SET amount_minor = amount_minor + swapped.amount_minor - fee_minor
    WHERE account = wallet_account;
    IF NOT found THEN
        INSERT INTO balance (account, amount_minor)
        VALUES (wallet_account, swapped.amount_minor - fee_minor)
        ON CONFLICT (account) DO UPDATE SET
        amount_minor = balance.amount_minor + excluded.amount_minor;
    END IF;
END $$;

GRANT USAGE ON SEQUENCE bench_entry TO earnest_app;
