"""Damages to refunds to the source: invariants 3, 10, 11, 14, 23, 25."""

from damage.finds import COPY_TRANSFER, PARTNER, Damage, deal, refund

LAST_LEG = (
    "SELECT min(id) FROM transfer WHERE debit >> 57 = 9 AND credit >> 57 = 3"
    f" AND contract_id = ({deal('full')})"
)
APPROVED = "SELECT min(id) FROM event WHERE type = 'refund.approved'"
LAST_DONE = "SELECT max(id) FROM refund WHERE state = 'done'"
RETURNED = (
    "movement = 'refund_returned' AND commit_id = (SELECT commit_id FROM refund WHERE id ="
    f" ({refund('returned')}))"
)
OF_REFUND = "(SELECT contract_id FROM refund WHERE id = :row)"
# Under way again at once, as after the commit that began it.
BACK_TO_PLANNED = """
UPDATE refund SET state = 'planned', due_at = now(), commit_id = (
    SELECT e.commit_id FROM event AS e
    WHERE e.contract_id = refund.contract_id AND e.type LIKE 'refund.%-initiated'
)
WHERE id = :row
"""


def _refund(name: str, invariant: int, reference: str, change: str) -> Damage:
    """A change of a refund's own row."""
    do = (f"UPDATE refund SET {change} WHERE id = :row",)
    return Damage(name, invariant, "refund", refund(reference), do)


REFUNDS = (
    # -- 3: the leg that ends outside
    Damage(
        "money that left for another contract",
        3,
        "transfer",
        LAST_LEG,
        (f"UPDATE transfer SET contract_id = ({deal('planned')}) WHERE id = :row",),
    ),
    Damage(
        "money that left at another provider",
        3,
        "transfer",
        LAST_LEG,
        ("UPDATE transfer SET credit = credit + 1 WHERE id = :row",),
    ),
    # -- 10: steps
    _refund("a planned refund that says failed", 10, "planned", "state = 'failed', due_at = NULL"),
    _refund("a refund that waits no more", 10, "requested", "state = 'planned', due_at = now()"),
    Damage(
        "a failed refund that is tried again", 10, "refund", refund("failed"), (BACK_TO_PLANNED,)
    ),
    _refund("a refund that was asked for less often", 10, "tried again", "attempts = attempts - 1"),
    _refund("a refund with a step that nobody took", 10, "unknown", "version = version + 1"),
    Damage(
        "a refund that nobody approved",
        10,
        "refund",
        refund("approved by Olga"),
        (
            (
                "DELETE FROM event WHERE type = 'refund.approved' AND subject = 'refund:' ||"
                " (SELECT public_id FROM refund WHERE id = :row)"
            ),
        ),
    ),
    _refund("a returned refund that says done", 10, "returned", "state = 'done'"),
    _refund(
        "a returned refund that nobody retried",
        10,
        "returned",
        "state = 'unknown', due_at = now(), commit_id = commit_id - 1",
    ),
    _refund("a refund that came back out of the air", 10, "full", "state = 'returned'"),
    Damage(
        "a return of which nobody was told",
        10,
        "refund",
        refund("returned"),
        (
            (
                "UPDATE event SET type = 'refund.confirmed' WHERE type = 'refund.returned' AND"
                " commit_id = (SELECT commit_id FROM refund WHERE id = :row)"
            ),
        ),
    ),
    # -- 11: who decides
    Damage(
        "a refund that its partner approved",
        11,
        "event",
        APPROVED,
        ("UPDATE event SET actor = 'partner:2' WHERE id = :row",),
    ),
    Damage(
        "a refund that a client approved",
        11,
        "event",
        APPROVED,
        (
            (
                "UPDATE event SET actor = 'admin:' ||"
                " (SELECT party_id FROM login WHERE role = 'client' LIMIT 1) WHERE id = :row"
            ),
        ),
    ),
    Damage(
        "a refund that waited for nobody",
        11,
        "refund",
        refund("requested"),
        (
            (
                "UPDATE event SET body = replace(body, '\"approval\":\"admin\",', '')"
                f" WHERE contract_id = {OF_REFUND} AND type LIKE 'refund.%-initiated'"
            ),
        ),
    ),
    # -- 14: intents and outcomes
    Damage(
        "a refund of money that is not waiting for it",
        14,
        "refund",
        refund("planned"),
        (f"UPDATE contract SET tranches = '{{held,held}}' WHERE id = {OF_REFUND}",),
    ),
    Damage(
        "a refund that is done and did nothing",
        14,
        "refund",
        refund("full"),
        (f"UPDATE contract SET tranches = '{{refund_pending}}' WHERE id = {OF_REFUND}",),
    ),
    _refund(
        "a refund of a milestone that there is not",
        14,
        "delayed",
        "parts = replace(parts, '\"tranche\":0', '\"tranche\":5')",
    ),
    Damage(
        "money that waits for a refund that is gone",
        14,
        "contract",
        deal("planned"),
        ("DELETE FROM refund WHERE contract_id = :row",),
    ),
    Damage(
        "money that waits for two refunds",
        14,
        "contract",
        deal("planned"),
        (
            (
                "INSERT INTO refund SELECT (r2).* FROM refund AS r, jsonb_populate_record("
                "r, jsonb_build_object('id', r.id + 1000000)) AS r2 WHERE r.contract_id = :row"
            ),
        ),
    ),
    _refund("a refund of more than its parts", 14, "planned", "amount_minor = amount_minor + 1"),
    _refund(
        "a refund of less, parts and all",
        14,
        "delayed",
        "parts = replace(parts, '\"buyer_minor\":6000', '\"buyer_minor\":5000'),"
        " amount_minor = 5000",
    ),
    _refund("a refund for another reason", 14, "full", "reason = 'A present'"),
    _refund("a refund of another kind", 14, "full", "kind = 'late'"),
    Damage(
        "a declined refund that is gone",
        14,
        "refund",
        refund("declined"),
        ("DELETE FROM refund WHERE id = :row",),
    ),
    Damage(
        "a refund that left twice",
        14,
        "refund",
        refund("full"),
        (f"{COPY_TRANSFER} id = ({LAST_LEG})",),
    ),
    Damage(
        "a refund that never left",
        14,
        "refund",
        refund("full"),
        (f"DELETE FROM transfer WHERE id = ({LAST_LEG})",),
    ),
    Damage(
        "money that stays in transit",
        14,
        "transfer",
        f"SELECT debit FROM transfer WHERE id = ({LAST_LEG})",
        (
            (
                "UPDATE transfer SET amount_minor = amount_minor + 1 WHERE id = (SELECT min(id)"
                f" FROM transfer WHERE credit = :row AND contract_id = ({deal('full')}))"
            ),
        ),
    ),
    Damage(
        "money that came back and is nowhere",
        14,
        "refund",
        refund("returned"),
        (f"DELETE FROM transfer WHERE {RETURNED}",),
    ),
    Damage(
        "money that came back twice",
        14,
        "refund",
        refund("returned"),
        (f"{COPY_TRANSFER} {RETURNED}",),
    ),
    Damage(
        "money that came back at another provider",
        3,
        "transfer",
        "SELECT max(id) FROM transfer WHERE movement = 'refund_returned'",
        ("UPDATE transfer SET debit = debit + 1 WHERE id = :row",),
    ),
    Damage(
        "money that came back and was sent twice",
        14,
        "refund",
        refund("sent again"),
        (f"{COPY_TRANSFER} movement = 'refund_repaid'",),
    ),
    Damage(
        "money that came back for a contract that waits",
        14,
        "refund",
        refund("returned"),
        (f"UPDATE contract SET tranches = '{{refund_pending,held}}' WHERE id = {OF_REFUND}",),
    ),
    _refund("another return of the provider", 14, "returned", "provider_refund_id = 're_other'"),
    _refund("another refund of the provider", 14, "full", "provider_refund_id = 're_other'"),
    _refund("a refund that the provider did early", 14, "sent", "provider_refund_id = 're_other'"),
    Damage(
        "two refunds by one of the provider",
        14,
        "refund",
        LAST_DONE,
        (
            "ALTER TABLE refund DROP CONSTRAINT refund_provider_refund_unique",
            (
                "UPDATE refund SET provider_refund_id = (SELECT provider_refund_id FROM refund"
                f" WHERE id = ({refund('full')})) WHERE id = :row"
            ),
        ),
    ),
    # -- 23: businesses
    Damage(
        "a refund in another business",
        23,
        "refund",
        refund("planned"),
        (PARTNER, "UPDATE refund SET business_id = 99 WHERE id = :row"),
    ),
    Damage(
        "a refund of another contract's payment",
        23,
        "refund",
        refund("planned"),
        (
            (
                "UPDATE refund SET payment_id = (SELECT min(id) FROM payment"
                f" WHERE contract_id = ({deal('paid')})) WHERE id = :row"
            ),
        ),
    ),
    _refund("a refund in another currency", 23, "planned", "currency = 'KWD'"),
    # -- 25: ids
    Damage(
        "a refund under another row's id",
        25,
        "objects",
        f"SELECT format('refund %s', ({refund('planned')}))",
        (
            (
                "UPDATE refund SET public_id = overlay(public_id PLACING 'ffffffffff' FROM 9)"
                f" WHERE id = ({refund('planned')})"
            ),
        ),
    ),
)
