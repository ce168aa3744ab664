"""The scenes of the scenario in which Demo Broker's **contracts** go every way that they can."""

from datetime import UTC, datetime, timedelta
from typing import Any

from earnest.actions import refunds
from earnest.actions.core import Core
from earnest.recording.partners import HUDA, OMAR
from earnest.recording.recorder import Recorder
from earnest.web.instants import instant

WHY = {"reason": "The buyer changed her mind"}
BY_BUYER = {"by": "buyer", "reason": "The logo is not green"}


class BrokerageScenes:
    """Told by the scenario, in which `broker` has a token. `core` is the server's: no worker runs
    beside it, so what the worker would do is done here."""

    def __init__(self, recorder: Recorder, core: Core) -> None:
        self.ask = recorder.ask
        self._core = core

    async def tell(self) -> None:
        """From an offer to the last halala."""
        await self._agreed()
        await self._released()
        await self._refunded()
        await self._disputed()
        await self._cancelled()
        of = "partnerListContracts"
        some = {"status": "escrow", "page": "1", "pageSize": "10"}
        await self.ask("broker", of, "The newest", query={"pageSize": "3"})
        await self.ask("broker", of, "Those in escrow", query=some)
        await self.ask("broker", of, "No such status", status=400, query={"status": "paid"})

    async def _agreed(self) -> None:
        of = "partnerCreate"
        await self.ask("broker", of, "Two milestones", body=_contract())
        await self.ask("broker", of, "In one piece", body=_contract(Milestones=None))
        odd = _contract(amount=999)
        await self.ask("broker", of, "Not the sum of its milestones", status=400, body=odd)
        twins = {"title": "Logo pack", "Title": "Another"}
        await self.ask("broker", of, "One name in two cases", status=400, body=twins)
        nobody = _contract(BuyerParty={"platformRefId": "USR_nobody"})
        await self.ask("broker", of, "Nobody by this reference", status=400, body=nobody)

        made = await self._made()
        path = {"contractId": made["contractId"]}
        await self.ask("broker", "partnerShow", "A new contract", path=path)
        wanted = {"externalContractId": made["contractId"], "buyerPhoneNumber": HUDA["phoneNumber"]}
        of = "partnerStartCheckout"
        await self.ask("broker", of, "A fresh link", body=wanted)
        other = wanted | {"buyerPhoneNumber": OMAR["phoneNumber"]}
        await self.ask("broker", of, "Not the buyer's number", status=400, body=other)
        await self.ask("broker", "partnerApprove", "Omar agrees", path=path, body={})
        await self.ask("broker", "partnerApprove", "He has agreed", status=400, path=path)
        refused = {"contractId": (await self._made())["contractId"]}
        late = {"reason": "No time before July"}
        await self.ask("broker", "partnerReject", "Omar declines", path=refused, body=late)
        await self.ask("broker", "partnerReject", "It is over", status=400, path=refused)

    async def _released(self) -> None:
        made = await self._paid()
        path = {"contractId": made["contractId"]}
        await self.ask("broker", "partnerStartCheckout", "Paid", status=400, body={
            "contractId": made["contractId"], "phoneNumber": HUDA["phoneNumber"],
        })  # fmt: skip
        files = {"reason": "The files are in your folder"}
        await self.ask("broker", "partnerDeliver", "Omar delivers", path=path, body=files)
        await self.ask("broker", "partnerDeliver", "He has delivered", status=400, path=path)
        part = {**path, "milestoneId": made["milestones"][0]["Id"]}
        of, key = "partnerRelease", {"Idempotency-Key": "release-88-1"}
        await self.ask("broker", of, "One milestone", body=part, headers=key)
        await self.ask("broker", of, "It was released", status=400, body=part)
        await self.ask("broker", of, "Whatever is left", body=path)
        await self.ask("broker", "partnerReceive", "Huda has received it", path=path)
        await self.ask("broker", "partnerReceive", "Received already", status=400, path=path)
        await self.ask("broker", "partnerShow", "Completed", path=path)
        await self.ask("broker", "partnerListEvents", "All that happened", path=path)
        page = {"page": "2", "pageSize": "2"}
        await self.ask("broker", "partnerListEvents", "Its second page", path=path, query=page)
        await self.ask("broker", "partnerShowProof", "Every halala", path=path)

    async def _refunded(self) -> None:
        made = await self._paid()
        path = {"contractId": made["contractId"]}
        first, second = (one["Id"] for one in made["milestones"])
        of = "partnerRefund"
        part = WHY | {"type": "PARTIAL", "milestoneId": first, "amount": 250}
        await self.ask("broker", of, "A part of a milestone", path=path, body=part)
        await self.ask("broker", of, "It is under way", status=400, path=path, body=part)
        whole = WHY | {"type": "FULL", "milestoneId": second}
        await self.ask("broker", of, "A whole milestone", path=path, body=whole)
        more = WHY | {"type": "FULL", "amount": 10}
        await self.ask("broker", of, "Full, and an amount", status=400, path=path, body=more)
        await refunds.send_due(self._core)
        await self.ask("broker", "partnerShow", "Refunded", path=path)
        await self.ask("broker", "partnerShowProof", "With its refunds", path=path)

    async def _disputed(self) -> None:
        made = await self._paid()
        path = {"contractId": made["contractId"]}
        await self.ask("broker", "partnerDispute", "Huda disagrees", path=path, body=BY_BUYER)
        await self.ask("broker", "partnerRelease", "In dispute", status=400, body=path)
        of = "partnerDispute"
        await self.ask("broker", of, "They disagree already", status=400, path=path, body=BY_BUYER)
        green = {"reason": "Omar has made it green"}
        of = "partnerResolveDispute"
        await self.ask("broker", of, "They agree again", path=path, body=green)
        await self.ask("broker", of, "There is none", status=400, path=path)

    async def _cancelled(self) -> None:
        of = "partnerCancel"
        unpaid = {"contractId": (await self._made())["contractId"]}
        await self.ask("broker", of, "Nobody has paid", path=unpaid, body=BY_BUYER)
        await self.ask("broker", of, "It is over", status=400, path=unpaid, body=BY_BUYER)
        paid = {"contractId": (await self._paid())["contractId"]}
        await self.ask("broker", of, "The money goes back", path=paid, body=BY_BUYER)
        await self.ask("broker", of, "For whom?", status=400, path=paid, body={"by": "Huda"})

    async def _made(self) -> Any:
        return (await self.ask("broker", "partnerCreate", body=_contract()))["data"]

    async def _paid(self) -> Any:
        made = await self._made()
        at = {"sessionId": made["checkout"]["token"]}
        await self.ask("", "completeCheckout", path=at, body={"outcome": "paid"})
        return made


def _contract(**other: Any) -> dict[str, Any]:
    due = datetime.now(UTC) + timedelta(days=60)
    return {
        "title": "Logo pack",
        "contractServiceType": "Service",
        "description": "Three drafts and the source files",
        "BuyerParty": HUDA,
        "SellerParty": OMAR,
        "amount": 1000,
        "reference": "ord-88",
        "callbackUrl": "https://broker.example/back",
        "metaData": {"metadata1": "a"},
        "Milestones": [
            {"Name": "Draft", "Amount": 600, "DueDate": instant(due)},
            {"Name": "Final files", "Amount": 400, "DueDate": instant(due)},
        ],
        **other,
    }
