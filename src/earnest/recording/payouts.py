"""The scenes of the scenario in which people are **paid out**: Alice, Bob, Demo Broker and Omar."""

import msgspec

from earnest.actions import payouts
from earnest.actions.core import Core
from earnest.errors import ProviderPermanent
from earnest.providers.base import (
    PayoutRequest,
    Provider,
    ProviderPayout,
    ProviderTransfer,
    ReturnRequest,
    TransferRequest,
)
from earnest.recording.partners import OMAR
from earnest.recording.recorder import Recorder

WHY_NOT_PAID = "This account has no bank account in inr."
WHY_NOT_RETURNED = "The account is closed."


class _Stubborn(msgspec.Struct, frozen=True):
    """A provider that neither pays out what it was given nor gives it back."""

    behind: Provider

    async def create_transfer(self, request: TransferRequest) -> ProviderTransfer:
        return await self.behind.create_transfer(request)

    async def create_payout(self, _: PayoutRequest) -> ProviderPayout:
        raise ProviderPermanent(WHY_NOT_PAID)

    async def return_transfer(self, _: ReturnRequest) -> ProviderTransfer:
        raise ProviderPermanent(WHY_NOT_RETURNED)


class PayoutScenes:
    """Told by the scenario, after contracts were released and refunded. `core` is the server's: no
    worker runs beside it, so what the worker would do is done here."""

    def __init__(self, recorder: Recorder, core: Core, ids: dict[str, str]) -> None:
        self.ask = recorder.ask
        self._core = core
        self._ids = ids

    async def tell(self) -> None:
        """By hand, all of it; schedules need no requests."""
        await self._people("client", "alice")
        await self._people("freelancer", "bob")
        await self._stuck()
        await self._broker()

    async def _people(self, role: str, name: str) -> None:
        await self.ask(name, f"{role}PayoutOnboarding", "The provider's page")
        of, some = f"{role}Withdraw", {"amount": 250.5}
        key = {"Idempotency-Key": f"{role}-withdraws-1"}
        made = await self.ask(name, of, "On its way to a bank", body=some, headers=key)
        await self.ask(name, of, "More than there is", status=400, body={"amount": 10**7})
        await self.ask(name, of, "Less than the minimum", status=400, body={"amount": 0.5})
        await payouts.send_due(self._core)
        await payouts.send_due(self._core)
        at = {"payoutId": made["data"]["_id"]}
        await self.ask(name, f"{role}Withdrawal", "The provider has sent it", path=at)
        page = {"page": "1", "limit": "10"}
        await self.ask(name, f"{role}Withdrawals", "All of them", query=page)

    async def _stuck(self) -> None:
        made = await self.ask("bob", "freelancerWithdraw", body={"amount": 99})
        stubborn = msgspec.structs.replace(self._core, provider=_Stubborn(self._core.provider))
        for _ in range(3):
            await payouts.send_due(stubborn)
        stuck, at = {"status": "stuck"}, {"payoutId": made["data"]["_id"]}
        await self.ask("olga", "getPayouts", "Those that are stuck", query=stuck)
        await self.ask("olga", "getPayouts", "No such state", status=400, query={"status": "lost"})
        await self.ask("olga", "retryPayout", "Asked again", path=at)
        await self.ask("olga", "retryPayout", "It is under way", status=400, path=at)
        await payouts.send_due(self._core)
        await self.ask("bob", "freelancerWithdrawal", "Back in the wallet", path=at)
        own = {"userId": self._ids["bob"]}
        await self.ask("bob", "earnings", "With two withdrawals, one of which came back", path=own)

    async def _broker(self) -> None:
        omar = (await self.ask("broker", "partnerCreateUser", body=OMAR))["data"]["platformRefId"]
        of, whose = "partnerStartOnboarding", {"platformRefId": omar}
        back = {"returnUrl": "https://broker.example/paid"}
        await self.ask("broker", of, "A page for Omar", body=back | whose)
        await self.ask("broker", of, "A page for the business", body=back | {"country": "SA"})
        astray = {"returnUrl": "ftp://broker.example"}
        await self.ask("broker", of, "Nowhere to come back to", status=400, body=astray)
        of, some = "partnerPayOut", {"amount": 300}
        made = await self.ask("broker", of, "What Omar has", body=some | whose)
        await self.ask("broker", of, "What the business is owed", body={"amount": 20.5})
        await self.ask("broker", of, "More than there is", status=400, body={"amount": 10**6})
        nobody = {"platformRefId": "USR_nobody"}
        await self.ask("broker", of, "Nobody by this reference", status=400, body=some | nobody)
        await payouts.send_due(self._core)
        await payouts.send_due(self._core)
        at = {"payoutId": made["data"]["payoutId"]}
        await self.ask("broker", "partnerShowPayout", "On its way to his bank", path=at)
        await self.ask("broker", "partnerListPayouts", "The newest", query={"pageSize": "10"})
        await self.ask("broker", "partnerListPayouts", "Omar's", query=whose)
