"""The scenes of the scenario in which Olga **looks after** what waits: two months have gone by."""

from earnest.actions import chargebacks
from earnest.actions.core import Core
from earnest.providers.sandbox import SandboxProvider
from earnest.recording.contracts import UNKNOWN_ID
from earnest.recording.recorder import Recorder
from earnest.worker import alerts

DAYS = 61

LAST_PAID = "SELECT session_id FROM payment WHERE state = 'captured' ORDER BY id DESC LIMIT 1"


class AlertScenes:
    """The last ones, for the clock goes on. `core` is the server's: no worker runs beside it, so
    what the worker would do is done here."""

    def __init__(self, recorder: Recorder, core: Core) -> None:
        self.ask = recorder.ask
        self._core = core

    async def tell(self) -> None:
        """A payer's bank wants a payment back, and money has been held for too long; Olga reads of
        it and closes an alert."""
        await self._disputed()
        await self.ask("", "advanceClock", body={"advance_seconds": DAYS * 86_400})
        while await alerts.look(self._core, "https://earnest.example"):
            pass
        two = {"page": "1", "limit": "2"}
        await self.ask("olga", "getHolds", "Held for too long", query=two)
        found = await self.ask("olga", "getAlerts", "What is open", query=two | {"open": "true"})
        seen = {"alertId": found["data"][0]["_id"]}
        await self.ask("olga", "closeAlert", "Seen to", path=seen)
        nowhere = {"alertId": UNKNOWN_ID}
        await self.ask("olga", "closeAlert", "There is no such alert", status=404, path=nowhere)
        await self.ask("olga", "getAlerts", "Yes or no", status=400, query={"open": "maybe"})

    async def _disputed(self) -> None:
        """The provider tells of it; the worker looks it up."""
        assert isinstance(self._core.provider, SandboxProvider)
        async with self._core.pool.connection() as conn:
            session = await conn.fetchval(LAST_PAID)
        opened = {"session": session, "outcome": "opened"}
        await self.ask("", "disputePayment", body=opened)
        while await self._core.provider.deliver_due():
            pass
        await chargebacks.look_up_due(self._core)
        ten = {"status": "open", "page": "1", "limit": "10"}
        await self.ask("olga", "getChargebacks", "A payment that its payer disputes", query=ten)
        wrong = {"status": "disputed"}
        await self.ask("olga", "getChargebacks", "Not a status", status=400, query=wrong)
