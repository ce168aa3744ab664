"""The scenes of the scenario in which Olga sees whether **the books agree** with the provider."""

from datetime import UTC, datetime

from earnest.actions.core import Core
from earnest.actions.reconciliation import reconcile
from earnest.recording.recorder import Recorder


class ReconciliationScenes:
    """`core` is the server's: no worker runs beside it, so what it would do is done here."""

    def __init__(self, recorder: Recorder, core: Core) -> None:
        self.ask = recorder.ask
        self._core = core

    async def tell(self) -> None:
        """Today is compared while it lasts; most days are, the night after them."""
        today = datetime.now(UTC).date()
        await reconcile(self._core, today)
        page = {"page": "1", "limit": "10"}
        await self.ask("olga", "getReconciliations", "Each day and currency", query=page)
        of = "getReconciliation"
        await self.ask("olga", of, "A day and its differences", path={"date": today.isoformat()})
        await self.ask("olga", of, "Too early", status=404, path={"date": "2020-01-01"})
        await self.ask("olga", of, "Not a day", status=400, path={"date": "yesterday"})
