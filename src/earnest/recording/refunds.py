"""The scenes of the scenario in which a **refund** waits for Olga: a partner that wants it so."""

import msgspec

from earnest.actions import refunds
from earnest.actions.core import Core
from earnest.errors import ProviderPermanent
from earnest.providers.base import (
    CheckoutRequest,
    CheckoutSession,
    CheckoutStatus,
    Provider,
    ProviderRefund,
    RefundRequest,
)
from earnest.recording.partners import HUDA, OMAR
from earnest.recording.recorder import Recorder

WHY = "The account has too little money for this refund."


class _Poor(msgspec.Struct, frozen=True):
    """A provider at which our account is empty."""

    behind: Provider

    async def create_refund(self, _: RefundRequest) -> ProviderRefund:
        raise ProviderPermanent(WHY)

    async def find_refund(self, request: RefundRequest) -> ProviderRefund | None:
        return await self.behind.find_refund(request)

    def can_collect(self, amount_minor: int, currency: str) -> bool:
        return self.behind.can_collect(amount_minor, currency)

    async def create_checkout(self, request: CheckoutRequest) -> CheckoutSession:
        return await self.behind.create_checkout(request)

    async def find_checkout(self, session_id: str) -> CheckoutStatus | None:
        return await self.behind.find_checkout(session_id)

    async def expire_checkout(self, session_id: str) -> None:
        await self.behind.expire_checkout(session_id)

    async def close(self) -> None:
        await self.behind.close()


class RefundScenes:
    """Told by the scenario, which has Olga signed in. `core` is the server's: no worker runs
    beside it, so what the worker would do is done here."""

    def __init__(self, recorder: Recorder, core: Core) -> None:
        self.ask = recorder.ask
        self._recorder = recorder
        self._core = core

    async def tell(self) -> None:
        """Three refunds: one is approved, one declined, one refused by the provider."""
        wanted = {"name": "Careful Broker", "refundApproval": "admin"}
        made = await self.ask("olga", "createBusiness", body=wanted)
        form = {
            "grant_type": "client_credentials",
            "client_id": made["clientId"],
            "client_secret": made["clientSecret"],
        }
        given = await self.ask("", "connectToken", form=form)
        self._recorder.tokens["careful"] = given["access_token"]
        for amount in (250, 600, 1000):
            await self._ask_for_refund(amount)
        waiting = {"status": "requested"}
        found = await self.ask("olga", "getRefunds", "Those that wait", query=waiting)
        poor, declined, approved = ({"refundId": one["_id"]} for one in found["data"])

        of = "approveRefund"
        await self.ask("olga", of, "The money goes back", path=approved)
        await self.ask("olga", of, "Approved already", status=400, path=approved)
        await refunds.send_due(self._core)
        why = {"reason": "The work was delivered in time."}
        await self.ask("olga", "declineRefund", "Back in escrow", path=declined, body=why)
        await self.ask("olga", of, path=poor)
        empty = msgspec.structs.replace(self._core, provider=_Poor(self._core.provider))
        await refunds.send_due(empty)
        ten = {"page": "1", "limit": "10"}
        failed = {"status": "failed"} | ten
        await self.ask("olga", "getRefunds", "Those that the provider refused", query=failed)
        await self.ask("olga", "getDeadLetters", "A refund that was refused", query=ten)
        await self.ask("olga", "retryRefund", "Asked again", path=poor)
        await self.ask("olga", "retryRefund", "It is under way", status=400, path=poor)

    async def _ask_for_refund(self, amount: int) -> None:
        """Of a contract that is paid."""
        contract = {
            "title": "A logo",
            "contractServiceType": "Service",
            "amount": amount,
            "buyerParty": HUDA,
            "sellerParty": OMAR,
            "callbackUrl": "https://broker.example/back",
        }
        made = (await self.ask("careful", "partnerCreate", body=contract))["data"]
        at = {"sessionId": made["checkout"]["token"]}
        await self.ask("", "completeCheckout", path=at, body={"outcome": "paid"})
        wanted = {"type": "FULL", "reason": "The buyer changed her mind"}
        await self.ask(
            "careful", "partnerRefund", path={"contractId": made["contractId"]}, body=wanted
        )
