"""The scenes of the scenario in which a **bank** changes its mind: a payout comes back, a payer
wants their money again. They are between the provider and banks; no contract is in them."""

from datetime import UTC, datetime

from earnest.actions.core import Core
from earnest.providers.base import AccountRequest, CheckoutRequest, PayoutRequest, TransferRequest
from earnest.providers.sandbox import SandboxProvider
from earnest.recording.recorder import Recorder

PAYOUT = "66aa0000000000000000f001"
PRICE_MINOR = 1_250_050


class BankScenes:
    """`core` is the server's, whose provider is the sandbox's: no worker runs beside it."""

    def __init__(self, recorder: Recorder, core: Core) -> None:
        assert isinstance(core.provider, SandboxProvider)
        self.ask = recorder.ask
        self._provider = core.provider

    async def tell(self) -> None:
        """A payer pays, somebody is paid with it; both banks undo it."""
        session = await self._paid()
        await self._pay_out()
        at = {"reference": PAYOUT}
        await self.ask("", "failPayout", "The bank sends it back", path=at)
        nowhere = {"reference": "66aa0000000000000000ffff"}
        await self.ask("", "failPayout", "There is no such payout", status=404, path=nowhere)
        early = {"session": session, "outcome": "won"}
        await self.ask("", "disputePayment", "Nobody disputes it", status=409, body=early)
        opened = {"session": session, "outcome": "opened"}
        await self.ask("", "disputePayment", "A chargeback", body=opened)
        lost = {"session": session, "outcome": "lost"}
        await self.ask("", "disputePayment", "The payer's bank keeps the money", body=lost)
        await self.ask("", "disputePayment", "It has decided", status=409, body=early)
        wrong = {"session": session, "outcome": "refunded"}
        await self.ask("", "disputePayment", "Not an outcome", status=400, body=wrong)
        strange = {"session": "cs_test_unknown", "outcome": "opened"}
        await self.ask("", "disputePayment", "There is no such payment", status=404, body=strange)

    async def _paid(self) -> str:
        session = await self._provider.create_checkout(
            CheckoutRequest(
                idempotency_key="the-payer-of-the-banks",
                amount_minor=PRICE_MINOR,
                currency="INR",
                title="Logo for a bakery",
                metadata={},
                success_url="https://client.example/paid",
                cancel_url="https://client.example/back",
                asked_at=datetime.now(UTC),
                expires_in_seconds=3600,
            )
        )
        await self._provider.complete(session.id, "paid")
        return session.id

    async def _pay_out(self) -> None:
        made = await self._provider.create_account(
            AccountRequest("the-payee-of-the-banks", "", "", "IN", is_company=False)
        )
        sent = (PAYOUT, PAYOUT, made.id, PRICE_MINOR, "INR")
        await self._provider.create_transfer(TransferRequest(*sent))
        await self._provider.create_payout(PayoutRequest(*sent))
