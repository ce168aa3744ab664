"""What the provider calls our money: in the proof of a contract, in escrows, in wallets, in books.

Each id that is shown is compared with what the provider itself has.
"""

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from balances import exact
from deal import Deal
from earnest import reports
from earnest.store import provider_objects
from earnest.store.db import Pool
from life import Life, accepted
from partners import Broker
from paying_out import bank, fetch, later, sound, withdrawn, work
from web import Caller, Cast

KEYS = ["type", "id", "account", "amount", "currency", "status", "at"]
SANDBOX = {"provider": "sandbox", "livemode": False}
SESSION = "SELECT id, payment_id FROM sandbox.session ORDER BY created_at DESC LIMIT 1"
CHARGED_BACK = """
SELECT t.debit & ((1::bigint << 40) - 1), e.type
FROM transfer AS t
INNER JOIN event AS e ON e.id = t.commit_id
WHERE t.movement = 'charged_back' AND account_kind(t.debit) = 2
"""
ESCROWS = ("/api/admin/escrow/transactions", "/api/admin/escrow/sales-report")


async def paid(app: Any) -> tuple[str, str]:
    """The sandbox's newest session, and the payment that came of it."""
    ((session, payment),) = await fetch(app, SESSION)
    return session, payment


def told(proof: Any) -> list[tuple[str, str, Any, str]]:
    """Type, id, amount and status of each object, and nothing else is said of any."""
    assert all(list(one) == KEYS for one in proof["provider"])
    assert all(one["account"] == SANDBOX for one in proof["provider"])
    assert {one["currency"] for one in proof["provider"]} <= {proof["currency"]}
    return [(one["type"], one["id"], one["amount"], one["status"]) for one in proof["provider"]]


async def entries(of: Caller) -> Any:
    """Bob's or Alice's, newest first, as both routes show them."""
    wallet = exact(await of.get(f"/api/freelancer/wallet/earnings/{of.id}"))["data"]
    listed = exact(await of.get(f"/api/freelancer/wallet/transactions/{wallet['_id']}"))["data"]
    names = ("description", "reference", "payoutId")
    shown = [[one[name] for name in names] for one in wallet["transactions"]]
    assert shown == [[one[name] for name in names] for one in listed]
    return shown


# -- the marketplace --------------------------------------------------------------------------


async def test_a_contract_nobody_has_paid_for_has_none(cast: Cast) -> None:
    life = await Life.at(cast, "created")
    assert (await life.proof())["provider"] == []


async def test_the_proof_names_the_payment_whoever_reads_it(cast: Cast) -> None:
    other, life = await Life.at(cast, "paid"), await Life.at(cast, "released", rate=99.99)
    session, payment = await paid(cast.app)
    assert session == life.session != other.session
    proofs = [
        exact(await reader.get(f"/api/{path}/{life.contract}"))
        for reader, path in (
            (cast.olga, "admin/escrow/proof"),
            (cast.alice, "client/contract/proof"),
            (cast.bob, "freelancer/contract/proof"),
        )
    ]
    assert proofs[0] == proofs[1] == proofs[2]
    amount = Decimal("99.99")
    assert told(proofs[0]) == [
        ("checkout_session", session, amount, "captured"),
        ("payment", payment, amount, "captured"),
    ]


async def test_the_proof_names_a_chargeback_before_and_after_it_is_decided(cast: Cast) -> None:
    life = await Life.at(cast, "paid")
    for outcome, status in (("opened", "open"), ("won", "won")):
        await bank(cast.app, outcome)
        ((dispute,),) = await fetch(cast.app, "SELECT id FROM sandbox.dispute")
        found = told(await life.proof())
        assert [one[0] for one in found] == ["checkout_session", "payment", "chargeback"]
        assert found[2] == ("chargeback", dispute, 12000, status)


async def test_escrows_name_what_paid_for_them(cast: Cast) -> None:
    expected = {}
    for point in ("paid", "released", "refunded"):
        life = await Life.at(cast, point)
        expected[life.contract] = await paid(cast.app)
        assert expected[life.contract][0] == life.session
    await Life.at(cast, "created")
    for path in ESCROWS:
        listed = accepted(await cast.olga.get(path))["data"]
        assert {
            one["contractId"]["_id"]: (one["providerSessionId"], one["providerPaymentId"])
            for one in listed
        } == expected


@pytest.mark.parametrize("point", ["requested", "started"])
async def test_who_settles_is_told_what_paid_for_it(cast: Cast, point: str) -> None:
    life = await Life.at(cast, point)
    key = {"Idempotency-Key": f"settle-{point}"}
    path = f"release-fund/{life.contract}"
    if point == "started":
        path = f"refund-client/{life.contract}/{cast.alice.id}"
    first = accepted(await cast.olga.put(f"/api/admin/escrow/{path}", headers=key))["data"]
    again = accepted(await cast.olga.put(f"/api/admin/escrow/{path}", headers=key))["data"]
    ids = (first["providerSessionId"], first["providerPaymentId"])
    assert ids == await paid(cast.app)
    assert again == first


async def test_a_withdrawal_names_its_payout_there_and_here(cast: Cast) -> None:
    await Life.at(cast, "released")
    payout = (await withdrawn(cast.bob, 10000))["_id"]
    assert await entries(cast.bob) == [
        ["Withdrawal", None, payout],
        ["Contract payment", None, None],
    ]
    await work(cast.app)
    ((at_bank,),) = await fetch(cast.app, "SELECT id FROM sandbox.payout")
    assert (await entries(cast.bob))[0] == ["Withdrawal", at_bank, payout]
    linked = await cast.bob.get(f"/api/freelancer/wallet/withdraw/{payout}")
    assert accepted(linked)["data"]["providerPayoutId"] == at_bank


async def test_a_withdrawal_that_came_back_names_the_transfer(cast: Cast) -> None:
    await Life.at(cast, "released")
    payout = (await withdrawn(cast.bob, 10000))["_id"]
    await work(cast.app, turns=2, seconds=0)
    failing = await cast.anybody.post(f"/sandbox/payouts/{payout}/fail")
    assert failing.status_code == 200, failing.text
    await later(cast.app, 3600)
    await work(cast.app)
    ((transfer,),) = await fetch(cast.app, "SELECT id FROM sandbox.transfer")
    found = await entries(cast.bob)
    assert found[0] == ["Withdrawal returned", transfer, payout]
    assert found[1][0::2] == ["Withdrawal", payout]


async def test_a_chargeback_names_the_dispute(cast: Cast) -> None:
    await Life.at(cast, "released")
    await bank(cast.app, "opened")
    ((dispute,),) = await fetch(cast.app, "SELECT id FROM sandbox.dispute")
    assert (await entries(cast.bob))[0] == ["Chargeback", dispute, None]
    await bank(cast.app, "won")
    assert (await entries(cast.bob))[:2] == [
        ["Chargeback returned", dispute, None],
        ["Chargeback", dispute, None],
    ]


async def test_a_payment_that_came_back_is_named(cast: Cast) -> None:
    life = await Life.begin(cast)
    await life.checkout()
    closing = {"status": "Closed"}
    accepted(await cast.alice.put(f"/api/client/job/update-job/{life.job}", json=closing))
    await life.pay()
    _, payment = await paid(cast.app)
    (parked,) = accepted(await cast.olga.get("/api/admin/escrow/parked-payments"))["data"]
    assert (parked["providerSessionId"], parked["providerPaymentId"]) == (life.session, payment)
    accepted(await cast.olga.put(f"/api/admin/escrow/refund-payment/{parked['_id']}"))
    assert await entries(cast.alice) == [["Payment refund", payment, None]]


# -- partners ---------------------------------------------------------------------------------


async def test_a_partners_proof_names_payment_refund_and_chargeback(broker: Broker) -> None:
    deal = await Deal.begin(broker)
    assert (await deal.proof())["provider"] == []
    await deal.pay()
    session, payment = await paid(broker.app)
    money = [
        ("checkout_session", session, 1143.75, "captured"),
        ("payment", payment, 1143.75, "captured"),
    ]
    assert told(await deal.proof()) == money
    assert (await deal.refund("PARTIAL", milestone=1, amount=100)).status_code == 200
    assert told(await deal.proof()) == money, "the provider has not been asked yet"
    await deal.settle()
    ((refund,),) = await fetch(broker.app, "SELECT id FROM sandbox.refund")
    money.append(("refund", refund, 100, "done"))
    assert told(await deal.proof()) == money


async def test_a_partners_chargeback_is_in_the_proof(broker: Broker) -> None:
    deal = await Deal.at(broker, "paid")
    await bank(broker.app, "opened")
    ((dispute,),) = await fetch(broker.app, "SELECT id FROM sandbox.dispute")
    assert told(await deal.proof())[2] == ("chargeback", dispute, 1143.75, "open")


async def test_it_tells_nothing_of_other_contracts(broker: Broker, rival: Broker) -> None:
    deals = [await Deal.at(broker, "paid"), await Deal.at(broker, "paid")]
    deals.append(await Deal.at(rival, "paid"))
    ids = [{one[1] for one in told(await deal.proof())} for deal in deals]
    assert [len(one) for one in ids] == [2, 2, 2]
    assert len(set.union(*ids)) == 6


async def test_a_chargeback_that_stops_the_contract_as_well_is_named(broker: Broker) -> None:
    """Its commit begins with an event of the contract: one half is still held."""
    deal = await Deal.at(broker, "paid")
    assert (await deal.release(milestone=0)).status_code == 200
    await bank(broker.app, "opened")
    assert await deal.status() == "dispute"
    ((dispute,),) = await fetch(broker.app, "SELECT id FROM sandbox.dispute")
    ((wallet, first),) = await fetch(broker.app, CHARGED_BACK)
    assert first == "contract.disputed"
    statement = await reports.statement(broker.app.state.pool, f"wallet:SAR:{wallet}", "SAR")
    assert [(one["movement"], one["reference"]) for one in statement["entries"]] == [
        ("charged_back", dispute),
        ("released", None),
    ]


# -- the books --------------------------------------------------------------------------------


async def test_a_statement_says_what_each_entry_is_at_the_provider(
    cast: Cast, broker: Broker
) -> None:
    await Life.at(cast, "released")
    _, payment = await paid(cast.app)
    await withdrawn(cast.bob, 10000)
    await work(cast.app)
    ((transfer,),) = await fetch(cast.app, "SELECT id FROM sandbox.transfer")
    statement = await reports.statement(cast.app.state.pool, "provider_cash:INR:1", "INR")
    assert [(one["movement"], one["reference"]) for one in statement["entries"]] == [
        ("paid_out", transfer),
        ("funded", payment),
    ]
    assert reports.statement_lines(statement)[2].endswith(transfer)
    deal = await Deal.at(broker, "paid", Milestones=None)
    assert (await deal.refund()).status_code == 200
    await deal.settle()
    ((refund,),) = await fetch(cast.app, "SELECT id FROM sandbox.refund")
    statement = await reports.statement(cast.app.state.pool, "provider_cash:SAR:1", "SAR")
    assert [(one["movement"], one["reference"]) for one in statement["entries"]] == [
        ("refunded_to_source", refund),
        ("funded", (await paid(cast.app))[1]),
    ]
    await sound(cast.app)


def scans(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The nodes of a plan that read a table."""
    if "Relation Name" in node:
        yield node
    for below in node.get("Plans", ()):
        yield from scans(below)


@pytest.mark.parametrize(
    ("sql", "given"),
    [
        (provider_objects.OF_CONTRACT, 1),
        (provider_objects.CAPTURED, [1]),
        (provider_objects.ABOUT, [1]),
        (provider_objects.NAMED, [1]),
    ],
    ids=["of a contract", "captured", "about", "named"],
)
async def test_nothing_is_found_by_walking_a_table(pool: Pool, sql: str, given: Any) -> None:
    """With walking made as dear as can be, what is left of it had no index to go by."""
    async with pool.connection() as conn, conn.transaction():
        await conn.execute("SET LOCAL enable_seqscan = off")
        plan = json.loads(await conn.fetchval(f"EXPLAIN (FORMAT JSON) {sql}", given))[0]["Plan"]
    found = list(scans(plan))
    assert found
    for node in found:
        assert "Index Cond" in node or "Recheck Cond" in node, node["Relation Name"]
