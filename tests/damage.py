"""One way after another to break the books, for the proof that `earnest verify` can fail.

A **damage** is what somebody with the superuser's password does: `find` selects the row that
must be named afterwards, `do` are the statements, with that row in place of `:row`. Triggers
and foreign keys are off for them; checks and unique indexes they drop themselves.
"""

import msgspec


class Damage(msgspec.Struct, frozen=True):
    """`invariant` must be found broken, at `row` (what `find` says) of `table`."""

    name: str
    invariant: int
    table: str
    find: str
    do: tuple[str, ...]


def _contract(tranche: str, agreement: str = "accepted") -> str:
    return (
        f"SELECT min(id) FROM contract WHERE tranches = '{{{tranche}}}'"
        f" AND agreement = '{agreement}'"
    )


CREATED = _contract("unfunded", "pending")
STARTED = "SELECT min(id) FROM contract WHERE tranches = '{held}' AND work = 'started'"
REQUESTED = _contract("release_requested")
RELEASED = _contract("released")
PENDING_REFUND = _contract("refund_pending", "cancelled")
REFUNDED = _contract("refunded", "cancelled")
A_WALLET = "SELECT max(account) FROM balance WHERE account >> 57 = 2 AND amount_minor > 0"
OPEN_PAYMENT = "SELECT min(id) FROM payment WHERE state = 'open'"
CAPTURED = "SELECT min(id) FROM payment WHERE state = 'captured'"
PARKED = "SELECT min(id) FROM payment WHERE state = 'parked'"
APPLIED = """
SELECT min(format('%s %s', provider, event_id)) FROM provider_event
WHERE took_money AND outcome = 'applied'
"""
QUARANTINED = """
SELECT min(format('%s %s', provider, event_id)) FROM provider_event WHERE outcome = 'quarantined'
"""
THIS_EVENT = "format('%s %s', provider, event_id) = ':row'"
RELEASE_OUT = "SELECT min(id) FROM transfer WHERE movement = 'released'"
HELD_RELEASED = "SELECT debit FROM transfer WHERE movement = 'released' ORDER BY id LIMIT 1"
SECOND_EVENT = f"SELECT id FROM event WHERE contract_id = ({RELEASED}) AND seq = 2"
A_KEY = "SELECT min(encode(scope, 'hex')) FROM idempotency_key WHERE commit_id <> 0"
THIS_KEY = "encode(scope, 'hex') = ':row'"
RIYALS = "(:account & ~(1023::bigint << 47)) | (682::bigint << 47)"
COPY_TRANSFER = """
INSERT INTO transfer (
    id, commit_id, movement, debit, credit, amount_minor, contract_id, payment_id, occurred_at,
    recorded_at, xid
)
SELECT id + 1000000000, commit_id, movement, debit, credit, amount_minor, contract_id,
    payment_id, occurred_at, recorded_at, xid
FROM transfer WHERE """
COPY_EVENT = """
INSERT INTO provider_event (
    provider, event_id, commit_id, type, session_id, outcome, reason, took_money, payload,
    received_at
)
SELECT provider, event_id || :suffix, commit_id, type, session_id, outcome, reason, took_money,
    payload, received_at
FROM provider_event WHERE """
PARTNER = "INSERT INTO business (id, name, currency, settings) VALUES (2, 'Partner', 'INR', '{}')"

DAMAGES = (
    # -- 1: transfers
    Damage(
        "a transfer of nothing",
        1,
        "transfer",
        RELEASE_OUT,
        (
            "ALTER TABLE transfer DROP CONSTRAINT transfer_amount_positive",
            "UPDATE transfer SET amount_minor = 0 WHERE id = :row",
        ),
    ),
    Damage(
        "a transfer from an account to itself",
        1,
        "transfer",
        RELEASE_OUT,
        (
            "ALTER TABLE transfer DROP CONSTRAINT transfer_two_accounts",
            "UPDATE transfer SET credit = debit WHERE id = :row",
        ),
    ),
    Damage(
        "a transfer from rupees to riyals",
        1,
        "transfer",
        RELEASE_OUT,
        (
            "ALTER TABLE transfer DROP CONSTRAINT transfer_one_currency",
            f"UPDATE transfer SET credit = {RIYALS.replace(':account', 'credit')} WHERE id = :row",
        ),
    ),
    # -- 2: balances and rollups
    Damage(
        "a wallet that is off by one",
        2,
        "balance",
        A_WALLET,
        ("UPDATE balance SET amount_minor = amount_minor + 1 WHERE account = :row",),
    ),
    Damage(
        "a balance that is gone",
        2,
        "balance",
        A_WALLET,
        ("DELETE FROM balance WHERE account = :row",),
    ),
    Damage(
        "a transfer with another amount",
        2,
        "balance",
        HELD_RELEASED,
        (
            (
                "UPDATE transfer SET amount_minor = amount_minor + 1"
                " WHERE id = (SELECT min(id) FROM transfer WHERE debit = :row)"
            ),
        ),
    ),
    Damage(
        "a transfer that is gone",
        2,
        "balance",
        HELD_RELEASED,
        ("DELETE FROM transfer WHERE id = (SELECT min(id) FROM transfer WHERE debit = :row)",),
    ),
    Damage(
        "a rollup that is off by one",
        2,
        "rollup",
        "SELECT max(account) FROM rollup",
        ("UPDATE rollup SET credits_minor = credits_minor + 1 WHERE account = :row",),
    ),
    Damage(
        "a rollup that is gone",
        2,
        "rollup",
        "SELECT min(account) FROM rollup",
        ("DELETE FROM rollup WHERE account = :row",),
    ),
    Damage(
        "a transfer that the rollup missed",
        2,
        "rollup",
        "SELECT max(t.debit) FROM transfer AS t, ledger_horizon AS h"
        " WHERE t.debit >> 57 = 3 AND t.xid >= h.horizon_xid",
        (
            (
                "UPDATE transfer SET xid = 1 WHERE id = (SELECT max(t.id)"
                " FROM transfer AS t, ledger_horizon AS h"
                " WHERE t.debit = :row AND t.xid >= h.horizon_xid)"
            ),
        ),
    ),
    Damage(
        "a horizon above transactions that may still commit",
        2,
        "ledger_horizon",
        "SELECT 't'::boolean::text",
        (
            (
                "UPDATE transfer SET xid = 9000000000 WHERE xid >= (SELECT horizon_xid FROM"
                " ledger_horizon)"
            ),
            "UPDATE ledger_horizon SET horizon_xid = 8999999999",
        ),
    ),
    # -- 3: the proof of a contract
    Damage(
        "a seller's money in a stranger's wallet, balances to match",
        3,
        "contract",
        RELEASED,
        (
            (
                "INSERT INTO balance (account, amount_minor)"
                " SELECT credit + 1000, amount_minor FROM transfer"
                " WHERE contract_id = :row AND movement = 'released' AND credit >> 57 = 2"
            ),
            (
                "UPDATE balance AS b SET amount_minor = b.amount_minor - t.amount_minor"
                " FROM transfer AS t WHERE t.contract_id = :row AND t.movement = 'released'"
                " AND t.credit >> 57 = 2 AND b.account = t.credit"
            ),
            (
                "UPDATE transfer SET credit = credit + 1000"
                " WHERE contract_id = :row AND movement = 'released' AND credit >> 57 = 2"
            ),
        ),
    ),
    Damage(
        "a transfer that names another contract",
        3,
        "transfer",
        RELEASE_OUT,
        (f"UPDATE transfer SET contract_id = ({CREATED}) WHERE id = :row",),
    ),
    Damage(
        "a transfer between others that names a contract",
        3,
        "transfer",
        "SELECT min(id) FROM transfer WHERE movement = 'parked'",
        (f"UPDATE transfer SET contract_id = ({CREATED}) WHERE id = :row",),
    ),
    # -- 4: held and state
    Damage(
        "held money whose tranche says released",
        4,
        "contract",
        REQUESTED,
        ("UPDATE contract SET tranches = '{released}' WHERE id = :row",),
    ),
    Damage(
        "a tranche that says held and holds nothing",
        4,
        "contract",
        RELEASED,
        ("UPDATE contract SET tranches = '{held}' WHERE id = :row",),
    ),
    Damage(
        "held money without a contract",
        4,
        "contract",
        "SELECT 999999",
        (
            (
                "INSERT INTO balance (account, amount_minor)"
                " VALUES ((1::bigint << 57) | (356::bigint << 47) | 999999, 5)"
            ),
        ),
    ),
    # -- 5: floors
    Damage(
        "a wallet below zero",
        5,
        "balance",
        A_WALLET,
        (
            "ALTER TABLE balance DROP CONSTRAINT balance_floor",
            "UPDATE balance SET amount_minor = -1 WHERE account = :row",
        ),
    ),
    # -- 6: accounts and currencies
    Damage(
        "a wallet in riyals",
        6,
        "transfer",
        f"SELECT {RIYALS.replace(':account', 'max(account)')} FROM balance WHERE account >> 57 = 2",
        (f"UPDATE balance SET account = :row WHERE account = ({A_WALLET})",),
    ),
    Damage(
        "a wallet of nobody",
        6,
        "transfer",
        "SELECT max(account) + 77777 FROM balance",
        ("INSERT INTO balance (account, amount_minor) VALUES (:row, 1)",),
    ),
    Damage(
        "an account of no known kind",
        6,
        "transfer",
        "SELECT (13::bigint << 57) | (356::bigint << 47) | 1",
        ("INSERT INTO rollup (account, debits_minor, credits_minor) VALUES (:row, 0, 0)",),
    ),
    Damage(
        "an account of no known currency",
        6,
        "transfer",
        "SELECT (12::bigint << 57) | (1::bigint << 47) | 1",
        ("INSERT INTO rollup (account, debits_minor, credits_minor) VALUES (:row, 0, 0)",),
    ),
    Damage(
        "a held account of a tranche that there is not",
        6,
        "transfer",
        f"SELECT (1::bigint << 57) | (356::bigint << 47) | (5::bigint << 40) | ({CREATED})",
        ("INSERT INTO balance (account, amount_minor) VALUES (:row, 0)",),
    ),
    Damage(
        "a contract in another currency",
        6,
        "contract",
        CREATED,
        ("UPDATE contract SET currency = 'SAR' WHERE id = :row",),
    ),
    Damage(
        "a payment in another currency",
        6,
        "payment",
        OPEN_PAYMENT,
        ("UPDATE payment SET currency = 'SAR' WHERE id = :row",),
    ),
    # -- 7, 8: splits and quotes
    Damage(
        "a refund with a paisa more for the buyer",
        7,
        "contract",
        REFUNDED,
        (
            (
                "UPDATE transfer SET amount_minor = amount_minor"
                " + CASE WHEN credit >> 57 = 2 THEN 1 ELSE -1 END"
                " WHERE contract_id = :row AND movement = 'refunded'"
            ),
        ),
    ),
    Damage(
        "a contract that was cancelled at another point",
        7,
        "contract",
        REFUNDED,
        ("UPDATE contract SET cancelled_work = 'ongoing' WHERE id = :row",),
    ),
    Damage(
        "terms with another cancellation policy",
        7,
        "contract",
        CREATED,
        (
            (
                "UPDATE contract_terms SET terms = replace(terms, '1500', '1600')"
                " WHERE contract_id = :row"
            ),
        ),
    ),
    Damage(
        "a release with a paisa less of fee",
        8,
        "contract",
        RELEASED,
        (
            (
                "UPDATE transfer SET amount_minor = amount_minor"
                " + CASE WHEN credit >> 57 = 2 THEN 1 ELSE -1 END"
                " WHERE contract_id = :row AND movement = 'released'"
            ),
        ),
    ),
    Damage(
        "terms with another fee",
        8,
        "contract",
        CREATED,
        (
            (
                "UPDATE contract_terms SET terms = replace(terms, '\"amount_minor\":1000',"
                " '\"amount_minor\":999') WHERE contract_id = :row"
            ),
        ),
    ),
    Damage(
        "a contract of another amount than its terms",
        8,
        "contract",
        CREATED,
        ("UPDATE contract SET amount_minor = amount_minor + 1 WHERE id = :row",),
    ),
    # -- 9, 15: settled once
    Damage(
        "a release that was paid twice",
        9,
        "transfer",
        HELD_RELEASED,
        (f"{COPY_TRANSFER} debit = :row",),
    ),
    Damage(
        "a release in two commits",
        15,
        "transfer",
        HELD_RELEASED,
        (
            (
                "UPDATE transfer SET commit_id = commit_id + 1"
                " WHERE id = (SELECT min(id) FROM transfer WHERE debit = :row)"
            ),
        ),
    ),
    Damage(
        "money that left a contract which still holds it",
        15,
        "contract",
        REQUESTED,
        (
            (
                "INSERT INTO transfer (id, commit_id, movement, debit, credit, amount_minor,"
                " contract_id, occurred_at, recorded_at, xid)"
                " SELECT id + 1000000000, commit_id, 'refunded', credit,"
                f" ({A_WALLET}), 1, contract_id, occurred_at, recorded_at, xid"
                " FROM transfer WHERE contract_id = :row"
            ),
        ),
    ),
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
    # -- 17: what commits tell
    Damage(
        "a release that no event tells of",
        17,
        "transfer",
        RELEASE_OUT,
        ("UPDATE event SET type = 'contract.admired' WHERE type = 'contract.released'",),
    ),
    Damage(
        "an event of a release that never was",
        17,
        "event",
        "SELECT min(id) FROM event WHERE type = 'contract.released'",
        ("DELETE FROM transfer WHERE commit_id = (SELECT commit_id FROM event WHERE id = :row)",),
    ),
    Damage(
        "a consumed event that nothing tells of",
        17,
        "provider_event",
        "SELECT min(format('%s %s', provider, event_id)) FROM provider_event"
        " WHERE outcome = 'ignored'",
        (
            (
                "DELETE FROM event WHERE id ="
                f" (SELECT commit_id FROM provider_event WHERE {THIS_EVENT})"
            ),
        ),
    ),
    # -- 19: chains
    Damage(
        "an event with another body",
        19,
        "event",
        SECOND_EVENT,
        ("UPDATE event SET body = replace(body, '99.99', '99.98') WHERE id = :row",),
    ),
    Damage(
        "an event by somebody else",
        19,
        "event",
        SECOND_EVENT,
        ("UPDATE event SET actor = 'admin:1' WHERE id = :row",),
    ),
    Damage(
        "an event of another time",
        19,
        "event",
        SECOND_EVENT,
        ("UPDATE event SET recorded_at = recorded_at + interval '1 us' WHERE id = :row",),
    ),
    Damage(
        "an event that is gone",
        19,
        "event",
        f"SELECT id FROM event WHERE contract_id = ({RELEASED}) AND seq = 4",
        (f"DELETE FROM event WHERE contract_id = ({RELEASED}) AND seq = 3",),
    ),
    Damage(
        "a last event that is gone",
        19,
        "contract",
        RELEASED,
        (
            (
                "DELETE FROM event WHERE contract_id = :row"
                " AND seq = (SELECT event_seq FROM contract WHERE id = :row)"
            ),
        ),
    ),
    Damage(
        "a chain in another order",
        19,
        "event",
        f"SELECT id FROM event WHERE contract_id = ({RELEASED}) AND seq = 4",
        (
            "DROP INDEX event_chain",
            f"UPDATE event SET seq = 7 - seq WHERE contract_id = ({RELEASED}) AND seq IN (3, 4)",
        ),
    ),
    Damage(
        "another head",
        19,
        "contract",
        RELEASED,
        ("UPDATE contract SET event_head = sha256('x') WHERE id = :row",),
    ),
    Damage(
        "terms with another title",
        19,
        "contract",
        CREATED,
        (
            (
                "UPDATE contract_terms SET terms = replace(terms, 'bakery', 'castle')"
                " WHERE contract_id = :row"
            ),
        ),
    ),
    Damage(
        "terms that are gone",
        19,
        "contract",
        CREATED,
        ("DELETE FROM contract_terms WHERE contract_id = :row",),
    ),
    Damage(
        "another seller",
        19,
        "contract",
        CREATED,
        (
            (
                "UPDATE contract SET seller_id = (SELECT id FROM party WHERE name = 'Mallet')"
                " WHERE id = :row"
            ),
        ),
    ),
    Damage(
        "a change without an event",
        19,
        "contract",
        CREATED,
        ("UPDATE contract SET version = version + 1 WHERE id = :row",),
    ),
    Damage(
        "an event of a contract that is gone",
        19,
        "event",
        f"SELECT min(id) FROM event WHERE contract_id = ({CREATED})",
        (f"DELETE FROM contract WHERE id = ({CREATED})",),
    ),
    # -- 21: nobody can rewrite the books
    Damage(
        "a privilege to rewrite transfers",
        21,
        "pg_class",
        "SELECT 'transfer'",
        ("GRANT UPDATE ON transfer TO earnest_app",),
    ),
    Damage(
        "a privilege to rewrite one column of events",
        21,
        "pg_class",
        "SELECT 'event'",
        ("GRANT UPDATE (body) ON event TO earnest_app",),
    ),
    Damage(
        "a privilege to delete that everybody has",
        21,
        "pg_class",
        "SELECT 'provider_event'",
        ("GRANT DELETE ON provider_event TO PUBLIC",),
    ),
    Damage(
        "a privilege to delete balances",
        21,
        "pg_class",
        "SELECT 'balance'",
        ("GRANT DELETE ON balance TO earnest_app",),
    ),
    Damage(
        "a trigger that is gone",
        21,
        "pg_trigger",
        "SELECT 'contract_terms'",
        ("DROP TRIGGER contract_terms_append_only ON contract_terms",),
    ),
    Damage(
        "a trigger that is off",
        21,
        "pg_trigger",
        "SELECT 'event'",
        ("ALTER TABLE event DISABLE TRIGGER event_append_only",),
    ),
    Damage(
        "a trigger that lets through",
        21,
        "pg_trigger",
        "SELECT 'contract_terms'",
        (
            (
                "CREATE OR REPLACE FUNCTION refuse_rewrite() RETURNS trigger LANGUAGE plpgsql"
                " AS 'BEGIN RETURN NULL; END'"
            ),
        ),
    ),
    Damage(
        "a table of the application's own",
        21,
        "pg_roles",
        "SELECT 'earnest_app'",
        ("ALTER TABLE job OWNER TO earnest_app",),
    ),
    Damage(
        "a transfer that was reversed twice",
        21,
        "transfer",
        "SELECT 2000000000",
        (
            (
                "INSERT INTO transfer (id, commit_id, movement, debit, credit, amount_minor,"
                " reverses_id, occurred_at, recorded_at, xid)"
                " SELECT 1999999999 + n, t.commit_id, 'reversed', t.credit, t.debit,"
                " t.amount_minor, t.id, t.occurred_at, t.recorded_at, t.xid"
                f" FROM transfer AS t, generate_series(0, 1) AS n WHERE t.id = ({RELEASE_OUT})"
            ),
        ),
    ),
    Damage(
        "a reversal that is no mirror",
        21,
        "transfer",
        RELEASE_OUT,
        ("UPDATE transfer SET reverses_id = (SELECT max(id) FROM transfer) WHERE id = :row",),
    ),
    # -- 23: businesses
    Damage(
        "a contract in another business",
        23,
        "contract",
        CREATED,
        (PARTNER, "UPDATE contract SET business_id = 2 WHERE id = :row"),
    ),
    Damage(
        "a payment in another business",
        23,
        "payment",
        OPEN_PAYMENT,
        (PARTNER, "UPDATE payment SET business_id = 2 WHERE id = :row"),
    ),
    Damage(
        "a job in another business",
        23,
        "job",
        "SELECT min(id) FROM job WHERE NOT EXISTS"
        " (SELECT FROM contract WHERE job_id = job.id)"
        " AND NOT EXISTS (SELECT FROM payment WHERE job_id = job.id)",
        (PARTNER, "UPDATE job SET business_id = 2 WHERE id = :row"),
    ),
    Damage(
        "an application from another business",
        23,
        "application",
        "SELECT min(id) FROM application WHERE freelancer_id ="
        " (SELECT id FROM party WHERE name = 'Mallet')",
        (PARTNER, "UPDATE party SET business_id = 2 WHERE name = 'Mallet'"),
    ),
    # -- 24: the trial balance
    Damage(
        "money out of nowhere",
        24,
        "balance",
        "SELECT 356",
        (f"UPDATE balance SET amount_minor = amount_minor + 1 WHERE account = ({A_WALLET})",),
    ),
    # -- 25: ids
    Damage(
        "a public id of another row",
        25,
        "objects",
        f"SELECT format('contract %s', ({CREATED}))",
        (
            (
                f"UPDATE contract SET public_id = overlay(public_id PLACING 'ffffffffff' FROM 9)"
                f" WHERE id = ({CREATED})"
            ),
        ),
    ),
    Damage(
        "a public id in capitals",
        25,
        "objects",
        "SELECT format('party %s', id) FROM party WHERE name = 'Bob'",
        ("UPDATE party SET public_id = 'F' || substr(public_id, 2) WHERE name = 'Bob'",),
    ),
    Damage(
        "two objects with one key",
        25,
        "objects",
        CREATED,
        (
            (
                "INSERT INTO skill (id, public_id, name)"
                " SELECT id, public_id, 'Forgery' FROM contract WHERE id = :row"
            ),
        ),
    ),
    Damage(
        "an event and a transfer with one key",
        25,
        "event",
        "SELECT max(id) FROM event",
        ("UPDATE transfer SET id = :row WHERE id = (SELECT max(id) FROM transfer)",),
    ),
    Damage(
        "a number that is used twice",
        25,
        "contract",
        "SELECT max(id) FROM contract",
        (
            "ALTER TABLE contract DROP CONSTRAINT contract_number_unique",
            (
                f"UPDATE contract SET number = (SELECT number FROM contract WHERE id = ({CREATED}))"
                " WHERE id = :row"
            ),
        ),
    ),
    Damage(
        "a number that is none",
        25,
        "contract",
        CREATED,
        ("UPDATE contract SET number = 'CON01234567' WHERE id = :row",),
    ),
    Damage(
        "two live contracts of one job",
        25,
        "contract",
        REQUESTED,
        (
            "DROP INDEX contract_one_live_per_job",
            (
                f"UPDATE contract SET job_id = (SELECT job_id FROM contract WHERE id = ({CREATED}))"
                " WHERE id = :row"
            ),
        ),
    ),
    Damage(
        "two payments under way for one job",
        25,
        "payment",
        "SELECT max(id) FROM payment WHERE state <> 'open'",
        (
            "DROP INDEX payment_one_open_per_job",
            (
                "UPDATE payment SET state = 'processing', job_id = (SELECT job_id FROM payment"
                f" WHERE id = ({OPEN_PAYMENT})) WHERE id = :row"
            ),
        ),
    ),
    # -- 26: accounts
    Damage(
        "an address with two accounts",
        26,
        "login",
        "SELECT id FROM party WHERE name = 'Mallory'",
        (
            "ALTER TABLE login DROP CONSTRAINT login_email_unique",
            "UPDATE login SET email_canonical = 'alice@example.com' WHERE party_id = :row",
        ),
    ),
    Damage(
        "an account under another address",
        26,
        "login",
        "SELECT id FROM party WHERE name = 'Olga'",
        ("UPDATE login SET email_canonical = 'mallory@example.net' WHERE party_id = :row",),
    ),
    Damage(
        "a seller who became an administrator",
        26,
        "login",
        "SELECT id FROM party WHERE name = 'Bob'",
        ("UPDATE login SET role = 'admin' WHERE party_id = :row",),
    ),
)
