"""A contract's life over HTTP, one step per method, for tests that need one at some point of it.

    life = await Life.begin(cast)        Alice's job, Bob applied
    await life.create(); await life.pay(); await life.approve(); await life.ongoing(); ...

Every step goes through the public API and asserts that it was accepted. Money arrives the way
it does in production: the provider's own signed event is posted to /webhook.
"""

import time
from typing import Any

import httpx
import msgspec

from earnest.providers import signature
from earnest.store.db import Pool
from web import Caller, Cast

PROVIDER_EVENTS = "SELECT body FROM sandbox.outbox WHERE session_id = $1 ORDER BY position"


def accepted(answer: httpx.Response, status: int = 200) -> Any:
    """The body of an answer that must have this status."""
    assert answer.status_code == status, f"{answer.request.url}: {answer.text}"
    return answer.json()


async def post_event(cast: Cast, body: bytes, *, at_seconds: int | None = None) -> httpx.Response:
    """Post an event as the provider would, signed with its secret."""
    state = cast.app.state
    secret = state.webhook_secrets[0]
    header = signature.sign(body, secret, at_seconds or int(time.time()))
    return await cast.anybody.post("/webhook", content=body, headers={"Stripe-Signature": header})


async def provider_events(cast: Cast, session_id: str) -> list[bytes]:
    """The bytes of every event that the provider wants to tell about a session."""
    pool: Pool = cast.app.state.pool
    async with pool.connection() as conn:
        return [row["body"] for row in await conn.fetch(PROVIDER_EVENTS, session_id)]


class Life(msgspec.Struct):
    """One job and what became of it. `contract` is the contract's `_id` once it exists."""

    cast: Cast
    job: str
    contract: str = ""
    session: str = ""

    @classmethod
    async def begin(cls, cast: Cast, rate: float = 12000) -> "Life":
        """Alice posts a job and Bob applies."""
        job = await cast.post_job(rate=rate)
        accepted(await cast.bob.post(f"/api/freelancer/jobs/apply-job/{job}"), 201)
        return cls(cast, job)

    @classmethod
    async def at(cls, cast: Cast, point: str, rate: float = 12000) -> "Life":
        """A life that has come to `point`: created, paid, started, ongoing, completed,
        requested, released, canceled (paid, then canceled by Alice) or refunded."""
        life = await cls.begin(cast, rate)
        steps = ["create", "pay", "approve", "ongoing", "complete", "request", "release"]
        ends = {
            "created": 1,
            "paid": 2,
            "started": 3,
            "ongoing": 4,
            "completed": 5,
            "requested": 6,
            "released": 7,
            "canceled": 2,
            "refunded": 2,
        }
        for step in steps[: ends[point]]:
            await getattr(life, step)()
        if point in ("canceled", "refunded"):
            await life.cancel(cast.alice)
        if point == "refunded":
            await life.refund()
        return life

    # -- steps --------------------------------------------------------------------------------

    async def create(self) -> None:
        made = await self.cast.alice.post(
            f"/api/client/create-contract/{self.job}",
            json={"freelancerId": self.cast.bob.id, "amount": (await self.rate())},
        )
        self.contract = accepted(made, 201)["contract"]["_id"]

    async def checkout(self) -> str:
        answer = await self.cast.alice.post(
            f"/api/client/job/payment/{self.job}",
            json={"title": "x", "rate": 1, "freelancerId": self.cast.bob.id},
        )
        self.session = accepted(answer)["id"]
        return self.session

    async def pay(self) -> None:
        await self.checkout()
        await self.cast.app.state.provider.complete(self.session, "paid")
        for body in await provider_events(self.cast, self.session):
            answer = await post_event(self.cast, body)
            assert answer.status_code == 200, answer.text

    async def approve(self) -> None:
        bob = self.cast.bob
        accepted(
            await bob.post(f"/api/freelancer/contract/approve-contract/{self.contract}/{bob.id}")
        )

    async def status(self, status: str) -> httpx.Response:
        return await self.cast.bob.put(
            f"/api/freelancer/contract/update-status/{self.contract}", json={"status": status}
        )

    async def ongoing(self) -> None:
        accepted(await self.status("Ongoing"))

    async def complete(self) -> None:
        accepted(await self.status("Completed"))

    async def request(self) -> None:
        accepted(await self.cast.alice.patch(f"/api/client/release-fund/{self.contract}"))

    async def release(self) -> Any:
        return accepted(
            await self.cast.olga.put(f"/api/admin/escrow/release-fund/{self.contract}")
        )["data"]

    async def cancel(self, by: Caller) -> None:
        accepted(await by.delete(f"/api/client/cancel-contract/{self.contract}"))

    async def refund(self) -> Any:
        return accepted(
            await self.cast.olga.put(
                f"/api/admin/escrow/refund-client/{self.contract}/{self.cast.alice.id}"
            )
        )["data"]

    # -- what is true now ---------------------------------------------------------------------

    async def rate(self) -> Any:
        found = await self.cast.alice.get(f"/api/client/job/job-details/{self.job}")
        return accepted(found)["data"]["rate"]

    async def seen(self) -> Any:
        """The contract as Alice sees it."""
        answer = await self.cast.alice.get(
            f"/api/freelancer/contract/view-contract/{self.contract}"
        )
        return accepted(answer)["contract"]

    async def proof(self) -> Any:
        return accepted(await self.cast.olga.get(f"/api/admin/escrow/proof/{self.contract}"))

    async def wallet(self, of: Caller) -> Any:
        """The balance of somebody's wallet in major units; 0 before the first credit."""
        answer = await of.get(f"/api/freelancer/wallet/earnings/{of.id}")
        data = accepted(answer)["data"]
        return 0 if data is None else data["balance"]
