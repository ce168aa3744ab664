"""A partner's contract brought to any point of its life, through the API as a partner uses it.

    deal = await Deal.at(broker, "paid")          pending, paid, approved, delivered, released
    await deal.release(milestone=0); await deal.refund("PARTIAL", amount=100, milestone=1)
    await deal.settle()                            the worker's step with refunds that are due

Paying is done as it is in production: the provider's own signed event is posted to /webhook.
"""

import time
from typing import Any
from uuid import uuid4

import httpx
import msgspec

from earnest.actions import refunds
from earnest.domain.party import Role
from earnest.providers import signature
from partners import Broker
from web import caller, sign_up

HUDA = {"phoneNumber": "966583944460", "firstName": "Huda", "lastName": "Salem"}
OMAR = {"phoneNumber": "966583944461", "firstName": "Omar", "lastName": ""}
MILESTONES = [
    {
        "Name": "Draft",
        "Description": "The first half",
        "Amount": 600,
        "DueDate": "2032-12-20T10:00:00.000Z",
    },
    {"Name": "Final", "Description": "", "Amount": 400, "DueDate": "2032-12-31T09:35:30.369Z"},
]
TERMS: dict[str, Any] = {
    "title": "A logo",
    "contractServiceType": "Service",
    "description": "Three drafts and the source files",
    "notes": "In green",
    "reference": "order-66",
    "BuyerParty": HUDA,
    "SellerParty": OMAR,
    "amount": 1000,
    "metaData": {"metadata1": "1", "metadata2": "2"},
    "callbackUrl": "https://broker.example/back?order=66",
}

EVENTS = """
SELECT o.body FROM sandbox.outbox AS o
INNER JOIN sandbox.session AS s ON s.id = o.session_id
WHERE o.session_id = $1 ORDER BY o.position
"""


class Deal(msgspec.Struct):
    """A contract of `broker`; `made` is what creating it answered."""

    broker: Broker
    made: Any

    @classmethod
    async def begin(cls, broker: Broker, **terms: Any) -> "Deal":
        """A new contract, with two milestones unless `terms` say otherwise."""
        sent = {**TERMS, "Milestones": MILESTONES, **terms}
        answer = await broker.client.post("/apps/api/contracts", json=sent)
        assert answer.status_code == 200, answer.text
        return cls(broker, answer.json()["data"])

    @classmethod
    async def at(cls, broker: Broker, point: str, **terms: Any) -> "Deal":
        """A contract at `point`."""
        deal = await cls.begin(broker, **terms)
        if point == "pending":
            return deal
        await deal.pay()
        for step in ("approved", "delivered", "released"):
            if point == "paid":
                return deal
            verb = {"approved": "approve", "delivered": "deliver"}.get(step)
            done = await (deal.act(verb) if verb else deal.release())
            assert done.status_code == 200, done.text
            if step == point:
                return deal
        raise ValueError(point)

    @property
    def number(self) -> str:
        return str(self.made["contractId"])

    @property
    def token(self) -> str:
        return str(self.made["checkout"]["token"])

    def milestone(self, index: int) -> int:
        return int(self.made["milestones"][index]["Id"])

    async def shown(self) -> Any:
        """What a GET answers."""
        answer = await self.broker.client.get(f"/apps/api/contracts/{self.number}")
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]

    async def status(self) -> str:
        return str((await self.shown())["status"])

    async def proof(self) -> Any:
        answer = await self.broker.client.get(f"/apps/api/contracts/{self.number}/proof")
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]

    async def events(self) -> list[str]:
        """The types of its events, in order."""
        answer = await self.broker.client.get(f"/apps/api/contracts/{self.number}/events")
        return [event["type"] for event in answer.json()["data"]["events"]]

    async def pay(self, outcome: str = "paid") -> None:
        """The buyer pays by the checkout link (or fails to, or their bank takes its time)."""
        async with caller(self.broker.app) as buyer:
            path = f"/sandbox/checkout/{self.token}/complete"
            answer = await buyer.post(path, json={"outcome": outcome})
            assert answer.status_code == 200, answer.text
            await self.hear(answer.json()["id"])

    async def hear(self, session: str) -> None:
        """Every event of the provider about `session` comes in."""
        state = self.broker.app.state
        async with state.pool.connection() as conn:
            bodies = [bytes(row[0]) for row in await conn.fetch(EVENTS, session)]
        async with caller(self.broker.app) as provider:
            for body in bodies:
                header = signature.sign(body, state.webhook_secrets[0], int(time.time()))
                answer = await provider.post(
                    "/webhook", content=body, headers={"Stripe-Signature": header}
                )
                assert answer.status_code == 200, answer.text

    async def act(self, verb: str, body: Any = None, **headers: str) -> httpx.Response:
        """POST a verb: approve, reject, deliver, receive, dispute, resolve-dispute, cancel."""
        path = f"/apps/api/contracts/{self.number}/{verb}"
        return await self.broker.client.post(path, json=body, headers=headers)

    async def release(self, milestone: int | None = None, **headers: str) -> httpx.Response:
        """Release everything, or the milestone with this index."""
        body: dict[str, Any] = {"contractId": self.number}
        if milestone is not None:
            body["milestoneId"] = self.milestone(milestone)
        path = "/apps/api/contracts/release"
        return await self.broker.client.post(path, json=body, headers=headers)

    async def refund(
        self, type_: str = "FULL", *, milestone: int | None = None, **body: Any
    ) -> httpx.Response:
        """Ask for a refund of everything, or of the milestone with this index."""
        wanted = {"type": type_, "reason": "The buyer changed her mind"} | body
        if milestone is not None:
            wanted["milestoneId"] = self.milestone(milestone)
        return await self.act("refund", wanted)

    async def rule(self, word: str) -> httpx.Response:
        """The operator, Olga, says approve, decline or retry of what waits for it."""
        async with await sign_up(self.broker.app, f"Olga-{uuid4().hex}", Role.ADMIN) as olga:
            status = {"retry": "failed"}.get(word, "requested")
            listed = (await olga.get(f"/api/admin/refunds?status={status}")).json()["data"]
            refund = next(one for one in listed if one["contractNumber"] == self.number)
            path = f"/api/admin/refunds/{refund['_id']}/{word}"
            body = {"reason": "As agreed"} if word == "decline" else None
            return await olga.put(path, json=body)

    async def settle(self) -> int:
        """One step of the worker with the refunds that are due; how many there were."""
        return await refunds.send_due(self.broker.app.state.core)
