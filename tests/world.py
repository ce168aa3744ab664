"""A world in which every route of the marketplace has something to show, and someone to refuse.

    world = await World.make(cast)
    world.path("/api/client/cancel-contract/{contract_id:str}")

Alice and Bob have a contract whose release is requested, a released one that Alice reviewed, and
a canceled one with reasons; Bob applied for another job of Alice's; a payment of hers waits, and a
payout of his.
"""

import re
from typing import Any

import msgspec

from life import Life, accepted
from web import Cast

REASON = "Reason-canary"
DESCRIPTION = "Description-canary"

LETTERS = "-ABmtO"
"""Nobody, Alice, Bob, Mallory (another client), Mallet (another freelancer), Olga."""


async def ids_of(life: Life, applied_for: Life) -> dict[str, str]:
    """Real ids for the path parameters of all routes: of a contract, of another job that Bob
    applied for, and of their people. `id` is that of Bob's wallet, once he has one."""
    cast = life.cast
    applications = await cast.bob.get("/api/freelancer/jobs/applied-jobs")
    [application] = [
        one["_id"]
        for one in accepted(applications)["applications"]
        if one["jobId"]["_id"] == applied_for.job
    ]
    partner = await cast.olga.post("/api/admin/businesses", json={"name": "Demo Broker"})
    wallet = await cast.bob.get(f"/api/freelancer/wallet/earnings/{cast.bob.id}")
    return {
        "contract_id": life.contract,
        "job_id": applied_for.job,
        "client_id": cast.alice.id,
        "freelancer_id": cast.bob.id,
        "user_id": cast.bob.id,
        "application_id": application,
        "label_id": cast.category,
        "business_id": accepted(partner, 201)["data"]["businessId"],
        "payment_id": life.contract,
        "refund_id": life.contract,
        "alert_id": life.contract,
        "payout_id": life.contract,
        "date": "2026-05-01",
        "session_id": life.session,
        "id": (accepted(wallet)["data"] or {"_id": cast.bob.id})["_id"],
    }


class World(msgspec.Struct):
    """Ids by the name of the path parameter they belong to; `canceled` is a contract, too."""

    cast: Cast
    ids: dict[str, str]
    canceled: str

    @classmethod
    async def make(cls, cast: Cast) -> "World":
        """Everything through the public API."""
        requested = await Life.at(cast, "requested", rate=101)
        released = await Life.at(cast, "released", rate=102)
        canceled = await Life.at(cast, "started", rate=103)
        reasons = {"cancelReason": REASON, "cancelReasonDescription": DESCRIPTION}
        accepted(
            await cast.alice.put(
                f"/api/admin/escrow/refund-client/{canceled.contract}/{cast.alice.id}",
                json=reasons,
            )
        )
        review = {
            "contractId": released.contract,
            "freelancerId": cast.bob.id,
            "rating": 5,
            "description": "Three good drafts.",
        }
        accepted(
            await cast.alice.post(
                f"/api/client/review/rate-freelancer/{cast.alice.id}", json=review
            ),
            201,
        )
        applied_for = await Life.begin(cast, rate=104)
        payout = await cast.bob.post("/api/freelancer/wallet/withdraw", json={"amount": 1})
        ids = await ids_of(requested, applied_for)
        ids["payout_id"] = accepted(payout, 202)["data"]["_id"]
        return cls(cast, ids, canceled.contract)

    def path(self, template: str, **other: str) -> str:
        """A path of a route, with the ids of this world and `other` ones above them."""
        ids = self.ids | other
        return re.sub(r"\{(\w+):\w+\}", lambda found: ids[found[1]], template)

    def who(self, letter: str) -> Any:
        """The caller that a letter of LETTERS stands for."""
        cast = self.cast
        callers = (cast.anybody, cast.alice, cast.bob, cast.mallory, cast.mallet, cast.olga)
        return dict(zip(LETTERS, callers, strict=True))[letter]
