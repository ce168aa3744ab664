"""What a damage is, and the rows that damages are done to.

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


def deal(reference: str, currency: str = "SAR") -> str:
    """The partner's contract that tests/trade.py brought to this point, under this reference."""
    return (
        "SELECT min(c.id) FROM contract AS c"
        " INNER JOIN contract_terms AS t ON t.contract_id = c.id"
        f" WHERE c.currency = '{currency}' AND t.terms LIKE '%\"reference\":\"{reference}\"%'"
    )


def refund(reference: str) -> str:
    """The refund of that contract."""
    return f"SELECT min(id) FROM refund WHERE contract_id = ({deal(reference)})"


CREATED = _contract("unfunded", "pending")
STARTED = "SELECT min(id) FROM contract WHERE tranches = '{held}' AND work = 'started'"
REQUESTED = _contract("release_requested")
RELEASED = _contract("released")
PENDING_REFUND = _contract("refund_pending", "cancelled")
REFUNDED = _contract("refunded", "cancelled")
IN_RUPEES = "account >> 57 = 2 AND account_currency(account) = 356"
A_WALLET = f"SELECT max(account) FROM balance WHERE {IN_RUPEES} AND amount_minor > 0"
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
PARTNER = "INSERT INTO business (id, name, currency, settings) VALUES (99, 'Partner', 'INR', '{}')"
VERIFY = """
INSERT INTO kyc (
    party_id, national_id, first_name, last_name, answers, iban, bic, identified_at, answered_at,
    verified_at, bank_account_at, completed_at, created_at, updated_at
)
SELECT :row, s, s, s, s, s, s, t, t, t, t, t, t, t FROM (SELECT '\\x01'::bytea, now()) AS v (s, t)
"""
