"""Damages to partners' contracts, people and clients: invariants 3 to 13, 15, 23 to 26."""

from damage.finds import PARTNER, Damage, deal

BROKER = "(SELECT id FROM business WHERE name = 'Demo Broker')"
CAREFUL = "(SELECT id FROM business WHERE name = 'Careful Broker')"
HUDA = f"SELECT min(id) FROM party WHERE business_id = {BROKER}"
FAILED_PAYMENT = f"SELECT min(id) FROM payment WHERE contract_id = ({deal('failed payment')})"
LAST_PAYMENT = "SELECT max(id) FROM payment WHERE job_id IS NULL"
SWAPPED = f"({deal('paid plain')}), ({deal('approved plain')})"
CLIENT = f"SELECT client_id FROM api_client WHERE business_id = {BROKER}"


def _shift(less: int, more: int) -> tuple[str, ...]:
    """Of what left a contract, one minor unit goes to an account of kind `more`, not of `less`."""
    return tuple(
        f"UPDATE transfer SET amount_minor = amount_minor + {by} WHERE id = (SELECT min(id)"
        f" FROM transfer WHERE contract_id = :row AND debit >> 57 = 1 AND credit >> 57 = {kind})"
        for kind, by in ((less, -1), (more, 1))
    )


def _row(name: str, reference: str, change: str, invariant: int = 10, **deals: str) -> Damage:
    """A change of a contract's own row."""
    find = deal(reference, **deals)
    return Damage(
        name, invariant, "contract", find, (f"UPDATE contract SET {change} WHERE id = :row",)
    )


def _terms(name: str, invariant: int, of: str, to: str, currency: str = "SAR") -> Damage:
    """Other terms of a contract that nobody has paid for yet."""
    change = f"UPDATE contract_terms SET terms = replace(terms, '{of}', '{to}')"
    find = deal("pending", currency)
    return Damage(name, invariant, "contract", find, (f"{change} WHERE contract_id = :row",))


PARTNERS = (
    # -- 4, 7, 8: held, agreed, posted
    _row("a refund that is pending and holds nothing", "full", "tranches = '{refund_pending}'", 4),
    _terms("a policy that a partner never had", 7, '"seller_bps":2500', '"seller_bps":2600', "KWD"),
    _terms("a retention that a partner never had", 8, '"retention_bps":500', '"retention_bps":50'),
    _terms("fees that the seller was to pay", 8, '"payer":"buyer"', '"payer":"seller"'),
    Damage("a milestone with less of a fee", 8, "contract", deal("half released"), _shift(5, 2)),
    Damage("a milestone with less of a tax", 8, "contract", deal("half released"), _shift(7, 4)),
    Damage("a retention that the seller got", 8, "contract", deal("partial"), _shift(5, 2)),
    Damage("a full refund with more of a fee", 8, "contract", deal("full"), _shift(9, 4)),
    Damage(
        "late money of which a fee was kept",
        8,
        "contract",
        deal("late money"),
        (
            *(
                f"UPDATE transfer SET amount_minor = amount_minor - 100 WHERE id = ({leg})"
                for leg in (
                    "SELECT min(id) FROM transfer WHERE contract_id = :row AND credit >> 57 = 9",
                    "SELECT min(id) FROM transfer WHERE contract_id = :row AND debit >> 57 = 9",
                )
            ),
            (
                "INSERT INTO transfer (id, commit_id, movement, debit, credit, amount_minor,"
                " contract_id, occurred_at, recorded_at, xid)"
                " SELECT id + 1000000000, commit_id, movement, debit,"
                f" (5::bigint << 57) | (682::bigint << 47) | {BROKER}, 100, contract_id,"
                " occurred_at, recorded_at, xid FROM transfer WHERE id = (SELECT min(id)"
                " FROM transfer WHERE contract_id = :row AND credit >> 57 = 9)"
            ),
        ),
    ),
    Damage(
        "a cancellation with less for the seller",
        8,
        "contract",
        deal("cancelled approved", "KWD"),
        _shift(2, 9),
    ),
    _row(
        "a contract that was cancelled after less work",
        "cancelled delivered",
        "cancelled_work = 'started'",
        8,
        currency="KWD",
    ),
    # -- 10: histories
    _row("a rejection that was undone", "rejected", "agreement = 'pending'"),
    _row("a delivery that was undone", "delivered", "work = 'started'"),
    _row("a dispute that nobody resolved", "disputed", "dispute = 'resolved'"),
    _row("a dispute that goes on", "resolved", "dispute = 'open'"),
    _row(
        "a bank that nobody waits for", "waiting for the bank", "tranches = '{unfunded,unfunded}'"
    ),
    _row("a milestone that was not released", "half released", "tranches = '{held,held}'"),
    _row("a refund that nobody asked for", "planned", "tranches = '{held,held}'"),
    _row("a decline that was none", "declined", "tranches = '{refund_pending,held}'"),
    _row("a work that was not received", "received when released", "work = 'delivered'"),
    _row("a cancellation for the other one", "cancelled unpaid", "cancelled_by = 'buyer'"),
    _row("a contract that is not settled", "full", "settled_at = NULL"),
    # -- 11: rules
    Damage(
        "rules that no operator gave",
        11,
        "business",
        f"SELECT {BROKER}",
        (
            (
                "UPDATE business SET settings = replace(settings, '\"retention_bps\":500',"
                " '\"retention_bps\":0') WHERE id = :row"
            ),
        ),
    ),
    Damage(
        "a partner that nobody made",
        11,
        "business",
        f"SELECT {BROKER}",
        (
            (
                "DELETE FROM event WHERE subject = 'business:' ||"
                " (SELECT public_id FROM business WHERE id = :row)"
            ),
        ),
    ),
    # -- 12, 13: what came in
    Damage(
        "a milestone that was not paid for",
        12,
        "contract",
        deal("paid"),
        (
            (
                "DELETE FROM transfer WHERE contract_id = :row AND credit >> 57 = 1"
                " AND (credit >> 40) & 127 = 1"
            ),
        ),
    ),
    Damage(
        "two payments that changed places",
        13,
        "transfer",
        f"SELECT min(id) FROM transfer WHERE credit >> 57 = 1 AND contract_id IN ({SWAPPED})",
        (
            (
                "UPDATE payment SET contract_id = swapped.one + swapped.other - contract_id"
                f" FROM (VALUES ({SWAPPED})) AS swapped (one, other)"
                " WHERE contract_id IN (swapped.one, swapped.other)"
            ),
        ),
    ),
    Damage(
        "a payment for nothing",
        13,
        "payment",
        FAILED_PAYMENT,
        ("UPDATE payment SET contract_id = NULL WHERE id = :row",),
    ),
    # -- 15: settled once
    _row("a refunded contract that says released", "full", "tranches = '{released}'", 15),
    _row("a released contract that says split", "released plain", "tranches = '{split}'", 15),
    # -- 23: businesses
    Damage(
        "a partner's contract in another business",
        23,
        "contract",
        deal("pending"),
        (PARTNER, "UPDATE contract SET business_id = 99 WHERE id = :row"),
    ),
    Damage(
        "a buyer of another business",
        23,
        "contract",
        f"SELECT min(id) FROM contract WHERE buyer_id = ({HUDA})",
        (PARTNER, f"UPDATE party SET business_id = 99 WHERE id = ({HUDA})"),
    ),
    Damage(
        "a partner's payment in another business",
        23,
        "payment",
        FAILED_PAYMENT,
        (PARTNER, "UPDATE payment SET business_id = 99 WHERE id = :row"),
    ),
    Damage(
        "a payment for another partner's contract",
        23,
        "payment",
        FAILED_PAYMENT,
        (f"UPDATE payment SET contract_id = ({deal('pending', 'KWD')}) WHERE id = :row",),
    ),
    # -- 25: ids
    Damage(
        "two people who changed references",
        25,
        "party",
        HUDA,
        (
            "DROP INDEX party_ref_unique",
            (
                "UPDATE party AS p SET platform_ref = o.platform_ref FROM party AS o"
                f" WHERE p.business_id = {BROKER} AND o.business_id = {BROKER} AND p.id <> o.id"
            ),
        ),
    ),
    Damage(
        "a number of two people",
        25,
        "party",
        f"SELECT max(id) FROM party WHERE business_id = {BROKER}",
        (
            "DROP INDEX party_phone_unique",
            f"UPDATE party SET phone = '966500000009' WHERE business_id = {BROKER}",
        ),
    ),
    Damage(
        "two milestones with one id",
        25,
        "contract",
        deal("pending"),
        (
            (
                "UPDATE contract_terms SET terms = replace(terms,"
                " terms::jsonb #>> '{milestones,0,id}', terms::jsonb #>> '{milestones,1,id}')"
                " WHERE contract_id = :row"
            ),
        ),
    ),
    Damage(
        "a milestone with the id of a transfer",
        25,
        "contract",
        deal("paid"),
        (
            (
                "UPDATE contract_terms SET terms = replace(terms,"
                " terms::jsonb #>> '{milestones,0,id}',"
                " (SELECT min(id)::text FROM transfer WHERE contract_id = :row))"
                " WHERE contract_id = :row"
            ),
        ),
    ),
    _row("a number of another month", "pending", "number = 'CNT-9901-41327717'", 25),
    _row("a partner's number as the marketplace has it", "pending", "number = 'CON48120377'", 25),
    Damage(
        "two payments under way for one contract",
        25,
        "payment",
        LAST_PAYMENT,
        (
            "DROP INDEX payment_one_open_per_contract",
            (
                "UPDATE payment SET state = 'processing',"
                f" contract_id = ({deal('waiting for the bank')}) WHERE id = :row"
            ),
        ),
    ),
    # -- 26: clients
    Damage(
        "tokens of a secret that is void",
        26,
        "api_client",
        CLIENT,
        ("UPDATE api_client SET token_generation = token_generation - 1 WHERE client_id = ':row'",),
    ),
    Damage(
        "a client that nobody blocked",
        26,
        "api_client",
        CLIENT,
        ("UPDATE api_client SET status = 'Blocked' WHERE client_id = ':row'",),
    ),
    Damage(
        "a client of another name",
        26,
        "api_client",
        "SELECT 'ec_forged'",
        (f"UPDATE api_client SET client_id = ':row' WHERE business_id = {BROKER}",),
    ),
    Damage(
        "a partner that cannot sign in",
        26,
        "business",
        f"SELECT {CAREFUL}",
        ("DELETE FROM api_client WHERE business_id = :row",),
    ),
    Damage(
        "a partner with two secrets",
        26,
        "business",
        f"SELECT {CAREFUL}",
        (
            "ALTER TABLE api_client DROP CONSTRAINT api_client_one_per_business",
            (
                "INSERT INTO api_client (client_id, business_id, secret_hash)"
                " SELECT 'ec_second', :row, secret_hash FROM api_client"
                " WHERE business_id = :row"
            ),
        ),
    ),
)
