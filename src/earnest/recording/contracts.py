"""The scenes of the scenario in which there is a **contract**, from hiring to its end."""

import json
import time
from collections.abc import Mapping

from earnest.providers import signature
from earnest.recording.recorder import Recorder

UNKNOWN_ID = "f" * 24


class ContractScenes:
    """`ids` of the people and of the `labels` (Category, Skill) are there before the first one."""

    def __init__(
        self,
        recorder: Recorder,
        ids: Mapping[str, str],
        labels: Mapping[str, str],
        webhook_secret: str,
    ) -> None:
        self.ask = recorder.ask
        self._ids = ids
        self._labels = labels
        self._webhook_secret = webhook_secret

    async def post_job(self, title: str, rate: float, shown: str = "") -> str:
        body = {
            "title": title,
            "description": f"{title}, three drafts and the source files.",
            "rate": rate,
            "experienceLevel": "Intermediate",
            "location": "Pune",
            "category": self._labels["Category"],
            "skills": [self._labels["Skill"]],
        }
        made = await self.ask("alice", "createJob", shown, body=body)
        job: str = made["job"]["_id"]
        return job

    # -- one that is released -------------------------------------------------------------------

    async def released(self, job: str) -> None:
        path = {"jobId": job}
        contract = await self._hire(job, 12_500.5, shown=True)
        await self.ask("mallet", "applyJob", "The job is closed", status=400, path=path)
        at = {"contractId": contract}
        await self._read(job, contract)
        accept = at | {"freelancerId": self._ids["bob"]}
        await self.ask("mallet", "approveContract", "Not one's own", status=403, path=accept)
        await self.ask("bob", "approveContract", "Approved", path=accept)
        await self.ask("bob", "approveContract", "Approved already", status=400, path=accept)
        ongoing = {"status": "Ongoing"}
        await self.ask("bob", "updateStatus", "Not paid for yet", status=400, path=at, body=ongoing)
        await self._pay(job, shown=True)
        once = {"Idempotency-Key": "ongoing-1"}
        for title in ("The work goes on", "Sent again with the same key"):
            await self.ask("bob", "updateStatus", title, path=at, headers=once, body=ongoing)
        done = {"status": "Completed"}
        await self.ask(
            "bob", "updateStatus", "The key was used for something else",
            status=422, path=at, headers=once, body=done,
        )  # fmt: skip
        await self.ask("alice", "requestRelease", "Before the work is done", status=400, path=at)
        await self.ask("olga", "releaseFund", "Not asked for", status=400, path=at)
        await self.ask("bob", "updateStatus", "The work is done", path=at, body=done)
        await self.ask(
            "bob", "updateStatus", "There is no way back", status=400, path=at, body=ongoing
        )
        await self.ask("alice", "cancelContract", "Too late", status=400, path=at)
        await self.ask("mallory", "requestRelease", "Not one's own", status=403, path=at)
        await self.ask("alice", "requestRelease", "Asked for", path=at)
        await self.ask("alice", "requestRelease", "Asked for already", status=400, path=at)
        await self.ask("olga", "balance", "What is held")
        await self.ask("olga", "releaseFund", "Released", path=at)
        await self.ask("olga", "releaseFund", "Released already", status=400, path=at)
        await self._settled(contract)

    async def _hire(self, job: str, amount: float, *, shown: bool = False) -> str:
        path = {"jobId": job}
        body = {"freelancerId": self._ids["bob"], "amount": amount}
        if shown:
            less = {**body, "amount": 1}
            await self.ask(
                "alice", "createContract", "Not the rate of the job", status=400, path=path,
                body=less,
            )  # fmt: skip
            stranger = {**body, "freelancerId": self._ids["mallet"]}
            await self.ask(
                "alice", "createContract", "He did not apply", status=400, path=path, body=stranger
            )
            await self.ask(
                "mallory", "createContract", "Not one's own job", status=403, path=path, body=body
            )
        made = await self.ask("alice", "createContract", "Hired" * shown, path=path, body=body)
        if shown:
            await self.ask(
                "alice", "createContract", "Hired already", status=400, path=path, body=body
            )
        contract: str = made["contract"]["_id"]
        return contract

    async def _read(self, job: str, contract: str) -> None:
        alice, bob = self._ids["alice"], self._ids["bob"]
        pair = {"jobId": job, "clientId": alice}
        await self.ask("alice", "isCreated", "The contract", path=pair)
        await self.ask("", "isCreated", "None", path={"jobId": UNKNOWN_ID, "clientId": alice})
        await self.ask("alice", "clientContracts", "Alice's own", path={"clientId": alice})
        await self.ask(
            "olga", "allContracts", "A page, for an admin", query={"page": "1", "limit": "50"}
        )
        await self.ask("bob", "freelancerContracts", "Bob's own", path={"freelancerId": bob})
        at = {"contractId": contract}
        await self.ask("alice", "viewContract", "As its client sees it", path=at)
        await self.ask("", "viewContract", "As anybody sees it", path=at)

    async def _pay(self, job: str, *, shown: bool = False) -> None:
        path = {"jobId": job}
        body = {"freelancerId": self._ids["bob"]}
        session = await self.ask(
            "alice", "openPayment", "To pay at `url`" * shown, path=path, body=body
        )
        if shown:
            await self.ask(
                "mallory", "openPayment", "Not one's own job", status=403, path=path, body=body
            )
        await self.ask(
            "", "completeCheckout", "The payer pays" * shown,
            path={"sessionId": session["id"]}, body={"outcome": "paid"},
        )  # fmt: skip
        if shown:
            await self.ask("alice", "openPayment", "Paid already", status=400, path=path, body=body)
            await self._webhook()

    async def _webhook(self) -> None:
        event = {
            "id": "evt_of_no_interest",
            "object": "event",
            "type": "invoice.paid",
            "created": 1_777_626_000,
            "livemode": False,
            "data": {"object": {"id": "in_1", "object": "invoice"}},
        }
        raw = json.dumps(event).encode()
        signed = signature.sign(raw, self._webhook_secret, int(time.time()))
        await self.ask(
            "", "webhook", "Stored", headers={signature.HEADER: signed}, body=event, raw=raw
        )
        await self.ask("", "webhook", "Without a signature", status=400, raw=raw)

    async def _settled(self, contract: str) -> None:
        at, bob = {"contractId": contract}, self._ids["bob"]
        await self.ask("olga", "totalRevenue", "What was earned")
        await self.ask("olga", "transactions", "Every escrow")
        await self.ask("", "completedWorks", "What Bob completed", path={"freelancerId": bob})
        for who, operation in (
            ("olga", "adminProof"),
            ("alice", "clientProof"),
            ("bob", "freelancerProof"),
        ):
            await self.ask(who, operation, "Funded = released + fees", path=at)
        await self.ask("mallory", "clientProof", "Not one's own", status=403, path=at)
        own = {"userId": bob}
        wallet = await self.ask("bob", "earnings", "Bob's wallet", path=own)
        await self.ask("bob", "walletSalesReport", "By month", path=own)
        await self.ask("mallet", "earnings", "Not one's own", status=403, path=own)
        await self.ask("mallet", "earnings", "Nothing yet", path={"userId": self._ids["mallet"]})
        of_wallet = {"id": wallet["data"]["_id"]}
        await self.ask("bob", "walletTransactions", "Every credit", path=of_wallet)
        client = {"clientId": self._ids["alice"]}
        review = {
            "contractId": contract,
            "freelancerId": bob,
            "rating": 5,
            "description": "Three drafts, one better than the other.",
        }
        await self.ask("alice", "rateFreelancer", "Reviewed", path=client, body=review)
        await self.ask("alice", "rateFreelancer", "Once only", status=400, path=client, body=review)
        await self.ask("", "showReviews", "What clients say", path={"freelancerId": bob})

    # -- those that are not -----------------------------------------------------------------------

    async def cancelled(self) -> None:
        job = await self.post_job("Menu for a restaurant", 20_000)
        await self.ask("bob", "applyJob", path={"jobId": job})
        contract = await self._hire(job, 20_000)
        at = {"contractId": contract}
        await self.ask("bob", "approveContract", path=at | {"freelancerId": self._ids["bob"]})
        refund = at | {"clientId": self._ids["alice"]}
        await self.ask("olga", "refundClient", "Nothing is held", status=404, path=refund)
        await self._pay(job)
        await self.ask("mallet", "cancelContract", "Not one's own", status=403, path=at)
        await self.ask("alice", "cancelContract", "Canceled", path=at)
        await self.ask("alice", "cancelContract", "Canceled already", status=400, path=at)
        reasons = {
            "cancelReason": "No opening",
            "cancelReasonDescription": "The restaurant will not open after all.",
        }
        await self.ask("alice", "refundClient", "A client asks", path=refund, body=reasons)
        await self.ask("olga", "refundClient", "An admin refunds", path=refund)
        await self.ask("olga", "refundClient", "Refunded already", status=400, path=refund)

    async def parked(self) -> None:
        job = await self.post_job("Poster for a concert", 9_000)
        applied = await self.ask("bob", "applyJob", path={"jobId": job})
        body = {"freelancerId": self._ids["bob"]}
        session = await self.ask("alice", "openPayment", path={"jobId": job}, body=body)
        application = {"applicationId": applied["application"]["_id"]}
        await self.ask("bob", "cancelApplication", path=application)
        paid = {"outcome": "paid"}
        await self.ask("", "completeCheckout", path={"sessionId": session["id"]}, body=paid)
        parked = await self.ask("olga", "parkedPayments", "A payment without a contract")
        at = {"paymentId": parked["data"][0]["_id"]}
        await self.ask("olga", "refundPayment", "Given back", path=at)
        await self.ask("olga", "refundPayment", "Given back already", status=400, path=at)
