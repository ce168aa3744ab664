"""The marketplace's money as its people see it: two wallets, the fee income, what is held."""

import json
from decimal import Decimal
from typing import Any, NamedTuple

import httpx

from web import Caller, Cast


class Balances(NamedTuple):
    """In major units, exactly as on the wire."""

    alice: Decimal
    bob: Decimal
    fees: Decimal
    held: Decimal

    def less(self, before: "Balances") -> "Balances":
        """What has changed since `before`."""
        return Balances(*(now - then for now, then in zip(self, before, strict=True)))


def amounts(alice: str, bob: str, fees: str, held: str) -> Balances:
    """A row of a table of balances."""
    return Balances(Decimal(alice), Decimal(bob), Decimal(fees), Decimal(held))


def exact(answer: httpx.Response) -> Any:
    """The body of a success, with its numbers as they are written."""
    assert answer.status_code == 200, answer.text
    return json.loads(answer.text, parse_float=Decimal)


async def balances(cast: Cast) -> Balances:
    """Who has what now."""
    held = exact(await cast.olga.get("/api/admin/escrow/balance"))["data"]
    fees = exact(await cast.olga.get("/api/admin/escrow/total-revenue"))["data"]
    return Balances(
        await _wallet(cast.alice), await _wallet(cast.bob), Decimal(fees), Decimal(held)
    )


async def _wallet(of: Caller) -> Decimal:
    data = exact(await of.get(f"/api/freelancer/wallet/earnings/{of.id}"))["data"]
    return Decimal(0 if data is None else data["balance"])
