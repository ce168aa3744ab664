"""/api/admin/escrow: the figures, the escrow documents and the proof of one contract's money."""

from decimal import Decimal
from typing import Any

import pytest

from balances import exact
from life import Life, accepted
from refusals import only_for, refused, refuses_ids
from web import Caller, Cast

BALANCE = "/api/admin/escrow/balance"
REVENUE = "/api/admin/escrow/total-revenue"
LISTS = ("/api/admin/escrow/transactions", "/api/admin/escrow/sales-report")
PROOF = "/api/admin/escrow/proof"
REPORTS = (BALANCE, REVENUE, *LISTS, "/api/admin/escrow/parked-payments")

ESCROW_KEYS = {
    "_id",
    "clientId",
    "freelancerId",
    "contractId",
    "jobId",
    "amount",
    "platformFee",
    "freelancerEarning",
    "status",
    "transactionType",
    "providerSessionId",
    "providerPaymentId",
    "createdAt",
    "updatedAt",
    "__v",
}


async def figure(cast: Cast, path: str) -> Decimal:
    body = exact(await cast.olga.get(path))
    assert body.keys() == {"data"}
    return Decimal(body["data"])


async def escrows(cast: Cast, path: str = LISTS[0]) -> Any:
    body = exact(await cast.olga.get(path))
    assert body.keys() == {"count", "data"}
    assert body["count"] == len(body["data"])
    return body["data"]


# -- balance and revenue ----------------------------------------------------------------------

# What each point adds to the balance held and to the revenue, for 99.99.
FIGURES = [
    ("created", "0", "0"),
    ("paid", "99.99", "0"),
    ("started", "99.99", "0"),
    ("ongoing", "99.99", "0"),
    ("completed", "99.99", "0"),
    ("requested", "99.99", "0"),
    ("released", "0", "10.00"),
    ("canceled", "99.99", "0"),
    ("refunded", "0", "10.00"),
]


async def test_the_balance_is_what_is_held_and_the_revenue_what_was_earned(cast: Cast) -> None:
    held = earned = Decimal(0)
    assert await figure(cast, BALANCE) == await figure(cast, REVENUE) == 0
    for point, adds_held, adds_earned in FIGURES:
        await Life.at(cast, point, rate=99.99)
        held += Decimal(adds_held)
        earned += Decimal(adds_earned)
        assert (await figure(cast, BALANCE), await figure(cast, REVENUE)) == (held, earned), point


async def test_the_figures_go_beyond_one_contracts_limit(cast: Cast) -> None:
    for _ in range(3):
        await Life.at(cast, "paid", rate=999999.99)
    assert await figure(cast, BALANCE) == Decimal("2999999.97")


async def test_parked_money_is_not_in_the_balance(cast: Cast) -> None:
    life = await Life.begin(cast)
    await life.checkout()
    closing = await cast.alice.put(
        f"/api/client/job/update-job/{life.job}", json={"status": "Closed"}
    )
    accepted(closing)
    await life.pay()
    parked = accepted(await cast.olga.get("/api/admin/escrow/parked-payments"))
    assert [one["amount"] for one in parked["data"]] == [12000]
    assert await figure(cast, BALANCE) == 0
    assert await escrows(cast) == []


# -- transactions and sales-report ------------------------------------------------------------


async def test_an_escrow_names_its_client_and_contract(cast: Cast) -> None:
    life = await Life.at(cast, "started", rate=99.99)
    for path in LISTS:
        [escrow] = await escrows(cast, path)
        assert escrow.keys() == ESCROW_KEYS
        client = escrow["clientId"]
        assert (client["_id"], client["name"]) == (cast.alice.id, "Alice")
        assert client["email"] == cast.alice.email
        contract = escrow["contractId"]
        assert (contract["_id"], contract["status"]) == (life.contract, "Started")
        assert contract["contractId"].startswith("CON")
        assert (escrow["freelancerId"], escrow["jobId"]) == (cast.bob.id, life.job)
        assert (escrow["amount"], escrow["__v"]) == (Decimal("99.99"), 0)
        assert escrow["createdAt"] >= contract["createdAt"]


# The escrow keeps its amount whatever became of it (D15).
ESCROWS = {
    "paid": ("funded", "credit", "10", "89.99"),
    "started": ("funded", "credit", "10", "89.99"),
    "completed": ("funded", "credit", "10", "89.99"),
    "requested": ("funded", "credit", "10", "89.99"),
    "released": ("released", "debit", "10", "89.99"),
    "canceled": ("funded", "credit", "10", "89.99"),
    "refunded": ("refunded", "debit", "10", "0"),
}


async def test_an_escrow_keeps_its_amount_for_ever(cast: Cast) -> None:
    for point, (status, kind, fee, earning) in ESCROWS.items():
        await Life.at(cast, point, rate=99.99)
        escrow = (await escrows(cast))[0]
        assert escrow["amount"] == Decimal("99.99"), point
        assert (escrow["status"], escrow["transactionType"]) == (status, kind), point
        assert escrow["platformFee"] == Decimal(fee)
        assert escrow["freelancerEarning"] == Decimal(earning)
    await Life.at(cast, "created")
    assert len(await escrows(cast)) == len(ESCROWS)


async def test_a_refund_shows_the_freelancers_share(cast: Cast) -> None:
    for point, share in (("paid", "0"), ("started", "13.50"), ("ongoing", "36.00")):
        life = await Life.at(cast, point, rate=99.99)
        await life.refund()
        escrow = (await escrows(cast))[0]
        assert (escrow["platformFee"], escrow["freelancerEarning"]) == (10, Decimal(share))


async def test_there_is_one_escrow_for_one_contract(cast: Cast) -> None:
    life = await Life.at(cast, "paid")
    ids = set()
    for step in ("approve", "ongoing", "complete", "request", "release"):
        await getattr(life, step)()
        [escrow] = await escrows(cast)
        ids.add(escrow["_id"])
        assert escrow["contractId"]["_id"] == life.contract
    assert len(ids) == 1
    assert ids.isdisjoint({life.contract, life.job})


async def test_they_are_listed_newest_first_and_in_pages(cast: Cast) -> None:
    lives = [await Life.at(cast, point) for point in ("released", "paid", "refunded")]
    newest_first = [life.contract for life in reversed(lives)]
    for path in LISTS:
        listed = await escrows(cast, path)
        assert [one["contractId"]["_id"] for one in listed] == newest_first
        paged = [(await escrows(cast, f"{path}?limit=2&page={page}")) for page in (1, 2, 3)]
        assert [len(page) for page in paged] == [2, 1, 0]
        assert [*paged[0], *paged[1]] == listed
        assert len(await escrows(cast, f"{path}?page=undefined&limit=undefined")) == 3
        for value in ("1e3", "-1", "0", "x"):
            await refused(cast, cast.olga.get(f"{path}?page={value}"), 400)
            await refused(cast, cast.olga.get(f"{path}?limit={value}"), 400)


# -- proof ------------------------------------------------------------------------------------

# (movement, from, to, amount) of every transfer, and what they add up to.
PROOFS: dict[str, tuple[list[tuple[str, str, str]], tuple[str, str, str, str]]] = {
    "created": ([], ("0", "0", "0", "0")),
    "paid": ([("funded", "held", "99.99")], ("0", "0", "0", "99.99")),
    "released": (
        [
            ("funded", "held", "99.99"),
            ("released", "platform_fee_income", "10"),
            ("released", "wallet", "89.99"),
        ],
        ("0", "89.99", "10", "0"),
    ),
}


async def test_the_proof_lists_every_transfer(cast: Cast) -> None:
    for point, (transfers, sums) in PROOFS.items():
        life = await Life.at(cast, point, rate=99.99)
        proof = exact(await cast.olga.get(f"{PROOF}/{life.contract}"))
        shown = sorted(
            (one["movement"], one["credit"].partition(":")[0], str(one["amount"]))
            for one in proof["transfers"]
        )
        assert shown == transfers
        paid = sum(Decimal(amount) for movement, _, amount in transfers if movement == "funded")
        assert (proof["contractId"], proof["currency"]) == (life.contract, "INR")
        assert (proof["funded"], proof["holds"], proof["tax"]) == (paid, True, 0)
        found = (proof["toClient"], proof["toFreelancer"], proof["fees"], proof["held"])
        assert found == tuple(map(Decimal, sums))


@pytest.mark.parametrize("point", ["paid", "started", "ongoing"])
async def test_the_proof_of_a_refund_adds_up(cast: Cast, point: str) -> None:
    life = await Life.at(cast, point, rate=0.35)
    await life.refund()
    proof = exact(await cast.olga.get(f"{PROOF}/{life.contract}"))
    parts = [proof[part] for part in ("toClient", "toFreelancer", "fees", "tax", "held")]
    assert sum(parts) == proof["funded"] == Decimal("0.35")
    assert proof["holds"] is True
    assert proof["held"] == 0
    out = [one["amount"] for one in proof["transfers"] if one["movement"] == "refunded"]
    assert sum(out) == proof["funded"]


async def test_the_proof_is_for_the_parties_and_admins(cast: Cast) -> None:
    life = await Life.at(cast, "released")
    paths = {
        "/api/client/contract/proof": cast.alice,
        "/api/freelancer/contract/proof": cast.bob,
        PROOF: cast.olga,
    }
    seen = []
    for path, reader in paths.items():
        seen.append(await _proof_at(cast, path, reader, life.contract))
    assert seen[0] == seen[1] == seen[2]


async def _proof_at(cast: Cast, path: str, reader: Caller, contract: str) -> Any:
    """The proof as `reader` gets it at `path`, where nobody else gets anything."""
    await only_for(cast, lambda who: who.get(f"{path}/{contract}"), reader)
    await refuses_ids(cast, lambda wanted: reader.get(f"{path}/{wanted}"), contract)
    return accepted(await reader.get(f"{path}/{contract}"))


# -- who --------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", REPORTS)
async def test_it_is_for_admins(cast: Cast, path: str) -> None:
    await Life.at(cast, "released")
    await only_for(cast, lambda who: who.get(path), cast.olga)
