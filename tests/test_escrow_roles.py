"""Who may move money: every PUT and POST under /api/admin/escrow by everybody, wherever it is.

The routes come from the application's own table, so that a new one must be written down here.
"""

from collections.abc import Awaitable, Callable

import httpx
import msgspec
import pytest
from litestar import Litestar
from litestar.routes import HTTPRoute

from checkout_event import suspense_minor, tell, told_of
from life import Life, accepted
from refusals import only_for, refused
from web import Caller, Cast

ESCROW = "/api/admin/escrow"


class Due(msgspec.Struct, frozen=True):
    """Something that an admin could do now: the path, who else may ask, and what is answered."""

    path: str
    others: tuple[Caller, ...] = ()
    status: int = 200


async def release(cast: Cast) -> Due:
    life = await Life.at(cast, "requested")
    return Due(f"{ESCROW}/release-fund/{life.contract}")


async def refund(cast: Cast) -> Due:
    """The client may ask for it (D6), of an own contract only."""
    life = await Life.at(cast, "started")
    return Due(f"{ESCROW}/refund-client/{life.contract}/{cast.alice.id}", (cast.alice,))


async def refund_pending(cast: Cast) -> Due:
    life = await Life.at(cast, "canceled")
    return Due(f"{ESCROW}/refund-client/{life.contract}/{cast.alice.id}", (cast.alice,))


async def parked(cast: Cast) -> Due:
    """Bob withdrew before the money came: it waits for a contract."""
    life = await Life.begin(cast)
    event = await told_of(cast, await life.checkout())
    applied = accepted(await cast.bob.get("/api/freelancer/jobs/applied-jobs"))["applications"]
    (mine,) = (one["_id"] for one in applied if one["jobId"]["_id"] == life.job)
    accepted(await cast.bob.delete(f"/api/freelancer/jobs/cancel-application/{mine}"))
    await tell(cast, event)
    waiting = accepted(await cast.olga.get(f"{ESCROW}/parked-payments"))["data"]
    (payment,) = (one["_id"] for one in waiting)
    return Due(f"{ESCROW}/refund-payment/{payment}")


async def quarantined(cast: Cast) -> Due:
    """Not the amount that we asked for: it is in suspense, and no admin refunds it here."""
    life = await Life.begin(cast)
    event = await told_of(cast, await life.checkout())
    assert event.metadata is not None
    before = await suspense_minor(cast)
    await tell(cast, event.but(amount_minor=777))
    assert await suspense_minor(cast) == before + 777
    return Due(f"{ESCROW}/refund-payment/{event.metadata['paymentId']}", status=400)


MOVES: dict[str, tuple[Callable[[Cast], Awaitable[Due]], ...]] = {
    f"PUT {ESCROW}/release-fund/{{contract_id:str}}": (release,),
    f"PUT {ESCROW}/refund-client/{{contract_id:str}}/{{client_id:str}}": (refund, refund_pending),
    f"PUT {ESCROW}/refund-payment/{{payment_id:str}}": (parked, quarantined),
}
CASES = [(route, due) for route, cases in MOVES.items() for due in cases]


async def test_it_knows_every_move(app: Litestar) -> None:
    found = {
        f"{method} {route.path}"
        for route in app.routes
        if isinstance(route, HTTPRoute) and route.path.startswith(f"{ESCROW}/")
        for method in set(route.methods) - {"GET", "HEAD", "OPTIONS"}
    }
    assert found == set(MOVES)


@pytest.mark.abuse(62)
@pytest.mark.parametrize(
    ("route", "due"), CASES, ids=[f"{route.split('/')[4]} {due.__name__}" for route, due in CASES]
)
async def test_it_is_for_admins(
    cast: Cast, route: str, due: Callable[[Cast], Awaitable[Due]]
) -> None:
    found = await due(cast)
    method = route.split(maxsplit=1)[0]

    def ask(who: Caller) -> Awaitable[httpx.Response]:
        return who.request(method, found.path)

    await only_for(cast, ask, cast.olga, *found.others)
    for body in ({}, {"cancelReason": "mine", "amount": 1}):
        for who in (cast.mallory, cast.mallet, cast.bob):
            await refused(cast, who.request(method, found.path, json=body), 403)
    if found.status == 200:
        accepted(await ask(cast.olga))
    else:
        await refused(cast, ask(cast.olga), found.status)
