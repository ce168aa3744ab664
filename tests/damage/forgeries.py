"""What a forger makes of the chains of partners' contracts: steps that the table does not allow."""

import msgspec

PARTNER_99 = "UPDATE event SET actor = 'partner:99' WHERE contract_id = :row AND type = "
ITS_PARTNER = (
    "UPDATE event SET actor = 'partner:' || (SELECT business_id FROM contract WHERE id = :row)"
    " WHERE contract_id = :row AND type = "
)
BY_OLGA = "UPDATE event SET actor = 'admin:1' WHERE contract_id = :row AND type = "
BY_SYSTEM = "UPDATE event SET actor = 'system:0' WHERE contract_id = :row AND type = "
DROPPED = "DELETE FROM event WHERE contract_id = :row AND type = "
CALLED = "UPDATE event SET type = '{}' WHERE contract_id = :row AND type = '{}'"
SAID = "UPDATE event SET body = replace(body, '{}', '{}') WHERE contract_id = :row AND type = '{}'"
FULL, PARTIAL = "'refund.full-initiated'", "'refund.partial-initiated'"
DELIVERED = CALLED.format("{}", "contract.delivered")
OTHER_MILESTONE = """
UPDATE event SET body = replace(body, a.terms #>> '{milestones,0,id}',
    a.terms #>> '{milestones,1,id}')
FROM (SELECT t.terms::jsonb AS terms FROM contract_terms AS t WHERE t.contract_id = :row) AS a
WHERE contract_id = :row AND type = """


class Forgery(msgspec.Struct, frozen=True):
    """`do` to the contract under `reference`, hashes made right; what the walk must then find."""

    name: str
    reference: str
    do: tuple[str, ...]
    invariant: int
    expected: str
    found: str


FORGERIES = (
    Forgery(
        "a contract made by another partner",
        "pending",
        (f"{PARTNER_99}'contract.created'",),
        10,
        "a creation by the partner",
        "partner:99",
    ),
    Forgery(
        "a release by another partner",
        "released",
        (f"{PARTNER_99}'contract.released'",),
        11,
        "a step of release",
        "contract.released by partner:99: This contract is not yours.",
    ),
    Forgery(
        "a release during a dispute",
        "released",
        (DELIVERED.format("contract.disputed"),),
        11,
        "a step of release",
        "This contract is in dispute.",
    ),
    Forgery(
        "a release of what is being refunded",
        "partial and full",
        (
            SAID.format('"seller"', '"tranches":[0],"seller"', "refund.full-initiated"),
            CALLED.format("contract.released", "refund.full-initiated"),
        ),
        11,
        "a step of release",
        "A refund is pending for this contract.",
    ),
    Forgery(
        "a refund of what was released",
        "released and partial",
        (SAID.format('"tranche":0', '"tranche":1', "refund.partial-initiated"),),
        11,
        "a step of refund",
        "Funds have already been released",
    ),
    Forgery(
        "a refund by another partner",
        "full",
        (f"{PARTNER_99}{FULL}",),
        11,
        "a step of refund",
        "This contract is not yours.",
    ),
    Forgery(
        "a refund that nobody began",
        "full",
        (f"{DROPPED}{FULL}",),
        10,
        "tranche 0 refund_pending",
        "held",
    ),
    Forgery(
        "a refund that a partner called done",
        "full",
        (f"{ITS_PARTNER}'refund.full-succeeded'",),
        10,
        "a step that system may take here",
        "refund.full-succeeded by partner:",
    ),
    Forgery(
        "a refund that an admin settled",
        "full",
        (f"{BY_OLGA}'contract.refunded'",),
        10,
        "a step that system may take here",
        "contract.refunded by admin:1",
    ),
    Forgery(
        "a refund of no tranche",
        "full",
        (SAID.format('"parts":[', '"parts":[],"pieces":[', "refund.full-succeeded"),),
        10,
        "a step that system may take here",
        "refund.full-succeeded",
    ),
    Forgery(
        "a decline by the partner",
        "declined",
        (f"{ITS_PARTNER}'refund.declined'",),
        10,
        "a step that admin may take here",
        "refund.declined by partner:",
    ),
    Forgery(
        "a decline of what nobody asked for",
        "declined",
        (f"{DROPPED}{FULL}",),
        10,
        "tranche 0 refund_pending",
        "held",
    ),
    Forgery(
        "a cancellation's refund out of the air",
        "cancelled paid",
        (f"{BY_SYSTEM}{FULL}",),
        10,
        "a step that partner may take here",
        "refund.full-initiated by system:0",
    ),
    Forgery(
        "late money that its partner sent back",
        "late money",
        (f"{ITS_PARTNER}{FULL}",),
        10,
        "a step that system may take here",
        "refund.full-initiated by partner:",
    ),
    Forgery(
        "late money that was in time",
        "late money",
        (f"{DROPPED}'contract.cancelled'",),
        10,
        "tranche 0 refund_pending",
        "held",
    ),
    Forgery(
        "a completion before the money is settled",
        "received when delivered",
        (f"{DROPPED}'contract.released'",),
        10,
        "tranche 0 refunded or released or split",
        "held",
    ),
    Forgery(
        "a rejection of what was paid for",
        "approved",
        (CALLED.format("contract.rejected", "contract.approved"),),
        10,
        "a step of reject",
        "contract.rejected by partner:",
    ),
    Forgery(
        "a delivery before the money",
        "delivered",
        (f"{DROPPED}'payment.completed'",),
        10,
        "a step of deliver",
        "The contract has to be paid for first.",
    ),
    Forgery(
        "a receipt before the money",
        "received when delivered",
        (f"{DROPPED}'payment.completed'", f"{DROPPED}'contract.delivered'"),
        10,
        "a step of receive",
        "The contract has to be paid for first.",
    ),
    Forgery(
        "a cancellation of what was received",
        "cancelled delivered",
        (DELIVERED.format("contract.received"),),
        10,
        "a step of cancel",
        "contract.cancelled by partner:",
    ),
    Forgery(
        "a resolution of no dispute",
        "resolved",
        (CALLED.format("contract.received", "contract.disputed"),),
        10,
        "a step of resolve dispute",
        "dispute.resolved by partner:",
    ),
    Forgery(
        "a bank that failed when the money was there",
        "released",
        (
            DELIVERED.format("payment.failed"),
            f"{BY_SYSTEM}'payment.failed'",
        ),
        10,
        "a step of fund",
        "payment.failed by system:0",
    ),
    Forgery(
        "a bank at work for a stranger",
        "waiting for the bank",
        (f"{PARTNER_99}'payment.processing'",),
        10,
        "a step of fund",
        "Unauthorized Access",
    ),
    Forgery(
        "a release of which partners heard another amount",
        "released",
        (SAID.format('"amount":1000', '"amount":1001', "contract.released"),),
        11,
        "amount 1000",
        "1001",
    ),
    Forgery(
        "a release of which partners heard no amount",
        "released",
        (SAID.format('"seller":', '"vendor":', "contract.released"),),
        11,
        "seller 1000",
        "nothing",
    ),
    Forgery(
        "a refund of which partners heard another amount",
        "full",
        (SAID.format('"amount":1000', '"amount":999', "refund.full-initiated"),),
        11,
        "amount 1000",
        "999",
    ),
    Forgery(
        "a refund under another milestone's name",
        "partial and full",
        (f"{OTHER_MILESTONE}{PARTIAL}",),
        11,
        "milestone ",
        "",
    ),
    Forgery(
        "a last word that is not the status",
        "released",
        (SAID.format('"status":"released"', '"status":"escrow"', "contract.released"),),
        10,
        "status released",
        "escrow",
    ),
)

# A retention that is left to the seller: events, refund, postings and balances agree.
RULED_OUT = (
    (
        "UPDATE event SET body = replace(body, '\"seller_minor\":71250', '\"seller_minor\":75000')"
        " WHERE contract_id = :row"
    ),
    (
        "UPDATE event SET body = replace(body, '\"amount_minor\":3750', '\"amount_minor\":0')"
        " WHERE contract_id = :row AND type LIKE '%refund%'"
    ),
    (
        "UPDATE event SET body = replace(body, '\"seller\":712.5', '\"seller\":750')"
        " WHERE contract_id = :row"
    ),
    (
        "UPDATE refund SET parts = (SELECT (e.body::jsonb -> 'parts')::text FROM event AS e"
        " WHERE e.contract_id = :row AND e.type = 'contract.refunded') WHERE contract_id = :row"
    ),
    (
        "UPDATE balance SET amount_minor = amount_minor + 3750"
        " WHERE account = (SELECT t.credit FROM transfer AS t"
        " WHERE t.contract_id = :row AND t.debit >> 57 = 1 AND t.credit >> 57 = 2)"
    ),
    (
        "UPDATE transfer SET amount_minor = amount_minor + 3750"
        " WHERE contract_id = :row AND debit >> 57 = 1 AND credit >> 57 = 2"
    ),
    "DELETE FROM transfer WHERE contract_id = :row AND amount_minor = 3750",
)
