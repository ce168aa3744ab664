"""Damages to transfers, balances, proofs, splits: invariants 1 to 9 and 15."""

from damage.finds import (
    A_WALLET,
    COPY_TRANSFER,
    CREATED,
    HELD_RELEASED,
    IN_RUPEES,
    OPEN_PAYMENT,
    REFUNDED,
    RELEASE_OUT,
    RELEASED,
    REQUESTED,
    RIYALS,
    Damage,
)

LEDGER = (
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
        f"SELECT {RIYALS.replace(':account', 'max(account)')} FROM balance WHERE {IN_RUPEES}",
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
        "SELECT (14::bigint << 57) | (356::bigint << 47) | 1",
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
)
