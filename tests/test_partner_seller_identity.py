"""`SellerParty.KYC` of a new contract: it fills in the seller's onboarding, sealed, and no more."""

from typing import Any

import pytest

from deal import OMAR, TERMS, Deal
from earnest.store import kyc
from partners import Broker

KYC = {
    "identity": "1012345678",
    "iBANNumber": "SA0380000000608010167519",
    "bICCode": "RJHISARI",
    "dateOfBirth": "1990-05-01",
}


async def test_it_fills_in_what_the_seller_will_be_asked(broker: Broker) -> None:
    await Deal.begin(broker, SellerParty={**OMAR, "kyc": KYC})
    state = broker.app.state
    async with state.pool.connection() as conn:
        omar = await conn.fetchval("SELECT id FROM party WHERE phone = $1", OMAR["phoneNumber"])
        known = await kyc.known(conn, state.sealer, omar)
        progress = await kyc.progress(conn, omar)
        shown = str(await conn.fetch("SELECT t.* FROM contract_terms AS t"))
    assert (known.national_id, known.iban, known.bic) == (
        KYC["identity"],
        KYC["iBANNumber"],
        KYC["bICCode"],
    )
    assert progress.completed_at is None
    for value in KYC.values():
        assert value not in shown


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("identity", "5012345678"),
        ("iBANNumber", "SA0380000000608010167518"),
        ("bICCode", "RJHI"),
        ("dateOfBirth", "2199-01-01"),
    ],
)
async def test_it_refuses_what_cannot_be_right_and_names_the_field(
    broker: Broker, field: str, value: Any
) -> None:
    seller = {**OMAR, "KYC": KYC | {field: value}}
    answer = await broker.client.post("/apps/api/contracts", json=TERMS | {"SellerParty": seller})
    assert answer.status_code == 400
    assert answer.json()["validationErrors"][0]["field"] == f"SellerParty.KYC.{field}"
    listed = await broker.client.get("/apps/api/contracts")
    assert listed.json()["data"]["totalCount"] == 0
