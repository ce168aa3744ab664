"""Damages to payouts and chargebacks: invariants 5, 10, 11, 12, 14, 23."""

from damage.finds import COPY_TRANSFER, Damage

DONE = "SELECT min(id) FROM payout WHERE state = 'done'"
REFUSED = "SELECT min(id) FROM payout WHERE state = 'failed' AND provider_transfer_id IS NULL"
RETURNED = "SELECT min(id) FROM payout WHERE state = 'failed' AND provider_transfer_id IS NOT NULL"
STUCK = "SELECT min(id) FROM payout WHERE state = 'stuck'"
PLANNED = "SELECT min(id) FROM payout WHERE state = 'planned' AND leg = 'transfer'"
OF_DONE = f"SELECT 'payout:' || p.public_id FROM payout AS p WHERE p.id = ({DONE})"
LEFT = f"""
SELECT min(t.id) FROM transfer AS t
INNER JOIN event AS e ON e.id = t.commit_id AND e.subject = ({OF_DONE})
WHERE t.movement = 'paid_out'
"""
LOST = """
SELECT min(id) FROM chargeback WHERE state = 'lost' AND lines LIKE '%"seller_minor":-%'
"""
WON = "SELECT min(id) FROM chargeback WHERE state = 'won'"
TAKEN = "SELECT min(id) FROM transfer WHERE movement = 'charged_back' AND debit >> 57 = 2"
BUYERS = """
SELECT min(id) FROM chargeback WHERE lines LIKE '%"buyer_minor":-%'
"""
PARKED_COVERED = "SELECT min(id) FROM transfer WHERE movement = 'parked_covered'"
GONE = "SELECT min(id) FROM payment WHERE state = 'charged_back'"
DISPUTED = """
SELECT min(p.id) FROM payment AS p INNER JOIN chargeback AS c ON c.payment_id = p.id
WHERE p.state = 'parked'
"""
COVERED = "SELECT min(id) FROM transfer WHERE movement = 'chargeback_covered'"

ASKED_BY_ANOTHER = """
UPDATE event SET actor = 'client:1' WHERE type = 'payout.requested'
AND subject = (SELECT 'payout:' || public_id FROM payout WHERE id = :row)
"""
ACCOUNT_OF_ANOTHER = """
UPDATE payout_account SET
    party_id = (SELECT min(id) FROM party WHERE business_id = 1 AND id <> party_id)
WHERE (provider_account_id, external_account) = (
    SELECT provider_account_id, external_account FROM payout WHERE id = :row
)
"""
LINES_OF_ANOTHER = f"""
UPDATE chargeback SET lines = (SELECT lines FROM chargeback WHERE id = ({WON})) WHERE id = :row
"""
TO_A_WALLET = f"""
UPDATE transfer SET credit = (2::bigint << 57) | (credit & ((1::bigint << 57) - 1))
WHERE id = ({COVERED})
"""


def _payout(name: str, invariant: int, find: str, change: str) -> Damage:
    return Damage(name, invariant, "payout", find, (f"UPDATE payout SET {change} WHERE id = :row",))


def _chargeback(name: str, invariant: int, find: str, change: str) -> Damage:
    return Damage(
        name, invariant, "chargeback", find, (f"UPDATE chargeback SET {change} WHERE id = :row",)
    )


PAYOUTS = (
    # -- 10: steps
    _payout(
        "a payout that was done and now waits",
        10,
        DONE,
        "state = 'sent', due_at = now(), paid_at = NULL",
    ),
    _payout("a stuck payout that goes on by itself", 10, STUCK, "state = 'sent', due_at = now()"),
    _payout("a payout with a step that nobody took", 10, PLANNED, "version = version + 1"),
    _payout("a payout of more than was asked for", 10, PLANNED, "amount_minor = amount_minor + 1"),
    _payout(
        "a payout of somebody else",
        10,
        PLANNED,
        "party_id = (SELECT min(id) FROM party WHERE business_id = 1 AND id <> party_id)",
    ),
    # -- 11: who asked
    Damage(
        "a payout that somebody else asked for",
        11,
        "payout",
        PLANNED,
        (ASKED_BY_ANOTHER,),
    ),
    _payout("a payout that was asked for and says scheduled", 11, PLANNED, "cause = 'scheduled'"),
    # -- 14: the money
    Damage(
        "a payout that left twice",
        14,
        "payout",
        DONE,
        (
            f"{COPY_TRANSFER} id = ({LEFT})",
            "UPDATE payout SET id = id WHERE id = :row",
        ),
    ),
    Damage(
        "a payout that did not leave",
        14,
        "payout",
        DONE,
        (
            f"DELETE FROM transfer WHERE id = ({LEFT})",
            "UPDATE payout SET id = id WHERE id = :row",
        ),
    ),
    _payout("a refused payout that says it left", 14, REFUSED, "provider_transfer_id = 'tr_none'"),
    _payout(
        "a payout that went elsewhere at the provider", 14, DONE, "provider_payout_id = 'po_none'"
    ),
    _payout(
        "a returned payout that left elsewhere", 14, RETURNED, "provider_transfer_id = 'tr_none'"
    ),
    # -- 23: whose
    Damage(
        "a payout to somebody else's account",
        23,
        "payout",
        DONE,
        (ACCOUNT_OF_ANOTHER,),
    ),
)

CHARGEBACKS = (
    _chargeback("a lost dispute that is won", 10, LOST, "state = 'won'"),
    _chargeback("a chargeback with a step that nobody took", 10, WON, "version = version + 1"),
    Damage(
        "a contract that nobody charges back any more",
        10,
        "contract",
        "SELECT p.contract_id FROM payment AS p INNER JOIN chargeback AS c ON c.payment_id = p.id"
        " WHERE c.state = 'won' ORDER BY 1 LIMIT 1",
        ("UPDATE contract SET charged_back = TRUE WHERE id = :row",),
    ),
    Damage(
        "a line of two disputes",
        12,
        "chargeback",
        LOST,
        (LINES_OF_ANOTHER,),
    ),
    _chargeback("a loss that nobody wrote down", 14, LOST, "lines = '[]'"),
    _chargeback(
        "a buyer's loss that the seller is said to bear",
        14,
        BUYERS,
        "lines = replace(replace(replace(lines, 'buyer_minor', 'x'), 'seller_minor',"
        " 'buyer_minor'), 'x', 'seller_minor')",
    ),
    Damage(
        "a buyer's loss that another buyer bears",
        14,
        "transfer",
        "SELECT min(t.id) FROM transfer AS t INNER JOIN payment AS p ON p.id = t.payment_id"
        " WHERE t.movement = 'charged_back' AND t.debit >> 57 = 2"
        " AND t.debit & ((1::bigint << 40) - 1) = p.buyer_id",
        ("UPDATE transfer SET debit = debit + 1 WHERE id = :row",),
    ),
    Damage(
        "parked money that covers somebody's wallet",
        14,
        "transfer",
        PARKED_COVERED,
        ("UPDATE transfer SET credit = credit - (9::bigint << 57) WHERE id = :row",),
    ),
    Damage(
        "a payment that a bank has, and that was given back",
        10,
        "payment",
        GONE,
        ("UPDATE payment SET state = 'refunded' WHERE id = :row",),
    ),
    Damage(
        "a disputed payment that was given back",
        10,
        "payment",
        DISPUTED,
        ("UPDATE payment SET state = 'refunded' WHERE id = :row",),
    ),
    Damage(
        "a loss that another seller bears",
        14,
        "transfer",
        TAKEN,
        ("UPDATE transfer SET debit = debit + 1 WHERE id = :row",),
    ),
    Damage(
        "a loss of another contract",
        14,
        "transfer",
        TAKEN,
        ("UPDATE transfer SET contract_id = contract_id + 1 WHERE id = :row",),
    ),
    Damage(
        "a loss that is covered by nothing",
        15,
        "contract",
        f"SELECT contract_id FROM transfer WHERE id = ({COVERED})",
        (
            TO_A_WALLET,
            "UPDATE contract SET id = id WHERE id = :row",
        ),
    ),
    _chargeback("a dispute of another currency", 23, WON, "currency = 'SAR'"),
)
