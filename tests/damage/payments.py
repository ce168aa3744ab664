"""Damages to histories, what came in from outside, idempotency: invariants 10 to 16."""

from damage.finds import (
    A_KEY,
    APPLIED,
    CAPTURED,
    COPY_EVENT,
    COPY_TRANSFER,
    CREATED,
    OPEN_PAYMENT,
    PARKED,
    PENDING_REFUND,
    QUARANTINED,
    REQUESTED,
    STARTED,
    THIS_EVENT,
    THIS_KEY,
    Damage,
)

HISTORIES_AND_PAYMENTS = (
    # -- 10: histories
    Damage(
        "work that nobody did",
        10,
        "contract",
        STARTED,
        ("UPDATE contract SET work = 'completed' WHERE id = :row",),
    ),
    Damage(
        "an agreement that nobody gave",
        10,
        "contract",
        CREATED,
        ("UPDATE contract SET agreement = 'accepted' WHERE id = :row",),
    ),
    Damage(
        "a cancellation that was undone",
        10,
        "contract",
        PENDING_REFUND,
        ("UPDATE contract SET agreement = 'pending', tranches = '{held}' WHERE id = :row",),
    ),
    Damage(
        "a cancellation by the other party",
        10,
        "contract",
        PENDING_REFUND,
        ("UPDATE contract SET cancelled_by = 'Freelancer' WHERE id = :row",),
    ),
    Damage(
        "a dispute out of nowhere",
        10,
        "contract",
        REQUESTED,
        ("UPDATE contract SET dispute = 'open' WHERE id = :row",),
    ),
    Damage(
        "a contract to be claimed twice",
        10,
        "contract",
        CREATED,
        ("UPDATE contract SET unclaimed = TRUE WHERE id = :row",),
    ),
    Damage(
        "a completion without its moment",
        10,
        "contract",
        REQUESTED,
        ("UPDATE contract SET completed_at = NULL WHERE id = :row",),
    ),
    Damage(
        "a state that no vocabulary knows",
        10,
        "contract",
        STARTED,
        (
            "ALTER TABLE contract DROP CONSTRAINT contract_work_known",
            "UPDATE contract SET work = 'dreaming' WHERE id = :row",
        ),
    ),
    Damage(
        "a payment that expired and says failed",
        10,
        "payment",
        "SELECT min(id) FROM payment WHERE state = 'expired'",
        ("UPDATE payment SET state = 'failed' WHERE id = :row",),
    ),
    Damage(
        "a payment that was refunded and says parked",
        10,
        "payment",
        "SELECT min(id) FROM payment WHERE state = 'refunded'",
        ("UPDATE payment SET state = 'parked' WHERE id = :row",),
    ),
    # -- 12: once
    Damage(
        "an event that was consumed twice",
        12,
        "provider_event",
        APPLIED,
        (
            "ALTER TABLE provider_event DROP CONSTRAINT provider_event_once",
            "DROP INDEX provider_event_money_once",
            f"{COPY_EVENT.replace(':suffix', chr(39) * 2)} {THIS_EVENT}",
        ),
    ),
    Damage(
        "a session that paid twice",
        12,
        "provider_event",
        APPLIED.replace("format('%s %s', provider, event_id)", "event_id"),
        (
            "DROP INDEX provider_event_money_once",
            COPY_EVENT.replace(":suffix", "'z'") + "event_id = ':row'",
        ),
    ),
    Damage(
        "two payments of one session",
        12,
        "payment",
        "SELECT max(id) FROM payment",
        (
            "ALTER TABLE payment DROP CONSTRAINT payment_session_unique",
            (
                "UPDATE payment SET session_id ="
                " (SELECT session_id FROM payment ORDER BY id LIMIT 1) WHERE id = :row"
            ),
        ),
    ),
    Damage(
        "two payments of one capture",
        12,
        "payment",
        "SELECT max(id) FROM payment",
        (
            "ALTER TABLE payment DROP CONSTRAINT payment_provider_payment_unique",
            (
                "UPDATE payment SET provider_payment_id = (SELECT min(provider_payment_id)"
                " FROM payment WHERE id <> :row) WHERE id = :row"
            ),
        ),
    ),
    Damage(
        "a funded contract without its payment",
        12,
        "contract",
        STARTED,
        ("UPDATE payment SET contract_id = NULL WHERE contract_id = :row",),
    ),
    Damage(
        "a second funding",
        12,
        "contract",
        REQUESTED,
        (f"{COPY_TRANSFER} contract_id = :row AND movement = 'funded'",),
    ),
    Damage(
        "a funded contract without a funding",
        12,
        "contract",
        REQUESTED,
        ("DELETE FROM transfer WHERE contract_id = :row",),
    ),
    # -- 13: what came in
    Damage(
        "a payment that asks for more than came",
        13,
        "payment",
        CAPTURED,
        ("UPDATE payment SET amount_minor = amount_minor + 1 WHERE id = :row",),
    ),
    Damage(
        "more than the charge, asked for and brought",
        13,
        "contract",
        REQUESTED,
        (
            "UPDATE payment SET amount_minor = amount_minor + 1 WHERE contract_id = :row",
            "UPDATE transfer SET amount_minor = amount_minor + 1 WHERE contract_id = :row",
        ),
    ),
    Damage(
        "a payment at another account",
        13,
        "payment",
        CAPTURED,
        ("UPDATE payment SET provider_account_id = 2 WHERE id = :row",),
    ),
    Damage(
        "an open payment that says captured",
        13,
        "payment",
        OPEN_PAYMENT,
        ("UPDATE payment SET state = 'captured' WHERE id = :row",),
    ),
    Damage(
        "a captured payment that says open",
        13,
        "payment",
        CAPTURED,
        ("UPDATE payment SET state = 'open' WHERE id = :row",),
    ),
    Damage(
        "a payment asked for in another name",
        13,
        "payment",
        OPEN_PAYMENT,
        ("UPDATE payment SET metadata = replace(metadata, 'clientId', 'payerId') WHERE id = :row",),
    ),
    Damage(
        "a payment for another seller than the contract's",
        13,
        "payment",
        CAPTURED,
        (
            (
                "UPDATE payment SET seller_id = (SELECT id FROM party WHERE name = 'Mallet')"
                " WHERE id = :row"
            ),
        ),
    ),
    Damage(
        "quarantined money that was applied",
        13,
        "provider_event",
        QUARANTINED,
        (f"UPDATE provider_event SET outcome = 'applied' WHERE {THIS_EVENT}",),
    ),
    Damage(
        "an event that did not take its money",
        13,
        "provider_event",
        APPLIED,
        (f"UPDATE provider_event SET took_money = FALSE WHERE {THIS_EVENT}",),
    ),
    Damage(
        "money whose event is gone",
        13,
        "transfer",
        "SELECT min(id) FROM transfer WHERE debit >> 57 = 3",
        (
            (
                "DELETE FROM provider_event WHERE commit_id ="
                " (SELECT commit_id FROM transfer WHERE id = :row)"
            ),
        ),
    ),
    Damage(
        "suspense that holds what went back",
        13,
        "transfer",
        "SELECT debit FROM transfer WHERE movement = 'parked_refunded'",
        ("DELETE FROM transfer WHERE movement = 'parked_refunded'",),
    ),
    Damage(
        "suspense that misses what is parked",
        13,
        "transfer",
        f"SELECT credit FROM transfer WHERE movement = 'parked' AND payment_id = ({PARKED})",
        (
            (
                "UPDATE transfer SET amount_minor = amount_minor - 1"
                " WHERE movement = 'attached' AND debit = :row"
            ),
        ),
    ),
    Damage(
        "signed bytes that say another amount",
        13,
        "provider_event",
        APPLIED,
        (
            (
                "UPDATE provider_event SET payload = convert_to(regexp_replace(convert_from("
                "payload, 'UTF8'), '(\"amount_total\": ?)', '\\11'), 'UTF8')"
                f" WHERE {THIS_EVENT}"
            ),
        ),
    ),
    Damage(
        "signed bytes that nobody can read",
        13,
        "provider_event",
        APPLIED,
        (f"UPDATE provider_event SET payload = '\\x00' WHERE {THIS_EVENT}",),
    ),
    # -- 14
    Damage(
        "an open payment without a session",
        14,
        "payment",
        OPEN_PAYMENT,
        ("UPDATE payment SET session_id = NULL WHERE id = :row",),
    ),
    # -- 16: idempotency
    Damage(
        "a reply under another key",
        16,
        "idempotency_key",
        A_KEY,
        (f"UPDATE idempotency_key SET key = 'another' WHERE {THIS_KEY}",),
    ),
    Damage(
        "a reply of a commit that never was",
        16,
        "idempotency_key",
        A_KEY,
        (f"UPDATE idempotency_key SET commit_id = 987654321 WHERE {THIS_KEY}",),
    ),
    Damage(
        "a refusal that was kept",
        16,
        "idempotency_key",
        A_KEY,
        (f"UPDATE idempotency_key SET status = 409 WHERE {THIS_KEY}",),
    ),
    Damage(
        "a key with two records",
        16,
        "idempotency_key",
        A_KEY,
        (
            "ALTER TABLE idempotency_key DROP CONSTRAINT idempotency_key_once",
            f"INSERT INTO idempotency_key SELECT * FROM idempotency_key WHERE {THIS_KEY}",
        ),
    ),
    Damage(
        "one commit under two keys",
        16,
        "idempotency_key",
        "SELECT max(encode(scope, 'hex')) FROM idempotency_key WHERE commit_id <> 0",
        (
            (
                "UPDATE idempotency_key SET commit_id ="
                " (SELECT max(commit_id) FROM idempotency_key) WHERE commit_id <> 0"
            ),
        ),
    ),
)
